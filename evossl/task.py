"""Task: one self-supervised objective, and the catalogue of tasks that are loaded by path.

A task declares views, owns its heads and grades features with a scalar loss. It never decodes,
augments or calls an encoder.

Shapes: B clip, N piece.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from evossl.types import EncoderShape, Features, Stream
from evossl.views.spec import Applied, View

Streams = tuple[Stream, ...]


@dataclass(frozen=True)
class Teacher:
    """A frozen, pretrained encoder that a task learns from.

    Attributes:
        folder: as `evossl export` writes it.
        width: D of its embeddings.
    """

    folder: str
    width: int


@dataclass(frozen=True)
class Place:
    """The streams that a task is instantiated on.

    A task's `places` lists places without shapes. `bind` returns the place that the task's
    constructor receives, with the shapes of its encoders' features.

    Attributes:
        streams: one stream or two.
        directed: the first stream feeds the second: "flow->rgb" rather than "rgb+flow".
        variant: which of the task's `variants` this is (distillation: the stage), or None.
        shapes: of each of the streams; empty until the place is bound.
        teacher: what a task with `needs_teacher` learns from, else None.
    """

    streams: Streams
    directed: bool = False
    variant: str | None = None
    shapes: Mapping[Stream, EncoderShape] = field(default_factory=dict, compare=False)
    teacher: Teacher | None = field(default=None, compare=False)

    def bind(self, shapes: Mapping[Stream, EncoderShape], teacher: Teacher | None) -> "Place":
        """Return this place with the shapes of its encoders' features, and its teacher."""
        own = {stream: shapes[stream] for stream in self.streams}
        return replace(self, shapes=own, teacher=teacher)

    @property
    def stream(self) -> Stream:
        """The first stream (the only one of most places)."""
        return self.streams[0]

    @property
    def shape(self) -> EncoderShape:
        """The shapes of the first stream's features."""
        return self.shapes[self.stream]

    @property
    def width(self) -> int:
        """D of the first stream's embedding."""
        return self.shape.width

    @property
    def name(self) -> str:
        """The place in a term's name: "rgb", "rgb+audio", "flow->rgb.stage3"."""
        joined = ("->" if self.directed else "+").join(self.streams)
        return joined if self.variant is None else f"{joined}.{self.variant}"


def each(*streams: Stream) -> tuple[Place, ...]:
    """Return one place for each stream."""
    return tuple(Place((stream,)) for stream in streams)


def pairs(*streams: Stream) -> tuple[Place, ...]:
    """Return one place for each unordered pair of the streams."""
    return tuple(Place(pair) for pair in combinations(streams, 2))


def directed_pairs(*streams: Stream, into: Stream | None = None) -> tuple[Place, ...]:
    """Return one place for each ordered pair (from, to); with `into`, only those that end there."""
    return tuple(
        Place(pair, directed=True)
        for pair in permutations(streams, 2)
        if into is None or pair[1] == into
    )


@dataclass(frozen=True)
class Term:
    """A task at a place: one loss with one loss weight.

    Attributes:
        task: its name in the space.
        place: where it is instantiated, with the variant.
    """

    task: str
    place: Place

    @property
    def streams(self) -> Streams:
        """The streams of its place."""
        return self.place.streams

    @property
    def name(self) -> str:
        """For example "simclr.rgb", "alignment.rgb+audio", "distill.flow->rgb.stage3"."""
        return f"{self.task}.{self.place.name}"


@dataclass(frozen=True)
class ViewOutput:
    """A view of the valid samples: its pixels, what was done to them, what its encoder gave.

    `features` is None for a view with `encoder=Role.NONE`.
    """

    pixels: Tensor
    applied: Applied
    features: Features | None

    @property
    def embedding_BD(self) -> Tensor:
        """(B, D), or (B, N, D) for pieces."""
        assert self.features is not None, "a view with Role.NONE has pixels only"
        return self.features.embedding_BD

    @property
    def mask_BTHW(self) -> Tensor:
        """What is blanked, in blocks, of a view with a mask."""
        assert self.applied.mask_BTHW is not None, "this view has no mask"
        return self.applied.mask_BTHW

    @property
    def maps(self) -> Mapping[str, Tensor]:
        """The stages' feature maps."""
        assert self.features is not None, "a view with Role.NONE has pixels only"
        return self.features.maps

    @property
    def last_map(self) -> Tensor:
        """The last stage's map, (B, C, T, H, W); sound (B, C, 1, F, T)."""
        return list(self.maps.values())[-1]


@dataclass(frozen=True)
class TaskBatch:
    """What a task is shown: only samples that are valid in all of its views, always 2 or more.

    Attributes:
        views: by the names the task gave them.
        video_id_B: int64, of the shown samples.
        valid_B: bool, over the whole batch: which samples are shown.
        progress: share of the training done, in [0, 1].
        generator: on the CPU, seeded by (seed, step, term).
    """

    views: Mapping[str, ViewOutput]
    video_id_B: Tensor
    valid_B: Tensor
    progress: float
    generator: Generator

    def __getitem__(self, name: str) -> ViewOutput:
        return self.views[name]

    def embeddings(self, *names: str) -> list[Tensor]:
        """Return the embedding of each of the named views."""
        return [self.views[name].embedding_BD for name in names]


class Task(nn.Module):
    """One self-supervised objective on one place. Subclass it in one file of `tasks/`.

    The file's name is the task's name; its class is the only subclass of `Task` in it.

    Attributes:
        places: where it makes sense: `each(...)`, `pairs(...)`, `directed_pairs(...)` or a sum.
        variants: a term for each, at each place (distillation: the stages); empty for one term.
        needs_trained: index into the place's streams of an encoder that must have another active
            task of its own, else the term is off (distillation's teacher).
        needs_teacher: it learns from the frozen encoder that the space names (`Place.teacher`).
    """

    places: ClassVar[tuple[Place, ...]]
    variants: ClassVar[tuple[str, ...]] = ()
    needs_trained: ClassVar[int | None] = None
    needs_teacher: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._followers: list[tuple[nn.Module, nn.Module]] = []

    def views(self) -> dict[str, View]:
        """Return the views this task is to be shown, by names of its own."""
        raise NotImplementedError  # abstract

    def loss(self, seen: TaskBatch) -> Tensor:
        """Return the scalar loss; no side effects: state changes belong in `after_step`."""
        raise NotImplementedError  # abstract

    def before_forward(self, progress: float) -> None:
        """Called before the step's forwards (prototypes' norms)."""

    def after_backward(self, progress: float) -> None:
        """Called between backward and the optimiser's step (freezing a last layer)."""

    def after_step(self, seen: TaskBatch) -> None:
        """Called once a batch, without gradient (queues, centres).

        After the optimiser's step; of accumulated batches all but the last come before it.
        """

    def momentum(self, head: nn.Module) -> nn.Module:
        """Return a copy of `head` that follows it by EMA as the momentum encoder does."""
        follower = deepcopy(head).requires_grad_(False)
        self._followers.append((head, follower))
        return follower

    @property
    def followers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The (head, its moving average) pairs."""
        return iter(self._followers)


def heads(task: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of a task that are trained."""
    return (p for p in task.parameters() if p.requires_grad)


def zero_loss(task: nn.Module, device: torch.device) -> Tensor:
    """A zero that reaches every head, for a batch with fewer than 2 valid samples."""
    return sum((p.sum() * 0.0 for p in heads(task)), start=torch.zeros((), device=device))
