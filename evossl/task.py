"""Task: one self-supervised objective, and the catalogue of tasks that are loaded by path.

A task declares views, owns its heads and grades features with a scalar loss. It never decodes,
augments or calls an encoder.

Shapes: B clip, N piece.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from evossl.errors import UserError
from evossl.naming import unknown
from evossl.streams import EncoderShape, Features, Stream
from evossl.userfile import load_file
from evossl.views.spec import Applied, View

Streams = tuple[Stream, ...]


@dataclass(frozen=True)
class Teacher:
    """A frozen encoder, trained before, that a task learns from.

    Attributes:
        folder: as `evossl export` writes it.
        width: D of its embeddings.
    """

    folder: str
    width: int

    @property
    def encoder(self) -> str:
        """The `View.encoder` of what it is to see."""
        return f"teacher:{self.folder}"


@dataclass(frozen=True)
class Place:
    """The streams a task stands on, and the shapes of their encoders' features.

    Attributes:
        streams: one stream or two.
        shapes: of each of the streams.
        directed: the first stream gives to the second: "flow->rgb" rather than "rgb+flow".
        variant: which of a task's `variants` this is (distillation: the stage), or None.
        teacher: what a task with `needs_teacher` learns from, else None.
    """

    streams: Streams
    shapes: Mapping[Stream, EncoderShape]
    directed: bool = False
    variant: str | None = None
    teacher: Teacher | None = None

    @property
    def stream(self) -> Stream:
        """The first stream (the only one of most places)."""
        return self.streams[0]

    @property
    def shape(self) -> EncoderShape:
        """What the first stream's encoder gives."""
        return self.shapes[self.stream]

    @property
    def width(self) -> int:
        """D of the first stream's embedding."""
        return self.shape.width

    @property
    def name(self) -> str:
        """The place in a weight's name: "rgb", "rgb+audio", "flow->rgb.stage3"."""
        joined = ("->" if self.directed else "+").join(self.streams)
        return joined if self.variant is None else f"{joined}.{self.variant}"


@dataclass(frozen=True)
class Site:
    """A place without shapes, as a task's `places` lists them."""

    streams: Streams
    directed: bool = False


def each(*streams: Stream) -> tuple[Site, ...]:
    """One place for each stream."""
    return tuple(Site((stream,)) for stream in streams)


def pairs(*streams: Stream) -> tuple[Site, ...]:
    """One place for each unordered pair of the streams."""
    return tuple(Site(pair) for pair in combinations(streams, 2))


def arrows(*streams: Stream, into: Stream | None = None) -> tuple[Site, ...]:
    """One place for each ordered pair, (from, to); with `into`, only those that end there."""
    return tuple(
        Site(pair, directed=True)
        for pair in permutations(streams, 2)
        if into is None or pair[1] == into
    )


@dataclass(frozen=True)
class SeenView:
    """A view of the valid samples: its pixels, what was done to them, what its encoder gave.

    `features` is None for a view that nobody sees (`encoder=None`).
    """

    pixels: Tensor
    applied: Applied
    features: Features | None

    @property
    def embedding_BD(self) -> Tensor:
        """(B, D), or (B, N, D) for pieces."""
        assert self.features is not None, "a view with encoder=None has pixels only"
        return self.features.embedding_BD

    @property
    def mask_BTHW(self) -> Tensor:
        """What is blanked, in blocks, of a view with a mask."""
        assert self.applied.mask_BTHW is not None, "this view has no mask"
        return self.applied.mask_BTHW

    @property
    def maps(self) -> Mapping[str, Tensor]:
        """The stages' feature maps."""
        assert self.features is not None, "a view with encoder=None has pixels only"
        return self.features.maps

    @property
    def last_map(self) -> Tensor:
        """The last stage's map, (B, C, T, H, W); sound (B, C, 1, F, T)."""
        return list(self.maps.values())[-1]


