"""Every term of the catalogue on real views and encoders: shapes fit, gradients arrive."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Generator

from evossl.config import Backbone
from evossl.models.encoder import Encoder, build_encoder
from evossl.task import Task, TaskBatch, Term, ViewOutput
from evossl.types import EncoderShape, Stream
from evossl.views.build import build_views
from evossl.views.shapes import check_fits, input_shape
from evossl.views.spec import CLEAN, Role, View, ViewInput
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real

TERMS = list(hand.all_terms())
NUM_CLIPS = 4


@dataclass(frozen=True)
class World:
    """Encoders of all streams, all terms' tasks, and all views of a batch made once."""

    encoders: Mapping[Stream, Encoder]
    teacher: Encoder
    shapes: Mapping[Stream, EncoderShape]
    tasks: Mapping[str, Task]
    made: Mapping[View, ViewInput]

    def see(self, views: Mapping[str, View]) -> TaskBatch:
        """The views, seen by their encoders."""
        shown = {}
        for name, view in views.items():
            made = self.made[view.input_key]
            assert made.valid_B.all()
            is_taught = view.encoder is Role.TEACHER
            encoder = self.teacher if is_taught else self.encoders[view.stream]
            features = None if view.encoder is Role.NONE else encoder(made.pixels)
            shown[name] = ViewOutput(made.pixels, made.applied, features)
        everyone = torch.ones(NUM_CLIPS, dtype=torch.bool)
        return TaskBatch(shown, torch.arange(NUM_CLIPS), everyone, 0.5, Generator().manual_seed(0))


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
        tasks = {t.name: hand.CATALOGUE[t.task](t.place.bind(shapes, taught)) for t in TERMS}
    views = [view for task in tasks.values() for view in task.views().values()]
    made = build_views(views, real.moving_bar(num=NUM_CLIPS), real.SETTINGS, seed=0, step=0)
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
        if view.encoder is Role.STUDENT:
            weights = world.encoders[view.stream].parameters()
            learns = any(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
            assert learns == (view.stream is not teacher), view.stream


@pytest.mark.parametrize("stream", list(Stream))
def test_the_stages_that_distillation_names_are_the_encoders(world: World, stream: Stream) -> None:
    assert tuple(world.shapes[stream].maps) == hand.CATALOGUE["distill"].variants
