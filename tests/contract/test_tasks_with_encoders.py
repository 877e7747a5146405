"""Every term of the catalogue on real views and encoders: shapes fit, gradients arrive."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import made_by_hand as hand
import made_by_views as real
import pytest
import torch
from torch import Generator

from evossl.config import Backbone
from evossl.encoders.build import Encoder, build_encoder
from evossl.streams import EncoderShape, Stream
from evossl.task import Seen, SeenView, Task, Term
from evossl.views.make import make
from evossl.views.shapes import check_fits, input_shape
from evossl.views.spec import CLEAN, Made, View

TERMS = list(hand.all_terms())
NUM_CLIPS = 4


@dataclass(frozen=True)
class World:
    """Encoders of all streams, all terms' tasks, and all views of a batch made once."""

    encoders: Mapping[Stream, Encoder]
    teacher: Encoder
    shapes: Mapping[Stream, EncoderShape]
    tasks: Mapping[str, Task]
    made: Mapping[View, Made]

    def see(self, views: Mapping[str, View]) -> Seen:
        """The views, seen by their encoders."""
        shown = {}
        for name, view in views.items():
            made = self.made[view.pixels]
            assert made.valid_B.all()
            is_taught = view.encoder == hand.TEACHER.encoder
            encoder = self.teacher if is_taught else self.encoders[view.stream]
            features = None if view.encoder is None else encoder(made.pixels)
            shown[name] = SeenView(made.pixels, made.applied, features)
        everyone = torch.ones(NUM_CLIPS, dtype=torch.bool)
        return Seen(shown, torch.arange(NUM_CLIPS), everyone, 0.5, Generator().manual_seed(0))


@pytest.fixture(scope="module")
def world() -> World:
    encoders = {s: build_encoder(s, Backbone(depth=18, width=4), seed=0) for s in Stream}
    teacher = build_encoder(Stream.RGB, Backbone(name="c3d", width=4), seed=1)
    taught = replace(hand.TEACHER, width=64)
    shapes = {
        stream: encoder.shape(input_shape(View(stream, space=CLEAN), real.SETTINGS, real.FPS))
        for stream, encoder in encoders.items()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tasks = {t.name: hand.CATALOGUE[t.task](t.place(shapes, taught)) for t in TERMS}
    views = [view for task in tasks.values() for view in task.views().values()]
    made = make(views, real.moving_bar(num=NUM_CLIPS), real.SETTINGS, seed=0, step=0)
    return World(encoders, teacher, shapes, tasks, made)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_grades_what_real_encoders_give_and_they_learn_from_it(
    world: World, term: Term
) -> None:
    task = world.tasks[term.name]
    views = task.views()
    for name, view in views.items():
        check_fits(view, real.SETTINGS, 32, real.FPS, f"{term.name}: view {name!r}")
    for encoder in world.encoders.values():
        encoder.zero_grad(set_to_none=True)
    loss = task.loss(world.see(views))
    assert torch.isfinite(loss)
    loss.backward()
    teacher = None if task.needs_trained is None else term.streams[task.needs_trained]
    for view in views.values():
        if view.encoder == "student":
            weights = world.encoders[view.stream].parameters()
            learns = any(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
            assert learns == (view.stream is not teacher), view.stream


@pytest.mark.parametrize("stream", list(Stream))
def test_the_stages_that_distillation_names_are_the_encoders(world: World, stream: Stream) -> None:
    assert tuple(world.shapes[stream].maps) == hand.CATALOGUE["distill"].variants