@dataclass(frozen=True)
class Seen:
    """What a task is shown: only samples that are valid in all of its views, always 2 or more.

    Attributes:
        views: by the names the task gave them.
        video_id_B: int64, of the shown samples.
        valid_B: bool, over the whole batch: which samples are shown.
        progress: share of the training done, in [0, 1].
        generator: on the CPU, seeded by (seed, step, term).
    """

    views: Mapping[str, SeenView]
    video_id_B: Tensor
    valid_B: Tensor
    progress: float
    generator: Generator

    def __getitem__(self, name: str) -> SeenView:
        return self.views[name]

    def embeddings(self, *names: str) -> list[Tensor]:
        """Return the embedding of each of the named views."""
        return [self.views[name].embedding_BD for name in names]


class Task(nn.Module):
    """One self-supervised objective on one place. Subclass it in one file of `tasks/`.

    The file's name is the task's name; its class is the only subclass of `Task` in it.

    Attributes:
        places: where it makes sense: `each(...)`, `pairs(...)`, `arrows(...)`, or a sum of them.
        variants: a term for each, at each place (distillation: the stages); empty for one term.
        needs_trained: index into the place's streams of an encoder that must have another active
            task of its own, else the term is off (distillation's teacher).
        needs_teacher: it learns from the frozen encoder that the space names (`Place.teacher`).
    """

    places: ClassVar[tuple[Site, ...]]
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

    def loss(self, seen: Seen) -> Tensor:
        """Return the scalar loss; no side effects: state changes belong in `after_step`."""
        raise NotImplementedError  # abstract

    def before_forward(self, progress: float) -> None:
        """Called before the step's forwards (prototypes' norms)."""

    def after_backward(self, progress: float) -> None:
        """Called between backward and the optimiser's step (freezing a last layer)."""

    def after_step(self, seen: Seen) -> None:
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


@dataclass(frozen=True)
class Term:
    """A task on a place: one loss, one weight. `name` is the weight's name."""

    task: str
    streams: Streams
    directed: bool = False
    variant: str | None = None

    def place(self, shapes: Mapping[Stream, EncoderShape], teacher: Teacher | None = None) -> Place:
        """Return the place with the shapes of its encoders, and the teacher if it needs one."""
        own = {stream: shapes[stream] for stream in self.streams}
        return Place(self.streams, own, self.directed, self.variant, teacher)

    @property
    def name(self) -> str:
        """For example "simclr.rgb", "alignment.rgb+audio", "distill.flow->rgb.stage3"."""
        return f"{self.task}.{Place(self.streams, {}, self.directed, self.variant).name}"


def catalogue_root() -> Path:
    """Return the folder that holds `tasks/` and `search_spaces/`: in a wheel, or the repository."""
    packaged = Path(__file__).parent / "catalogue"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent


def load_catalogue(extra: Path | None = None) -> Mapping[str, type[Task]]:
    """Return the task classes by name, from the catalogue and a user's own folder.

    A file is loaded once a process: however it is asked for, its class is the same.

    Raises:
        UserError: a file that cannot be loaded or has not exactly one `Task`, a name that is taken,
            no such folder.
    """
    folders = [catalogue_root() / "tasks", *([extra] if extra else [])]
    tasks: dict[str, type[Task]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--tasks {folder}: no such folder")
        for file in sorted(folder.glob("[!_]*.py")):
            if file.stem in tasks:
                raise UserError(f"{file}: the name {file.stem!r} is taken; rename the file")
            tasks[file.stem] = _load_task(file.resolve())
    return tasks


@cache
def _load_task(file: Path) -> type[Task]:
    name = f"evossl_tasks.{file.stem}"
    module = load_file(file, name)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == name
    ]
    if len(own) != 1:
        raise UserError(f"{file}: a task file defines exactly one Task, this one {len(own)}")
    return own[0]


def find_task(name: str, tasks: Mapping[str, type[Task]]) -> type[Task]:
    """Return the task class of that name.

    Raises:
        UserError: unknown name; the message has the nearest known one.
    """
    if name not in tasks:
        raise UserError(unknown("task", name, tasks))
    return tasks[name]


def heads(task: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of a task that are trained."""
    return (p for p in task.parameters() if p.requires_grad)


def zero_loss(task: nn.Module, device: torch.device) -> Tensor:
    """A zero that reaches every head, for a batch with fewer than 2 valid samples."""
    return sum((p.sum() * 0.0 for p in heads(task)), start=torch.zeros((), device=device))
