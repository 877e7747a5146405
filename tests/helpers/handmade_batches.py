"""Batches for tasks without encoders: random features of declared shapes, random labels.

Shapes: B clip, D embedding, N segment.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from evossl.task import Task, TaskBatch, Teacher, Term, ViewOutput
from evossl.task_loader import load_catalogue
from evossl.types import EncoderShape, Features, Stream
from evossl.views import shapes
from evossl.views.masking import mask_shape
from evossl.views.settings import ViewSettings
from evossl.views.shapes import splits_segments
from evossl.views.spec import Applied, Role, View

FRAMES, SIZE, BANDS, MEL_STEPS = 8, 32, 40, 66
SETTINGS = ViewSettings(FRAMES, SIZE, BANDS, ignores=())

# Stages like those of R(2+1)D: widths double, extents halve. Audio has other widths, finer time.
SHAPES: Mapping[Stream, EncoderShape] = {
    **{
        stream: EncoderShape(
            width=24,
            maps={
                "stage1": (4, 8, 16, 16),
                "stage2": (8, 4, 8, 8),
                "stage3": (16, 2, 4, 4),
                "stage4": (24, 1, 2, 2),
            },
            input=(stream.channels, FRAMES, SIZE, SIZE),
        )
        for stream in (Stream.RGB, Stream.GRAY, Stream.FLOW)
    },
    Stream.AUDIO: EncoderShape(
        width=20,
        maps={
            "stage1": (4, 1, 20, 33),
            "stage2": (6, 1, 10, 17),
            "stage3": (12, 1, 5, 9),
            "stage4": (20, 1, 3, 5),
        },
        input=(1, 1, BANDS, MEL_STEPS),
    ),
}


TEACHER = Teacher("teacher", width=28)

TASKS_FOLDER = Path(
    os.environ.get("EVOSSL_TASKS", Path(__file__).parents[2] / "examples" / "tasks")
)
"""Tasks that are tested together with the catalogue: the examples, or a user's own."""
CATALOGUE = load_catalogue(TASKS_FOLDER)


@dataclass(frozen=True)
class Case:
    """A term, its task and the task's views."""

    term: Term
    task: Task
    views: Mapping[str, View]


def all_terms() -> Iterator[Term]:
    """Yield the terms of every task on every place with every variant."""
    for name, task in CATALOGUE.items():
        for place in task.places:
            for variant in task.variants or (None,):
                yield Term(name, replace(place, variant=variant))


def build(term: Term, seed: int = 0, **options: object) -> Case:
    """Return the task of a term, with initial weights drawn from a seed as the trainer does."""
    task_class = CATALOGUE[term.task]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        teacher = TEACHER if task_class.needs_teacher else None
        task = task_class(term.place.bind(SHAPES, teacher), **options)
    return Case(term, task, task.views())


def input_shape(view: View) -> tuple[int, ...]:
    """Return (C, T, H, W) of a view's pixels, or (N, C, T, H, W) of N pieces."""
    pieces = (view.num_pieces,) if view.num_pieces > 1 else ()
    if view.stream is Stream.AUDIO:
        return *pieces, *SHAPES[view.stream].input
    return *pieces, *shapes.input_shape(view, SETTINGS, fps=12.0)


def make_applied(num: int, generator: Generator, segments: int = 4) -> Applied:
    """Return random labels: about half of the samples are reversed, shuffled and shifted."""

    def coin() -> Tensor:
        return torch.rand(num, generator=generator) < 0.5

    orders = [torch.randperm(segments, generator=generator) for _ in range(num)]
    return Applied(
        start_B=torch.randint(0, 20, (num,), generator=generator),
        stride_B=torch.ones(num, dtype=torch.int64),
        reversed_B=coin(),
        shuffled_B=coin(),
        shifted_B=coin(),
        permutation_BN=torch.stack(orders),
        crop_B4=torch.rand(num, 4, generator=generator),
        flipped_B=coin(),
    )


def make_view_applied(view: View, num: int, generator: Generator) -> Applied:
    """Return random labels for a view: per drawn piece, with an order of cells, or with a mask."""
    if view.cells is not None:
        cells = view.cells
        order_B = torch.randint(0, cells.num_orders, (num,), generator=generator)
        return replace(make_applied(num, generator, cells.count), order_B=order_B)
    if view.mask is not None:
        blocks = mask_shape(view.mask, shapes.input_shape(view, SETTINGS, fps=12.0))
        mask = torch.rand(num, *blocks, generator=generator) < view.mask.ratio
        return replace(make_applied(num, generator), mask_BTHW=mask)
    if view.pieces == 1 or splits_segments(view):
        return make_applied(num, generator)
    each = [make_applied(num, generator) for _ in range(view.pieces)]
    names = [name for name in Applied.__dataclass_fields__ if getattr(each[0], name) is not None]
    return Applied(**{n: torch.stack([getattr(a, n) for a in each], dim=1) for n in names})


def make_features(view: View, num: int, generator: Generator, scale: float = 1.0) -> Features:
    """Return random features of the stream's shapes, as leaves that require gradients."""
    shape = SHAPES[view.stream]
    rows = (num, view.num_pieces) if view.num_pieces > 1 else (num,)

    def leaf(*size: int) -> Tensor:
        return (scale * torch.randn(*rows, *size, generator=generator)).requires_grad_()

    if view.encoder is Role.TEACHER:
        return Features(leaf(TEACHER.width), {})
    maps = {stage: leaf(*size) for stage, size in shape.maps.items()}
    return Features(leaf(shape.width), maps)


def make_batch(
    views: Mapping[str, View], num: int = 6, seed: int = 0, scale: float = 1.0
) -> TaskBatch:
    """Return random pixels, features and labels; equal views get equal pixels."""
    generator = Generator().manual_seed(seed)
    pixels: dict[View, Tensor] = {}
    outputs = {}
    for name, view in views.items():
        if view.input_key not in pixels:
            pixels[view.input_key] = torch.randn(num, *input_shape(view), generator=generator)
        is_encoded = view.encoder is not Role.NONE
        features = make_features(view, num, generator, scale) if is_encoded else None
        applied = make_view_applied(view, num, generator)
        outputs[name] = ViewOutput(pixels[view.input_key], applied, features)
    return TaskBatch(
        outputs,
        video_id_B=torch.arange(num),
        valid_B=torch.ones(num, dtype=torch.bool),
        progress=0.5,
        generator=Generator().manual_seed(seed),
    )


def permute(batch: TaskBatch, order: Tensor) -> TaskBatch:
    """Return the same samples in another order."""
    views = {
        name: ViewOutput(
            view.pixels[order],
            view.applied.rows(order),
            None if view.features is None else view.features.rows(order),
        )
        for name, view in batch.views.items()
    }
    generator = Generator().manual_seed(batch.generator.initial_seed())
    return TaskBatch(views, batch.video_id_B[order], batch.valid_B, batch.progress, generator)


def leaves(features: Features) -> list[Tensor]:
    """Return the embedding and the maps."""
    return [features.embedding_BD, *features.maps.values()]


def is_student(case: Case, name: str) -> bool:
    """Say whether the task trains the view's encoder: it is no teacher and no momentum encoder."""
    view, index = case.views[name], case.task.teacher_stream_index
    is_teacher = index is not None and view.stream is case.term.streams[index]
    return view.encoder is Role.STUDENT and not is_teacher
