"""Preflight: refuse a space whose first training step would fail, before a video is read.

The step is planned from shapes alone. Every view must fit the space's clips, every task must accept
its options, and a step must fit in memory.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evossl.config import SearchSpace
from evossl.errors import USER_CODE_ERRORS, UserError
from evossl.io.task_options import check_options
from evossl.io.user_file import describe_error
from evossl.models.encoder import Encoder, build_encoder
from evossl.optim.optimisers import STATES_PER_WEIGHT
from evossl.task import Place, Task, Term
from evossl.training.memory_use import activation_bytes, free_memory, pixel_bytes, state_bytes
from evossl.training.model import MIN_VALID
from evossl.training.resolved_space import ResolvedSpace
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
    """A term's task, built without memory, and the task's views by its own names."""

    task: Task
    views: Mapping[str, View]


@dataclass(frozen=True)
class _SpacePlan:
    """What a training step of all terms needs, planned from shapes."""

    space: SearchSpace
    encoders: Mapping[Stream, Encoder]
    terms: Mapping[Term, TermPlan]

    @property
    def views(self) -> list[View]:
        """The distinct views."""
        return list(dict.fromkeys(v for plan in self.terms.values() for v in plan.views.values()))


def preflight(resolved: ResolvedSpace, device: torch.device | None = None) -> None:
    """Raise an error if the first training step of a space would fail.

    Args:
        resolved: the space with its terms.
        device: the device of the trials. None if they run on another machine, whose free memory is
            unknown; the memory of a step is then not checked.

    Raises:
        UserError: a task does not accept its options, a view does not fit the clips, or a step
            needs more memory than is free. The message names the key and the remedy.
    """
    space = resolved.space
    settings, fps, stretch = ViewSettings.from_space(space), space.cache.fps, space.clip.stretch
    check_fits(View(Stream.RGB), settings, stretch, fps, "fitness: its view")
    plan = _plan(resolved)
    for term, term_plan in plan.terms.items():
        options = space.tasks[term.task].options
        source = f"{term.name} {options}" if options else term.name  # options may be the cause
        for name, view in term_plan.views.items():
            check_fits(view, settings, stretch, fps, f"{source}: view {str(name)!r}")
    if device is not None:
        free = free_memory(device)
        _check_step(plan, device, free, _check_state(plan, free))


def planned_views(resolved: ResolvedSpace) -> list[View]:
    """Return the distinct views of a training step of a space's terms, without building a model.

    Raises:
        UserError: a task does not accept its options.
    """
    return _plan(resolved).views


def _plan(resolved: ResolvedSpace) -> _SpacePlan:
    """Build encoders and tasks without memory, and plan the views."""
    space = resolved.space
    settings, fps = ViewSettings.from_space(space), space.cache.fps
    streams = dict.fromkeys([Stream.RGB, *(s for term in resolved.terms for s in term.streams)])
    encoders = {stream: _encoder(stream, space) for stream in streams}
    _check_encoder_weights(encoders, space)
    shapes = {
        stream: encoder.shape(input_shape(View(stream, space=CLEAN), settings, fps))
        for stream, encoder in encoders.items()
    }
    terms = {term: _plan_term(term, shapes, resolved) for term in resolved.terms}
    return _SpacePlan(space, encoders, terms)


def _encoder(stream: Stream, space: SearchSpace) -> Encoder:
    """Build an encoder on the meta device, which takes no memory at any width."""
    try:
        with torch.device("meta"):
            return build_encoder(stream, space.backbone, 0)
    except RuntimeError as error:  # torch: sizes that overflow
        raise UserError(
            f"backbone.width: {space.backbone.width}: more than any memory holds: lower it"
        ) from error


def _plan_term(
    term: Term, shapes: Mapping[Stream, EncoderShape], resolved: ResolvedSpace
) -> TermPlan:
    """Build the term's task and plan its views, or refuse its options by name."""
    task, options = resolved.task_class(term), resolved.space.tasks[term.task].options
    where = f"tasks.{term.task}.options"
    check_options(where, options, task)
    place = term.place.bind(shapes, teacher_of(term.task, resolved))
    try:
        built = _build_task(task, place, options)
        return TermPlan(built, views_of(built, ViewSettings.from_space(resolved.space)))
    except ValueError as error:  # raised by the task for options that it does not accept
        source = f"{where}: {options}" if options else f"tasks.{term.task}"
        raise UserError(f"{source}: {error}") from error
    except USER_CODE_ERRORS as error:
        file = Path(inspect.getfile(task))
        raise UserError(f"tasks.{term.task}: {file}: {describe_error(error, file)}") from error


