"""The contract of every task with real views and encoders: shapes fit, and encoders learn.

The views of all selected terms are built once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Generator

from evossl.config import Backbone
from evossl.models.encoder import Encoder, build_encoder
from evossl.task import Task, TaskBatch, ViewOutput
from evossl.types import EncoderShape, Stream
from evossl.views.build import build_views
from evossl.views.shapes import check_fits, input_shape
from evossl.views.spec import CLEAN, Role, View, ViewInput
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.contract_cases import TERM_CASES, TermCase

NUM_CLIPS = 4
TEACHER_WIDTH = 64


@dataclass
class World:
    """The encoders of all streams and one batch of clips; every view is built once.

    Attributes:
        encoders: the student's encoders.
        teacher: a frozen encoder for the tasks that need one.
        shapes: the shapes of the encoders' features.
        inputs: the views that have been built so far.
    """

    encoders: Mapping[Stream, Encoder]
    teacher: Encoder
    shapes: Mapping[Stream, EncoderShape]
    inputs: dict[View, ViewInput]

    def build_task(self, term_case: TermCase) -> Task:
        """Return the term's task with the shapes of the encoders."""
        term = term_case.term
        teacher = replace(hand.TEACHER, width=TEACHER_WIDTH)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            place = term.place.bind(self.shapes, teacher)
            return hand.CATALOGUE[term.task](place, **term_case.options)

    def encode(self, views: Mapping[str, View]) -> TaskBatch:
        """Return the views with the features of their encoders."""
        missing = [view for view in views.values() if view.input_key not in self.inputs]
        clips = real.moving_bar(num=NUM_CLIPS)
        self.inputs |= build_views(missing, clips, real.SETTINGS, seed=0, step=0)
        outputs = {}
        for name, view in views.items():
            view_input = self.inputs[view.input_key]
            assert view_input.valid_B.all()
            is_teacher = view.encoder is Role.TEACHER
            encoder = self.teacher if is_teacher else self.encoders[view.stream]
            features = None if view.encoder is Role.NONE else encoder(view_input.pixels)
            outputs[name] = ViewOutput(view_input.pixels, view_input.applied, features)
        valid_B = torch.ones(NUM_CLIPS, dtype=torch.bool)
        generator = Generator().manual_seed(0)
        return TaskBatch(outputs, torch.arange(NUM_CLIPS), valid_B, 0.5, generator)


@pytest.fixture(scope="module")
def world() -> World:
    encoders = {s: build_encoder(s, Backbone(depth=18, width=4), seed=0) for s in Stream}
    teacher = build_encoder(Stream.RGB, Backbone(name="c3d", width=4), seed=1)
    shapes = {
        stream: encoder.shape(input_shape(View(stream, space=CLEAN), real.SETTINGS, real.FPS))
        for stream, encoder in encoders.items()
    }
    return World(encoders, teacher, shapes, {})


@pytest.mark.parametrize("term_case", TERM_CASES)
def test_real_encoders_learn_from_a_task(world: World, term_case: TermCase) -> None:
    term, task = term_case.term, world.build_task(term_case)
    views = task.views()
    for name, view in views.items():
        check_fits(view, real.SETTINGS, 32, real.FPS, f"{term.name}: view {name!r}")
    for encoder in world.encoders.values():
        encoder.zero_grad(set_to_none=True)
    loss = task.loss(world.encode(views))
    assert torch.isfinite(loss)
    loss.backward()
    index = task.teacher_stream_index
    teacher = None if index is None else term.streams[index]
    for view in views.values():
        if view.encoder is Role.STUDENT:
            weights = world.encoders[view.stream].parameters()
            learns = any(w.grad is not None and w.grad.abs().sum() > 0 for w in weights)
            assert learns == (view.stream is not teacher), view.stream


@pytest.mark.parametrize("stream", list(Stream))
def test_distillation_variants_are_the_encoder_stages(world: World, stream: Stream) -> None:
    assert tuple(world.shapes[stream].maps) == hand.CATALOGUE["distill"].variants
