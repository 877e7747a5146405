"""The scene of a synthetic video: factors sampled from (seed, number), and motions over time.

A single frame does not identify the motion: position (on a torus), angle and log-size of the shape
are uniformly distributed at every moment of every motion, and independent of each other.

Shapes: T frame.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from evossl.errors import UserError

Floats = NDArray[np.float64]

NUM_APPEARANCES = 8
NUM_SOUNDS = 4
BEATS_PER_CYCLE = 4
SLOW_CYCLE_SECONDS = 1.6  # for one cycle: once across the frame, or one full turn
FAST_CYCLE_SECONDS = 0.8
SPEED_JITTER = 0.15  # largest relative deviation of a cycle's length
RADIUS_RANGE = (0.09, 0.19)  # of a shape, as a fraction of the frame's short side
SWAY_AMPLITUDE = 0.2  # of swaying and orbits, as a fraction of the frame
CAMERA_JITTER = 0.012  # standard deviation in each frame, likewise
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Poses:
    """Where the shape is in each frame.

    Attributes:
        x_T: centre, as a fraction of the frame's width, on a torus.
        y_T: centre, as a fraction of the height, downwards.
        angle_T: clockwise, in radians.
        log_size_T: 0 (smallest) to 1.
    """

    x_T: Floats
    y_T: Floats
    angle_T: Floats
    log_size_T: Floats


@dataclass(frozen=True)
class Scene:
    """The factors of one video.

    Attributes:
        motion: one of `motion_names()`.
        appearance: 0 to 7, independent of the motion.
        sound: 0 to 3, independent of both.
        start: phase of the motion in the first frame, in cycles.
        cycle_seconds: length of one cycle of the motion.
        base_pose: (x, y, angle, log-size), each in [0, 1); the motion changes some of them.
        noise_seed: seed of camera jitter, hue, background and noise in the sound.
    """

    motion: str
    appearance: int
    sound: int
    start: float
    cycle_seconds: float
    base_pose: tuple[float, float, float, float]
    noise_seed: tuple[int, int, int]

    def phase(self, seconds: Floats) -> Floats:
        """Return the motion's phase in cycles."""
        return self.start + seconds / self.cycle_seconds

    def poses(self, seconds_T: Floats) -> Poses:
        """Return the shape's pose at each time."""
        x, y, angle, log_size = (np.full(len(seconds_T), value) for value in self.base_pose)
        base = Poses(x, y, 2 * math.pi * angle, log_size)
        return _MOTIONS[self.motion.removesuffix(FAST_SUFFIX)](base, self.phase(seconds_T))


Motion = Callable[[Poses, Floats], Poses]
FAST_SUFFIX = "_fast"


def _translate(dx: float, dy: float) -> Motion:
    def move(base: Poses, phase: Floats) -> Poses:
        x = phase * dx if dx else base.x_T  # phase 0, a beat, is where the shape crosses the border
        y = phase * dy if dy else base.y_T
        return Poses(x % 1, y % 1, base.angle_T, base.log_size_T)

    return move


def _rotate(sign: int) -> Motion:
    def turn(base: Poses, phase: Floats) -> Poses:
        return Poses(base.x_T, base.y_T, sign * 2 * math.pi * phase, base.log_size_T)

    return turn


def _scale(sign: int) -> Motion:
    def size(base: Poses, phase: Floats) -> Poses:
        return Poses(base.x_T, base.y_T, base.angle_T, (sign * 2 * phase) % 1)

    return size


def _oscillate(across: float, down: float) -> Motion:
    """Sway along one axis, or orbit: clockwise if `across * down` > 0."""

    def circle(base: Poses, phase: Floats) -> Poses:
        x = base.x_T + across * np.cos(2 * math.pi * phase)
        y = base.y_T + down * np.sin(2 * math.pi * phase)
        return Poses(x % 1, y % 1, base.angle_T, base.log_size_T)

    return circle


_MOTIONS: dict[str, Motion] = {
    "right": _translate(1, 0),
    "clockwise": _rotate(1),
    "left": _translate(-1, 0),
    "anticlockwise": _rotate(-1),
    "up": _translate(0, -1),
    "grow": _scale(1),
    "down": _translate(0, 1),
    "shrink": _scale(-1),
    "sway": _oscillate(SWAY_AMPLITUDE, 0),
    "orbit_clockwise": _oscillate(SWAY_AMPLITUDE, SWAY_AMPLITUDE),
    "bob": _oscillate(0, SWAY_AMPLITUDE),
    "orbit_anticlockwise": _oscillate(SWAY_AMPLITUDE, -SWAY_AMPLITUDE),
}


def motion_names(num_classes: int) -> tuple[str, ...]:
    """Return the names of the motions, the most frequent first; after 12, their fast variants.

    Raises:
        UserError: the number is out of range.
    """
    names = (*_MOTIONS, *(name + FAST_SUFFIX for name in _MOTIONS))
    if not 1 <= num_classes <= len(names):
        raise UserError(
            f"--classes {num_classes}: must be 1 to {len(names)}, the number of motions"
        )
    return names[:num_classes]


def sample_scene(seed: int, number: int, num_classes: int) -> Scene:
    """Return the scene of video `number`, which depends only on the arguments.

    Motion and appearance follow Zipf's law, q_i = (1/i) / H. Motion follows a golden-ratio
    sequence, so that the first n videos have nearly that mix for any n.
    """
    names = motion_names(num_classes)
    first = np.random.default_rng([seed, num_classes]).random()
    rng = np.random.default_rng([seed, number, num_classes])
    motion = names[_zipf_quantile((first + number * GOLDEN_RATIO) % 1, num_classes)]
    appearance = _zipf_quantile(rng.random(), NUM_APPEARANCES)
    sound = int(rng.integers(NUM_SOUNDS))
    seconds = FAST_CYCLE_SECONDS if motion.endswith(FAST_SUFFIX) else SLOW_CYCLE_SECONDS
    seconds *= 1 + rng.uniform(-SPEED_JITTER, SPEED_JITTER)
    start, x, y, angle, log_size = rng.random(5).tolist()
    base_pose = (x, y, angle, log_size)
    return Scene(motion, appearance, sound, start, seconds, base_pose, (seed, number, num_classes))


def _zipf_quantile(quantile: float, num_classes: int) -> int:
    """Return the class at this quantile of Zipf's law."""
    ends = list(accumulate(1 / rank for rank in range(1, num_classes + 1)))
    return min(int(np.searchsorted(ends, quantile * ends[-1], side="right")), num_classes - 1)