def _build_task(task: type[Task], place: Place, options: Mapping[str, Any]) -> Task:
    """Build a task on the meta device; for real if its constructor computes with numbers."""
    try:
        with torch.device("meta"):
            return task(place, **options)
    except (NotImplementedError, RuntimeError):  # torch: a meta tensor holds no numbers
        with torch.random.fork_rng(devices=[]):
            return task(place, **options)


def _check_encoder_weights(encoders: Mapping[Stream, Encoder], space: SearchSpace) -> None:
    """Refuse encoders whose weights alone exceed this machine's memory, before heads are built."""
    needed, free = state_bytes(encoders.values()), free_memory(CPU)
    if needed > free:
        raise UserError(
            f"backbone.width: {space.backbone.width}: its weights alone need {needed / GB:.1f} GB, "
            f"{free / GB:.1f} GB are free: lower it"
        )


def _check_state(plan: _SpacePlan, free: int) -> int:
    """Return the bytes that last from step to step, and refuse more than are free."""
    states = STATES_PER_WEIGHT[plan.space.optimiser.name]
    with_momentum = {view.stream for view in plan.views if view.encoder is Role.MOMENTUM}
    own = {term: state_bytes([planned.task], states) for term, planned in plan.terms.items()}
    needed = state_bytes(plan.encoders.values(), states) + sum(own.values())
    needed += state_bytes(plan.encoders[stream] for stream in with_momentum)
    if needed <= free:
        return needed
    largest = max(own, key=own.__getitem__)
    raise UserError(
        f"tasks.{largest.task}.options: {plan.space.tasks[largest.task].options}: weights, queues "
        f"and memory banks alone need {needed / GB:.1f} GB, those of {largest.name} "
        f"{own[largest] / GB:.1f} GB, {free / GB:.1f} GB are free: lower them, or backbone.width"
    )


def _check_step(plan: _SpacePlan, device: torch.device, free: int, state: int) -> None:
    """Refuse a batch whose views and activations do not fit beside `state` bytes."""
    batch_size = plan.space.training.batch_size
    per_view = _bytes_per_view(plan, device)
    per_clip = sum(per_view.values())
    needed = state + batch_size * per_clip
    if needed <= free:
        return
    own = {
        term: sum(per_view[view] for view in set(planned.views.values()))
        for term, planned in plan.terms.items()
    }
    largest = max(own, key=own.__getitem__)
    fits = (free - state) // per_clip
    smaller_batch = f"training.batch_size to {fits}, " if fits >= MIN_VALID else ""
    raise UserError(
        f"training.batch_size: {batch_size}: a step needs at least {needed / GB:.1f} GB of memory, "
        f"{free / GB:.1f} GB are free: lower {smaller_batch}clip.size or backbone.width, or use "
        f"fewer views; most of it ({batch_size * own[largest] / GB:.1f} GB) is for the views of "
        f"tasks.{largest.task}"
    )


def _bytes_per_view(plan: _SpacePlan, device: torch.device) -> dict[View, int]:
    """Return the bytes that one clip needs in each view.

    Pixels are counted once per distinct input; a student's forward pass adds its activations.
    """
    settings, fps = ViewSettings.from_space(plan.space), plan.space.cache.fps
    activations: dict[tuple[Stream, tuple[int, int, int, int]], int] = {}
    counted: set[View] = set()
    needed = {}
    for view in plan.views:
        shape = input_shape(view, settings, fps)
        per_piece = 0 if view.input_key in counted else pixel_bytes(shape)
        counted.add(view.input_key)
        if view.encoder is Role.STUDENT:
            key = view.stream, shape
            if key not in activations:
                activations[key] = activation_bytes(plan.encoders[view.stream], shape, device)
            per_piece += activations[key]
        needed[view] = view.num_pieces * per_piece
    return needed
