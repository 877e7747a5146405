"""A training's first step on shapes alone: what cannot be done is refused before a video is read.

Every view must fit the space's clips, every task take its options, and a step fit in memory.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evossl.config import SearchSpace
from evossl.errors import MISTAKES, UserError
from evossl.io.task_options import check_options
from evossl.io.user_file import mistake
from evossl.models.encoder import Encoder, build_encoder
from evossl.optim.optimisers import MOMENTS
from evossl.task import Place, Task, Term
from evossl.training.memory_use import held_bytes, kept_bytes, memory_of, pixel_bytes
from evossl.training.model import MIN_VALID
from evossl.training.teacher import teacher_of
from evossl.training.view_plan import views_of
from evossl.types import EncoderShape, Stream
from evossl.views.settings import ViewSettings
from evossl.views.shapes import check_fits, input_shape
from evossl.views.spec import CLEAN, Role, View

CPU = torch.device("cpu")
GB = 1e9


@dataclass(frozen=True)
class TermPlan:
    """A term's task, built, and the views it asks for, by its own names."""

    task: Task
    views: Mapping[str, View]


def preflight(
    space: SearchSpace,
    terms: Sequence[Term],
    tasks: Mapping[str, type[Task]],
    device: torch.device | None = None,
) -> None:
    """Refuse a space whose first step would fail.

    Args:
        space: resolved.
        terms: of it.
        tasks: the catalogue.
        device: where a trial runs; None if that is another machine, whose memory is not known here.

    Raises:
        UserError: a task that does not take its options, a view that does not fit the clips, more
            memory than there is: by name, with the remedy.
    """
    settings, fps, stretch = ViewSettings.from_space(space), space.cache.fps, space.clip.stretch
    check_fits(View(Stream.RGB), settings, stretch, fps, "fitness: its view")
    there = None if device is None else memory_of(device)
    streams = dict.fromkeys([Stream.RGB, *(stream for term in terms for stream in term.streams)])
    encoders = {stream: _encoder(stream, space) for stream in streams}
    _check_weights(encoders, space)
    shapes = {
        stream: encoder.shape(input_shape(View(stream, space=CLEAN), settings, fps))
        for stream, encoder in encoders.items()
    }
    asked = {term: _asked(term, tasks[term.task], shapes, space) for term in terms}
    for term, given in asked.items():
        options = space.tasks[term.task].options
        asks = f"{term.name} {options}" if options else term.name  # it may be they who ask too much
        for name, view in given.views.items():
            check_fits(view, settings, stretch, fps, f"{asks}: view {str(name)!r}")
    if device is not None and there is not None:
        views = dict.fromkeys(v for given in asked.values() for v in given.views.values())
        weights = _check_held(asked, views, encoders, space, there)
        per_view = _bytes_of_views(views, encoders, space, device)
        _check_memory(asked, per_view, weights, space.training.batch_size, there)


def _encoder(stream: Stream, space: SearchSpace) -> Encoder:
    """On the meta device: shapes only, no memory whatever the width."""
    try:
        with torch.device("meta"):
            return build_encoder(stream, space.backbone, 0)
    except RuntimeError as error:  # torch: sizes that overflow
        raise UserError(
            f"backbone.width: {space.backbone.width}: more than any memory holds: lower it"
        ) from error


def _asked(
    term: Term, task: type[Task], shapes: Mapping[Stream, EncoderShape], space: SearchSpace
) -> TermPlan:
    """The term's task and views, or a refusal of its options by name."""
    options = space.tasks[term.task].options
    where = f"tasks.{term.task}.options"
    check_options(where, options, task)
    place = term.place.bind(shapes, teacher_of(term.task, task, space))
    try:
        built = _built(task, place, options)
        return TermPlan(built, views_of(built, ViewSettings.from_space(space)))
    except ValueError as error:  # what the task itself refuses
        said = f"{where}: {options}" if options else f"tasks.{term.task}"
        raise UserError(f"{said}: {error}") from error
    except MISTAKES as error:
        file = Path(inspect.getfile(task))
        raise UserError(f"tasks.{term.task}: {file}: {mistake(error, file)}") from error


def _built(task: type[Task], place: Place, options: Mapping[str, Any]) -> Task:
    """On the meta device, where large heads are made at once; for real if it computes with them."""
    try:
        with torch.device("meta"):
            return task(place, **options)
    except (NotImplementedError, RuntimeError):  # torch: a meta tensor holds no numbers
        with torch.random.fork_rng(devices=[]):
            return task(place, **options)


def _check_weights(encoders: Mapping[Stream, Encoder], space: SearchSpace) -> None:
    needed, free = held_bytes(encoders.values()), memory_of(CPU)
    if needed > free:
        raise UserError(
            f"backbone.width: {space.backbone.width}: its weights alone are "
            f"{needed / GB:.1f} GB, {free / GB:.1f} GB are free: lower it"
        )


def _check_held(
    asked: Mapping[Term, TermPlan],
    views: Iterable[View],
    encoders: Mapping[Stream, Encoder],
    space: SearchSpace,
    there: int,
) -> int:
    """Return the bytes of all that lasts from step to step, if they fit."""
    moments = MOMENTS[space.optimiser.name]
    followed = {view.stream for view in views if view.encoder is Role.MOMENTUM}
    held = {term: held_bytes([given.task], moments) for term, given in asked.items()}
    weights = held_bytes(encoders.values(), moments) + sum(held.values())
    weights += held_bytes(encoders[stream] for stream in followed)
    if weights <= there:
        return weights
    most = max(held, key=held.__getitem__)
    raise UserError(
        f"tasks.{most.task}.options: {space.tasks[most.task].options}: weights, queues and banks "
        f"alone are {weights / GB:.1f} GB, those of {most.name} {held[most] / GB:.1f}, "
        f"{there / GB:.1f} GB are free: lower them, or backbone.width"
    )


def _check_memory(
    asked: Mapping[Term, TermPlan],
    per_view: Mapping[View, int],
    weights: int,
    batch: int,
    there: int,
) -> None:
    per_clip = sum(per_view.values())
    needed = weights + batch * per_clip
    if needed <= there:
        return
    own = {
        term: sum(per_view[view] for view in set(given.views.values()))
        for term, given in asked.items()
    }
    most = max(own, key=own.__getitem__)
    fits = (there - weights) // per_clip
    batches = f"training.batch_size to {fits}, " if fits >= MIN_VALID else ""
    raise UserError(
        f"training.batch_size: {batch}: a step needs {needed / GB:.1f} GB of memory or more, "
        f"{there / GB:.1f} GB are free: lower {batches}clip.size or backbone.width, or ask for "
        f"fewer views; the largest share ({batch * own[most] / GB:.1f} GB) is for those of "
        f"tasks.{most.task}"
    )


def _bytes_of_views(
    views: Iterable[View],
    encoders: Mapping[Stream, Encoder],
    space: SearchSpace,
    device: torch.device,
) -> dict[View, int]:
    """Bytes of one clip in each of distinct views: pixels once, what a student's forward keeps."""
    settings, fps = ViewSettings.from_space(space), space.cache.fps
    kept: dict[tuple[Stream, tuple[int, int, int, int]], int] = {}
    made: set[View] = set()
    needed = {}
    for view in views:
        shape = input_shape(view, settings, fps)
        one = 0 if view.input_key in made else pixel_bytes(shape)
        made.add(view.input_key)
        if view.encoder is Role.STUDENT:
            key = view.stream, shape
            if key not in kept:
                kept[key] = kept_bytes(encoders[view.stream], shape, device)
            one += kept[key]
        needed[view] = view.num_pieces * one
    return needed
