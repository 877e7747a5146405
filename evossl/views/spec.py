"""View: a frozen, hashable recipe that turns clips into the input of one encoder.

A view states which stream, frames, pixels and random draws are wanted. It holds no pixels and no
random state, so equal views are built once, however many tasks declare them. `Applied` records what
a view did to each sample: the labels of pretext tasks.

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

    STUDENT = "student"  # the stream's encoder that is trained
    MOMENTUM = "momentum"  # the exponential moving average of the stream's encoder
    TEACHER = "teacher"  # a frozen encoder loaded from the folder `View.teacher`
    NONE = "none"  # no encoder: the task uses the pixels only


Channels = Literal["all", "luma", "random"]


@dataclass(frozen=True)
class Time:
    """Temporal sampling: which frames a view takes, and in which order.

    A clip comes as a stretch: at most `clip.stretch` consecutive frames of the clip cache. A window
    of `window` steps is placed in it uniformly at random; a step lasts `stride` frames. The view
    takes `frames` frames, one per step, starting `offset` steps after the start of the window.
    Views with equal `time_draw`, `window` and `stride` have the same window, whatever their stream.
    A sound view covers the seconds from its first frame to the end of its last step.

    The search space's `ignores` also affects strong views (`Space.kind`):
        - if it lacks `time`, all strong views share the window placement of time draw 0;
        - if it contains `speed`, strong views of `stride=1` draw a stride of 1 or 2. Pass
          `stride=(1,)` to keep a stride of 1.

    Attributes:
        frames: number of frames taken; None means `clip.frames` of the space.
        stride: frames of the cache per step. From a tuple, each sample draws one stride uniformly;
            if its stretch is too short for that stride, it uses the largest one that fits
            (`Applied.stride_B`).
        offset: steps between the start of the window and the first frame taken. A task that
            predicts the future sets it to the number of past frames.
        window: length of the window in steps; None means the shortest that holds all frames taken.
        reverse: probability of playing the frames backwards (`Applied.reversed_B`). Reversal comes
            before shuffling.
        segments: number of equal segments that the frames are split into. `shuffle` permutes them.
        shuffle: probability of permuting the segments (`Applied.shuffled_B`,
            `Applied.permutation_BN`). The permutation is uniform among all except the identity and,
            with more than two segments, the reversed order, which would look like `reverse`.
        gap: fraction of each segment's steps that is skipped at its end: a segment of n frames
            occupies ceil(n / (1 - gap)) steps. The steps are skipped whether or not segments are
            shuffled; otherwise the transition would reveal whether two segments are consecutive.
        shift: probability of moving the window elsewhere in the stretch, at least half a window
            away from where the time draw placed it (`Applied.shifted_B`). A sample whose stretch is
            too short to shift every possible window is invalid whether or not a shift was drawn;
            otherwise the labels of the valid samples would be biased.
        hole: steps skipped in the middle, after the first half of the frames (for interpolation
            tasks). Not supported for sound.
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
    """Spatial sampling and augmentation: which pixels a view shows.

    Attributes:
        kind: "strong" applies every augmentation that `ignores` of the search space asks for (crop,
            flip, colour, noise). "weak" takes the central square, slightly jittered, and resizes
            it. "clean" takes the central square without randomness, for features that are scored or
            exported.
        scale: smallest and largest area of a random crop, as fractions of the frame's area; its
            aspect ratio is 3/4 to 4/3. None means the default of `kind`: from
            `augmentation.min_crop_area` to 1 for strong views if `ignores` contains `crop`,
            otherwise the central square. Not allowed for clean views.
        size: side of the view in pixels; None means `clip.size` of the space.
    """

    kind: Literal["strong", "weak", "clean"] = "strong"
    scale: tuple[float, float] | None = None
    size: int | None = None


@dataclass(frozen=True)
class Mask:
    """Random masking of space-time blocks, for masked modelling and JEPA (`Applied.mask_BTHW`).

    A block covers 2 frames and `patch` x `patch` pixels (for sound: mel bands x columns). Masked
    blocks are set to zero, the mean of a normalised input.

    Attributes:
        ratio: fraction of the blocks that is masked, the same in every time slice.
        patch: side of a block in pixels, or in mel bands and columns for sound.
        tube: True masks the same blocks in all frames (VideoMAE); False draws new blocks for every
            time slice of 2 frames.
    """

    ratio: float
    patch: int = 8
    tube: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1 or self.patch < 1:
            raise ValueError(
                f"a mask needs a ratio in [0, 1] and a patch of at least 1 pixel; "
                f"got ratio {self.ratio} and patch {self.patch}"
            )


@dataclass(frozen=True)
class Cells:
    """A puzzle: a clip is split into a grid of cells, whose pieces come in a random order.

    Three shortcuts that give the order away without looking at the content are closed (Noroozi,
    Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016):
        - a piece shows only part of its cell, at a random place, so that the edges of neighbouring
          pieces do not continue each other;
        - each piece has its own random colour jitter;
        - each channel of each piece is standardised to mean 0 and standard deviation 1, so that
          brightness or loudness says nothing about the place. Flow is not standardised, because
          that would remove the motion.

    Attributes:
        times, rows, columns: size of the grid. Cells are numbered by time, then row, then column. A
            piece has `1 / times` of the frames taken.
        gap: fraction of a cell's extent, in time and in space, that its piece leaves out. Half of
            it always separates neighbouring pieces; the other half is the room in which the piece
            is placed at random.
        orders: number of different orders, each drawn equally often. They are chosen to be far
            apart in Hamming distance (`puzzle.distant_orders`). None means all `count`! orders.
    """

    times: int = 1
    rows: int = 1
    columns: int = 1
    gap: float = 0.25
    orders: int | None = None

    @property
    def count(self) -> int:
        """N, the number of cells and of pieces."""
        return self.times * self.rows * self.columns

    @property
    def num_orders(self) -> int:
        """Number of classes of `Applied.order_B`."""
        return factorial(self.count) if self.orders is None else self.orders


