"""What happens in a synthetic video: factors drawn from (seed, number), motions as poses over time.

No single frame tells motions apart: position (on a torus), angle and log-size of the shape are
uniform at every moment of every motion, and independent of each other.

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
BEATS_A_CYCLE = 4
SLOW_SECONDS = 1.6  # a cycle: once across the frame, once around
FAST_SECONDS = 0.8
SPEED_JITTER = 0.15
RADIUS = (0.09, 0.19)  # of a shape, in shares of the frame's short side
SWAY = 0.2  # amplitude of swaying and orbits, in shares of the frame
CAMERA_JITTER = 0.012  # standard deviation a frame, likewise
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Poses:
    """Where the shape is in each frame.

    Attributes:
        x_T: centre, in widths of the frame, on a torus.
        y_T: centre, in heights, downwards.
        angle_T: clockwise as seen, radians.
        growth_T: log-size, 0 (smallest) to 1.
    """

    x_T: Floats
    y_T: Floats
    angle_T: Floats
    growth_T: Floats


@dataclass(frozen=True)
class Scene:
    """The factors of one video.

    Attributes:
        motion: name of `motions()`. appearance: 0 .. 7. sound: 0 .. 3; each independent of others.
        start: phase of the motion in the first frame, in cycles.
        cycle_seconds: one cycle of the motion.
        rest: (x, y, angle, growth) that the motion starts from or leaves alone, each in [0, 1).
        noise_seed: of what has no meaning: camera jitter, hue, background, noise in the sound.
    """

    motion: str
    appearance: int
    sound: int
    start: float
    cycle_seconds: float
    rest: tuple[float, float, float, float]
    noise_seed: tuple[int, int, int]

    def phase(self, seconds: Floats) -> Floats:
        """Return the motion's phase in cycles."""
        return self.start + seconds / self.cycle_seconds

    def poses(self, seconds_T: Floats) -> Poses:
        """Return the shape's pose at each time."""
        x, y, angle, growth = (np.full(len(seconds_T), value) for value in self.rest)
        still = Poses(x, y, 2 * math.pi * angle, growth)
        return _MOTIONS[self.motion.removesuffix(FAST)](still, self.phase(seconds_T))


Motion = Callable[[Poses, Floats], Poses]
FAST = "_fast"


def _moved(dx: float, dy: float) -> Motion:
    def move(still: Poses, phase: Floats) -> Poses:
        x = phase * dx if dx else still.x_T  # a beat sounds where it crosses the border
        y = phase * dy if dy else still.y_T
        return Poses(x % 1, y % 1, still.angle_T, still.growth_T)

    return move


def _turned(sign: int) -> Motion:
    def turn(still: Poses, phase: Floats) -> Poses:
        return Poses(still.x_T, still.y_T, sign * 2 * math.pi * phase, still.growth_T)

    return turn


def _sized(sign: int) -> Motion:
    def size(still: Poses, phase: Floats) -> Poses:
        return Poses(still.x_T, still.y_T, still.angle_T, (sign * 2 * phase) % 1)

    return size


def _circled(across: float, down: float) -> Motion:
    """Sways along one axis, or orbits: clockwise where `across * down` > 0."""

    def circle(still: Poses, phase: Floats) -> Poses:
        x = still.x_T + across * np.cos(2 * math.pi * phase)
        y = still.y_T + down * np.sin(2 * math.pi * phase)
        return Poses(x % 1, y % 1, still.angle_T, still.growth_T)

    return circle


_MOTIONS: dict[str, Motion] = {
    "right": _moved(1, 0),
    "clockwise": _turned(1),
    "left": _moved(-1, 0),
    "anticlockwise": _turned(-1),
    "up": _moved(0, -1),
    "grow": _sized(1),
    "down": _moved(0, 1),
    "shrink": _sized(-1),
    "sway": _circled(SWAY, 0),
    "orbit_clockwise": _circled(SWAY, SWAY),
    "bob": _circled(0, SWAY),
    "orbit_anticlockwise": _circled(SWAY, -SWAY),
}


def motions(num_classes: int) -> tuple[str, ...]:
    """Return the names of the motions, the most frequent first; after 12, the fast ones.

    Raises:
        UserError: there are not so many.
    """
    names = (*_MOTIONS, *(name + FAST for name in _MOTIONS))
    if not 1 <= num_classes <= len(names):
        raise UserError(f"--classes {num_classes}: there are 1 to {len(names)} motions")
    return names[:num_classes]


def draw_scene(seed: int, number: int, num_classes: int) -> Scene:
    """Return the scene of video `number`: the same whatever else is drawn.

    Motion and appearance follow Zipf's law, q_i = (1/i) / H. Motion is drawn along a golden-ratio
    sequence, so that the first n videos of any n have nearly that mix.
    """
    names = motions(num_classes)
    first = np.random.default_rng([seed, num_classes]).random()
    rng = np.random.default_rng([seed, number, num_classes])
    motion = names[_zipf_pick((first + number * GOLDEN) % 1, num_classes)]
    appearance = _zipf_pick(rng.random(), NUM_APPEARANCES)
    sound = int(rng.integers(NUM_SOUNDS))
    seconds = FAST_SECONDS if motion.endswith(FAST) else SLOW_SECONDS
    seconds *= 1 + rng.uniform(-SPEED_JITTER, SPEED_JITTER)
    start, x, y, angle, growth = rng.random(5).tolist()
    rest = (x, y, angle, growth)
    return Scene(motion, appearance, sound, start, seconds, rest, (seed, number, num_classes))


def _zipf_pick(share: float, num_classes: int) -> int:
    """Return the class at this quantile of Zipf's law."""
    ends = list(accumulate(1 / rank for rank in range(1, num_classes + 1)))
    return min(int(np.searchsorted(ends, share * ends[-1], side="right")), num_classes - 1)
