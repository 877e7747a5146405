"""Task: one self-supervised objective, with its place, its term and the batch it receives.

A task declares views, owns its heads and computes a scalar loss from features. It never decodes,
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
        folder: the encoder folder.
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
        directed: True if the pair is ordered: "flow->rgb" rather than "rgb+flow".
        variant: one of the task's `variants` (distillation: the stage), or None.
        shapes: the feature shapes of each stream's encoder; empty until the place is bound.
        teacher: the frozen encoder of a task with `needs_teacher`, else None.
    """

    streams: Streams
    directed: bool = False
    variant: str | None = None
    shapes: Mapping[Stream, EncoderShape] = field(default_factory=dict, compare=False)
    teacher: Teacher | None = field(default=None, compare=False)

    def bind(self, shapes: Mapping[Stream, EncoderShape], teacher: Teacher | None) -> "Place":
        """Return this place with the shapes of its encoders' features, and its teacher."""
        return replace(self, shapes={s: shapes[s] for s in self.streams}, teacher=teacher)

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
        """The place as part of a term's name: "rgb", "rgb+audio", "flow->rgb.stage3"."""
        joined = ("->" if self.directed else "+").join(self.streams)
        return joined if self.variant is None else f"{joined}.{self.variant}"


def each(*streams: Stream) -> tuple[Place, ...]:
    """Return one place for each stream."""
    return tuple(Place((stream,)) for stream in streams)


def pairs(*streams: Stream) -> tuple[Place, ...]:
    """Return one place for each unordered pair of the streams."""
    return tuple(Place(pair) for pair in combinations(streams, 2))


def directed_pairs(*streams: Stream, into: Stream | None = None) -> tuple[Place, ...]:
    """Return one place for each ordered pair (from, to), or only for those that end at `into`."""
    return tuple(
        Place(pair, directed=True)
        for pair in permutations(streams, 2)
        if into is None or pair[1] == into
    )


@dataclass(frozen=True)
class Term:
    """A task at a place: one loss with one loss weight.

    Attributes:
        task: the task's name in the space.
        place: the place, with the variant.
    """

    task: str
    place: Place

    @property
    def streams(self) -> Streams:
        """The streams of its place."""
        return self.place.streams

    @property
    def name(self) -> str:
        """For example "simclr.rgb", "brave.rgb+audio" or "distill.flow->rgb.stage3"."""
        return f"{self.task}.{self.place.name}"


@dataclass(frozen=True)
class ViewOutput:
    """One view of the valid samples.

    Attributes:
        pixels: the input of the encoder.
        applied: the augmentations of each sample; the labels of pretext tasks.
        features: the encoder's output; None for a view with `encoder=Role.NONE`.
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
        """The mask, one value per block; only for a view with a mask."""
        assert self.applied.mask_BTHW is not None, "this view has no mask"
        return self.applied.mask_BTHW

    @property
    def maps(self) -> Mapping[str, Tensor]:
        """The stages' feature maps."""
        assert self.features is not None, "a view with Role.NONE has pixels only"
        return self.features.maps

    @property
    def last_map(self) -> Tensor:
        """The last stage's map, (B, C, T, H, W); audio (B, C, 1, F, T)."""
        return list(self.maps.values())[-1]


@dataclass(frozen=True)
class TaskBatch:
    """A task's input: only the samples that are valid in all of its views, always 2 or more.

    Attributes:
        views: the views, by the names that the task gave them.
        video_id_B: int64, the video of each sample.
        valid_B: bool, one value per clip of the full batch; True for the samples included here.
        progress: completed fraction of the training, in [0, 1].
        generator: a CPU generator, seeded by (seed, step, term).
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

    The file's name is the task's name, and the file contains exactly one subclass of `Task`.

    Attributes:
        places: the supported places: `each(...)`, `pairs(...)`, `directed_pairs(...)` or a sum.
        variants: names of the variants (for distillation: the stages). Each place gives one term
            per variant, or a single term if this is empty.
        teacher_stream_index: for distillation between streams, which of the place's streams is the
            teacher (an index). The term is active only if another active task trains that
            stream's encoder.
        needs_teacher: the task learns from the frozen encoder that the space names
            (`Place.teacher`).
    """

    places: ClassVar[tuple[Place, ...]]
    variants: ClassVar[tuple[str, ...]] = ()
    teacher_stream_index: ClassVar[int | None] = None
    needs_teacher: ClassVar[bool] = False

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._momentum_heads: list[tuple[nn.Module, nn.Module]] = []

    def views(self) -> dict[str, View]:
        """Return the views that this task needs, by names of its choice."""
        raise NotImplementedError  # abstract

    def loss(self, batch: TaskBatch) -> Tensor:
        """Return the scalar loss, without side effects: state is updated in `after_step`."""
        raise NotImplementedError  # abstract

    def before_forward(self, progress: float) -> None:
        """Hook before the step's forward passes (used to normalise prototypes)."""

    def after_backward(self, progress: float) -> None:
        """Hook between the backward pass and the optimiser step (used to freeze a layer)."""

    def after_step(self, batch: TaskBatch) -> None:
        """Hook called once per batch, without gradient (used to update queues and centres).

        For the last batch of an optimiser step, it is called after the step. For earlier
        accumulated batches, it is called right after their backward pass.
        """

    def momentum(self, head: nn.Module) -> nn.Module:
        """Return a copy of `head` that is updated as its EMA, like the momentum encoders."""
        momentum_head = deepcopy(head).requires_grad_(False)
        self._momentum_heads.append((head, momentum_head))
        return momentum_head

    @property
    def momentum_heads(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """The pairs of a head and its EMA copy."""
        return iter(self._momentum_heads)


def trainable_parameters(task: nn.Module) -> Iterator[nn.Parameter]:
    """Return the parameters of a task's heads that are trained."""
    return (p for p in task.parameters() if p.requires_grad)


def zero_loss(task: nn.Module, device: torch.device) -> Tensor:
    """Return a zero that depends on all heads, for a batch with fewer than 2 valid samples."""
    zeros = (p.sum() * 0.0 for p in trainable_parameters(task))
    return sum(zeros, start=torch.zeros((), device=device))
