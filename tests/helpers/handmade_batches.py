"""What a task is shown, made by hand: features of declared shapes as leaves, labels at random.

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

# Stages as R(2+1)D's: widths double, extents halve. Sound's widths differ, its time is finer.
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

TASKS = Path(os.environ.get("EVOSSL_TASKS", Path(__file__).parents[2] / "examples" / "tasks"))
"""Tasks that are tested beside the catalogue's: the examples, or a user's own."""
CATALOGUE = load_catalogue(TASKS)


@dataclass(frozen=True)
class Case:
    """A term and its task, built."""

    term: Term
    task: Task
    views: Mapping[str, View]


def all_terms() -> Iterator[Term]:
    """Every task on every place at every variant."""
    for name, task in CATALOGUE.items():
        for place in task.places:
            for variant in task.variants or (None,):
                yield Term(name, replace(place, variant=variant))


def build(term: Term, seed: int = 0, **options: object) -> Case:
    """The task of a term, initial weights under a seed as the trainer draws them."""
    kind = CATALOGUE[term.task]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = kind(term.place.bind(SHAPES, TEACHER if kind.needs_teacher else None), **options)
    return Case(term, task, task.views())


def input_shape(view: View) -> tuple[int, ...]:
    """(C, T, H, W) of a view's pixels, (N, C, T, H, W) of N pieces."""
    pieces = (view.num_pieces,) if view.num_pieces > 1 else ()
    if view.stream is Stream.AUDIO:
        return *pieces, *SHAPES[view.stream].input
    return *pieces, *shapes.input_shape(view, SETTINGS, fps=12.0)


def applied(num: int, generator: Generator, segments: int = 4) -> Applied:
    """Labels at random: about half reversed, shuffled and shifted."""

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


def applied_to(view: View, num: int, generator: Generator) -> Applied:
    """Labels of a view: each drawn piece has its own, cells have an order, masks their blocks."""
    if view.cells is not None:
        cells = view.cells
        order_B = torch.randint(0, cells.num_orders, (num,), generator=generator)
        return replace(applied(num, generator, cells.count), order_B=order_B)
    if view.mask is not None:
        blocks = mask_shape(view.mask, shapes.input_shape(view, SETTINGS, fps=12.0))
        mask = torch.rand(num, *blocks, generator=generator) < view.mask.ratio
        return replace(applied(num, generator), mask_BTHW=mask)
    if view.pieces == 1 or splits_segments(view):
        return applied(num, generator)
    each = [applied(num, generator) for _ in range(view.pieces)]
    names = [name for name in Applied.__dataclass_fields__ if getattr(each[0], name) is not None]
    return Applied(**{n: torch.stack([getattr(a, n) for a in each], dim=1) for n in names})


def features(view: View, num: int, generator: Generator, scale: float = 1.0) -> Features:
    """Leaves of the stream's shapes that ask for gradients."""
    shape = SHAPES[view.stream]
    rows = (num, view.num_pieces) if view.num_pieces > 1 else (num,)

    def leaf(*size: int) -> Tensor:
        return (scale * torch.randn(*rows, *size, generator=generator)).requires_grad_()

    if view.encoder is Role.TEACHER:
        return Features(leaf(TEACHER.width), {})
    maps = {stage: leaf(*size) for stage, size in shape.maps.items()}
    return Features(leaf(shape.width), maps)


def show(views: Mapping[str, View], num: int = 6, seed: int = 0, scale: float = 1.0) -> TaskBatch:
    """Pixels, features and labels at random; equal recipes get equal pixels."""
    generator = Generator().manual_seed(seed)
    pixels: dict[View, Tensor] = {}
    shown = {}
    for name, view in views.items():
        if view.input_key not in pixels:
            pixels[view.input_key] = torch.randn(num, *input_shape(view), generator=generator)
        seen_by = None if view.encoder is Role.NONE else features(view, num, generator, scale)
        shown[name] = ViewOutput(pixels[view.input_key], applied_to(view, num, generator), seen_by)
    return TaskBatch(
        shown,
        video_id_B=torch.arange(num),
        valid_B=torch.ones(num, dtype=torch.bool),
        progress=0.5,
        generator=Generator().manual_seed(seed),
    )


def permuted(seen: TaskBatch, order: Tensor) -> TaskBatch:
    """The same samples in another order."""
    views = {
        name: ViewOutput(
            view.pixels[order],
            view.applied.rows(order),
            None if view.features is None else view.features.rows(order),
        )
        for name, view in seen.views.items()
    }
    generator = Generator().manual_seed(seen.generator.initial_seed())
    return TaskBatch(views, seen.video_id_B[order], seen.valid_B, seen.progress, generator)


def leaves(features: Features) -> list[Tensor]:
    """The embedding and the maps."""
    return [features.embedding_BD, *features.maps.values()]


def is_student(case: Case, name: str) -> bool:
    """A view whose features the task is to train: not those of a teacher or a moving average."""
    view, index = case.views[name], case.task.needs_trained
    is_teacher = index is not None and view.stream is case.term.streams[index]
    return view.encoder is Role.STUDENT and not is_teacher