STRONG = Space("strong")
WEAK = Space("weak")
CLEAN = Space("clean")


@dataclass(frozen=True)
class View:
    """The recipe of one input of one encoder.

    Attributes:
        stream: the modality: RGB, gray, flow or sound.
        time: temporal sampling: which frames.
        space: spatial sampling and augmentation: which pixels. For sound it has one effect: the
            waveform of a strong view is augmented if `ignores` contains `noise`.
        draw: sets both `time_draw` and `space_draw` where they are None.
        time_draw: number of the random draw in time. Views with equal draws and equal windows show
            the same stretch of time; different draws are independent.
        space_draw: number of the random draw of crop, flip, colour, noise and mask. Views with
            equal draws share all of them; different draws are independent.
        encoder: the encoder that sees the view.
        teacher: folder of the exported encoder if `encoder` is `Role.TEACHER`, otherwise None.
        pieces: N > 1 repeats the recipe with N independent draws (piece i uses the draws
            `draw * 1000 + i`). If `time.segments == pieces`, one clip is instead split into its
            segments. Pixels are (B, N, C, T, H, W), where T counts the frames of one piece.
        within: an outer view. The window and the crop of this view lie inside those of the outer.
        mask: blocks of the input that are masked, or None.
        jitter_frames: jitter colours, and shift by up to 1 pixel, in each frame independently,
            whatever `ignores` contains. This closes shortcuts of tasks on the order of frames. It
            has no effect on sound, nor on flow, where it would add motion.
        cells: the puzzle whose pieces the view shows, or None. Pixels are (B, N, C, T, H, W).
        channels: what the three channels of an RGB view show. "all" leaves them as they are. "luma"
            repeats the luma three times. "random" repeats one channel, drawn for each sample or
            piece, so that neither colour nor chromatic aberration gives an order away (Lee et al.,
            ICCV 2017). It has no effect on other streams.
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
    channels: Channels = "all"

    def __post_init__(self) -> None:
        is_sound, time = self.stream is Stream.AUDIO, self.time
        assert (self.teacher is not None) == (self.encoder is Role.TEACHER), (
            "View.teacher is set exactly if View.encoder is Role.TEACHER"
        )
        assert not (is_sound and time.hole), "Time.hole is not supported for sound"
        if self.cells is not None:
            assert not is_sound or self.cells.rows == self.cells.columns == 1, (
                "a puzzle of sound has no rows and columns"
            )
            assert self.pieces == 1, "a view with cells has no other pieces"
            changes_order = time.reverse or time.segments > 1 or time.shift or time.hole
            assert not changes_order, "a view with cells has no reversal, segments, shift or hole"
            assert self.mask is None, "a view with cells has no mask"
        if self.time_draw is None:
            object.__setattr__(self, "time_draw", self.draw)
        if self.space_draw is None:
            object.__setattr__(self, "space_draw", self.draw)
        # `draw` is now stored in the other two: reset it, so that equal recipes compare equal.
        object.__setattr__(self, "draw", 0)

    @property
    def num_pieces(self) -> int:
        """N, the number of pieces; 1 for a view of one whole clip."""
        return self.pieces if self.cells is None else self.cells.count

    @property
    def input_key(self) -> Self:
        """The recipe without its encoder: views with equal keys share one input."""
        outer = None if self.within is None else self.within.input_key
        return replace(self, encoder=Role.NONE, teacher=None, within=outer)


@dataclass(frozen=True)
class Applied:
    """What a view did to each sample: the labels of pretext tasks, on the device of the pixels.

    If the pieces of a view have independent draws, each has its own labels: every field then has
    the shape (B, N, ...). Segments and cells come from one draw, so a sample has one label for all
    of them; segments that are split into pieces have one mask each.

    Attributes:
        start_B: int64, first frame of the window, counted from the start of the stretch.
        stride_B: int64, frames of the cache per step.
        reversed_B: bool, the clip is played backwards.
        shuffled_B: bool, the segments are permuted.
        shifted_B: bool, the window was moved away from where the time draw placed it.
        permutation_BN: int64, order of the segments: segment j of the output is segment p[j] of the
            input. For `cells`: piece j of the output is cell p[j].
        crop_B4: float32, (top, left, height, width) of the crop as fractions of the frame's height
            and width.
        flipped_B: bool, mirrored left to right.
        mask_BTHW: bool, True for masked blocks; one entry per block. None without a mask.
        order_B: int64, number of the permutation among the orders of the puzzle (the class to be
            predicted). None without cells.
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
        """Return the labels of the samples that `index` (bool mask or int64) selects."""
        names = [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]
        return Applied(**{name: getattr(self, name)[index] for name in names})


@dataclass(frozen=True)
class ViewInput:
    """The input that a view describes, built for one batch of clips.

    Attributes:
        pixels: float32, normalised: (B, C, T, H, W), for sound (B, 1, 1, F, T) with F mel bands;
            (B, N, ...) for a view of N > 1 pieces.
        applied: what was done to each sample.
        valid_B: bool, False if the sample has no sound or its stretch is too short for the view.
    """

    pixels: Tensor
    applied: Applied
    valid_B: Tensor
