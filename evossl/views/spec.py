"""View: a frozen recipe from clips to one stream's input; `Applied`: what it did to each sample.

A view says *what* is wanted and holds no pixels and no randomness: equal views are made once.

Shapes: B clip, N piece or segment.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import factorial
from typing import Literal, Self

from torch import Tensor

from evossl.types import Stream


class Role(StrEnum):
    """The encoder that sees a view."""

    STUDENT = "student"  # the stream's own encoder, which is trained
    MOMENTUM = "momentum"  # its exponential moving average
    TEACHER = "teacher"  # a frozen exported encoder, `View.teacher`
    NONE = "none"  # pixels only, no forward pass


Channels = Literal["own", "luma", "one"]


@dataclass(frozen=True)
class Time:
    """Which frames: indices only.

    A window of `window` steps, each lasting `stride` frames, is placed in the stretch by the time
    draw (uniformly); the view takes `frames` of it, one a step, `offset` steps after its start. So
    views with equal `time_draw`, `window` and `stride` stand in step, whatever their stream; sound
    is that of the seconds from the first frame taken to the end of the last one's step.

    Strong views follow the space's `ignores`: without `time` in it, those of different draws share
    time draw 0; with `speed`, those of stride 1 have stride 1 or 2, but not those of stride (1,).

    Attributes:
        frames: frames taken; None is the space's `clip.frames`.
        stride: frames of the cache per step; several are drawn from uniformly, and a sample whose
            stretch is too short for its draw takes the largest that fits (`Applied.stride_B`).
        offset: steps after the window's start (prediction: `offset=past`).
        window: steps that the window spans; None is the fewest that hold it all.
        reverse: probability of playing backwards (`Applied.reversed_B`), before any shuffle.
        segments: the taken frames are cut into this many equal segments, which `shuffle` permutes.
        shuffle: probability of a permutation that is not the identity, uniform among those
            (`Applied.shuffled_B`, `Applied.permutation_BN`). The reversed order is left out, so
            that "shuffled" does not mean "backwards".
        gap: share of a segment's time that is left out before the next one, shuffled or not: joints
            look alike, whether what comes next is next.
        hole: steps left out in the middle, after half of the frames (interpolation). Not of sound.
        shift: probability of a window elsewhere in the stretch: at least half a window away from
            the time draw's (`Applied.shifted_B`). A sample whose stretch has no such place for some
            windows is not valid, shifted or not: else the labels of the valid ones were biased.
    """

    frames: int | None = None
    stride: int | tuple[int, ...] = 1
    offset: int = 0
    window: int | None = None
    reverse: float = 0.0
    segments: int = 1
    shuffle: float = 0.0
    gap: float = 0.0
    shift: float = 0.0
    hole: int = 0


@dataclass(frozen=True)
class Space:
    """Which pixels.

    Attributes:
        kind: "strong": all that the space's `ignores` asks for (crop, flip, colour, noise);
            "weak": resize, the centre's square with a slight jitter, nothing else;
            "clean": resize and centre crop, no randomness (features that are scored or exported).
        scale: share of the frame's area, of a random crop with aspect 3/4 to 4/3; None is the
            kind's own (strong with crop ignored: 0.3 to 1); a clean view has none.
        size: side in pixels; None is the space's `clip.size`.
    """

    kind: Literal["strong", "weak", "clean"] = "strong"
    scale: tuple[float, float] | None = None
    size: int | None = None


@dataclass(frozen=True)
class Mask:
    """Blank space-time blocks of the input (masked modelling, JEPA): `Applied.mask_BTHW`.

    Attributes:
        ratio: share of blocks that is blanked (set to the input's mean, zero), in every slice.
        patch: side of a block in pixels, or in mel bands and columns of sound; a block lasts 2
            frames.
        tube: the same blocks in every frame (VideoMAE), else fresh ones per 2 frames.
    """

    ratio: float
    patch: int = 8
    tube: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1 or self.patch < 1:
            raise ValueError(
                f"a mask has a ratio in [0, 1] and a patch of 1 pixel or more, "
                f"got {self.ratio} and {self.patch}"
            )


@dataclass(frozen=True)
class Cells:
    """A puzzle: one crop of one window is cut into cells, which come apart in a drawn order.

    What tells the order without a look at the content is closed (Noroozi, Favaro, Unsupervised
    Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016): a piece shows a part
    of its cell at a place of its own, so that edges do not meet; it is jittered by itself; and but
    for flow each of its channels has mean 0 and spread 1: no shade or loudness says where it was.

    Attributes:
        times, rows, columns: of the grid; cells are counted by time, then row, then column. A piece
            lasts a `times`th of the frames taken, its side is a share of the view's.
        gap: share of a cell's extent, in time and in space, that its piece leaves out: neighbours
            stay at least half of that apart, the rest is where chance puts them.
        orders: how many orders are drawn from, equally often: those furthest from each other
            (`puzzle.distant_orders`). None is all of them.
    """

    times: int = 1
    rows: int = 1
    columns: int = 1
    gap: float = 0.25
    orders: int | None = None

    @property
    def count(self) -> int:
        """N, the number of pieces."""
        return self.times * self.rows * self.columns

    @property
    def num_orders(self) -> int:
        """How many values `Applied.order_B` has."""
        return factorial(self.count) if self.orders is None else self.orders


STRONG = Space("strong")
WEAK = Space("weak")
CLEAN = Space("clean")


@dataclass(frozen=True)
class View:
    """One stream's input for one encoder.

    Attributes:
        stream: the modality.
        time: which frames.
        space: which pixels; for sound only "strong" with `noise` ignored does something.
        draw: sets both draws below when they are None.
        time_draw: independent placements in time: equal draws, equal window, same stretch of time.
        space_draw: independent crops and jitters: equal draws, same crop and jitter.
        encoder: which encoder sees it.
        teacher: folder of the exported encoder, if `encoder` is `Role.TEACHER`.
        pieces: the recipe is drawn this many times (draws `draw*1000 + i`), or, with
            `time.segments == pieces`, the segments come apart: pixels (B, N, C, T / N, H, W).
        cells: the pieces are the cells of one clip: pixels (B, N, C, T / times, H, W).
        within: an outer view; the crop and the window lie inside its own.
        mask: blocks that are blanked.
        jitter_frames: colour jitter and a 1-pixel shift drawn for each frame, whatever `ignores`
            says: closes shortcuts of order tasks. Sound has none, nor flow, where it were motion.
        channels: what RGB's three show: their own; luma, three times; or one of them, drawn for
            each sample or cell, three times, so that neither colours nor what a lens does to them
            give an order away (Lee et al., ICCV 2017). Other streams are what they are.
    """

    stream: Stream
    time: Time = field(default_factory=Time)
    space: Space = STRONG
    draw: int = 0
    time_draw: int | None = None
    space_draw: int | None = None
    encoder: Role = Role.STUDENT
    teacher: str | None = None
    pieces: int = 1
    within: "View | None" = None
    mask: Mask | None = None
    jitter_frames: bool = False
    cells: Cells | None = None
    channels: Channels = "own"

    def __post_init__(self) -> None:
        is_sound, time = self.stream is Stream.AUDIO, self.time
        assert (self.teacher is not None) == (self.encoder is Role.TEACHER), (
            "a teacher has a folder"
        )
        assert not (is_sound and time.hole), "sound has no hole"
        if self.cells is not None:
            assert not is_sound or self.cells.rows == self.cells.columns == 1, "sound has no space"
            drawn = time.reverse or time.segments > 1 or time.shift or time.hole or self.mask
            assert self.pieces == 1, "the cells are the pieces"
            assert not drawn, "cells have one order, the puzzle's, and no mask"
        if self.time_draw is None:
            object.__setattr__(self, "time_draw", self.draw)
        if self.space_draw is None:
            object.__setattr__(self, "space_draw", self.draw)
        object.__setattr__(self, "draw", 0)  # both draws now say it: equal recipes compare equal

    @property
    def num_pieces(self) -> int:
        """N, 1 for a view that is one clip."""
        return self.pieces if self.cells is None else self.cells.count

    @property
    def input_key(self) -> Self:
        """The same recipe without its encoder: the key under which the input is made once."""
        outer = None if self.within is None else self.within.input_key
        return replace(self, encoder=Role.NONE, teacher=None, within=outer)


@dataclass(frozen=True)
class Applied:
    """What a view did to each sample: the labels of pretext tasks. On the device of the pixels.

    Drawn pieces have labels of their own: N comes after B in every field. Segments and cells were
    drawn as one clip and have one label; segments that come apart have masks of their own.

    Attributes:
        start_B: int64, first frame (of the stretch) of the window.
        stride_B: int64, frames of the cache per step.
        reversed_B: bool. shuffled_B: bool. shifted_B: bool.
        permutation_BN: int64, order of the `segments`: output segment j is input segment p[j]; of
            `cells`: output piece j is cell p[j].
        crop_B4: float32, (top, left, height, width) of the crop in shares of the frame.
        flipped_B: bool, mirrored left to right.
        mask_BTHW: bool, True where blanked, in blocks; None without a mask.
        order_B: int64, which of the cells' orders the permutation is; None without cells.
    """

    start_B: Tensor
    stride_B: Tensor
    reversed_B: Tensor
    shuffled_B: Tensor
    shifted_B: Tensor
    permutation_BN: Tensor
    crop_B4: Tensor
    flipped_B: Tensor
    mask_BTHW: Tensor | None = None
    order_B: Tensor | None = None

    def rows(self, index: Tensor) -> "Applied":
        """Return what was done to the samples that `index` (bool mask or int64) selects."""
        names = [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]
        return Applied(**{name: getattr(self, name)[index] for name in names})


@dataclass(frozen=True)
class ViewInput:
    """A view's input, made.

    Attributes:
        pixels: float32, normalised: (B, C, T, H, W), sound (B, 1, 1, F, T) with F mel bands;
            (B, N, ...) for N > 1 pieces.
        applied: what was done to each sample.
        valid_B: bool; False where the sample has no sound or is too short for the recipe.
    """

    pixels: Tensor
    applied: Applied
    valid_B: Tensor
