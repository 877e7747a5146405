"""The pixels of a synthetic video: 2 x 2 equal textured shapes on a torus before a still ground.

Shapes: T frame, H height, W width, C channel.
"""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from evossl.data.synth.scene import CAMERA_JITTER, RADIUS, Scene

Floats = NDArray[np.float32]

COPIES = 2  # shapes along each axis: a crop of a third of the frame still shows the motion
GROUND_WAVES = 1.5  # across the frame
GROUND_CONTRAST = 0.04


def render(scene: Scene, num_frames: int, fps: float, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frame_THWC, RGB.

    Args:
        scene: what happens.
        num_frames: T.
        fps: frames a second.
        size: (width, height) in pixels.
    """
    width, height = size
    rng = np.random.default_rng([*scene.noise_seed, 1])
    poses = scene.poses(np.arange(num_frames) / fps)
    jitter_T2 = rng.normal(0.0, CAMERA_JITTER, (num_frames, 2))
    short = min(size)
    radius_T = RADIUS[0] * (RADIUS[1] / RADIUS[0]) ** poses.growth_T  # of the short side
    centre_x = poses.x_T + jitter_T2[:, 0]
    centre_y = poses.y_T + jitter_T2[:, 1]
    across = _to_nearest(_grid(width) - _column(centre_x))
    down = _to_nearest(_grid(height) - _column(centre_y))
    unit = _column(radius_T * short)[..., None]
    x_THW = across[:, None, :] * width / unit
    y_THW = down[:, :, None] * height / unit
    cos, sin = (_column(wave(poses.angle_T))[..., None] for wave in (np.cos, np.sin))
    u_THW, v_THW = cos * x_THW + sin * y_THW, cos * y_THW - sin * x_THW
    cover_THW = np.clip(np.float32(0.5) - _square(u_THW, v_THW) * unit, 0, 1)  # soft over one pixel
    light_THW = _texture(scene.appearance, u_THW, v_THW)
    ground_THW = _ground(rng, jitter_T2, size)
    return _coloured(scene.appearance, rng, cover_THW, light_THW, ground_THW)


def _grid(length: int) -> Floats:
    return np.asarray((np.arange(length) + 0.5) / length, np.float32)[None]


def _to_nearest(offset: Floats) -> Floats:
    """Offset from the nearest of the `COPIES` shapes along an axis, all moving as one."""
    return np.asarray(((offset * COPIES + 0.5) % 1 - 0.5) / COPIES, np.float32)


def _column(value_T: NDArray[np.float64]) -> Floats:
    return np.asarray(value_T, np.float32)[:, None]


def _square(u: Floats, v: Floats) -> Floats:
    """The shape's outline, negative inside: the same in every video, see `_coloured`."""
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.85, np.float32)


def _texture(appearance: int, u: Floats, v: Floats) -> Floats:
    """Return the shape's brightness, 0 to 1; its two halves differ, so that angles are seen."""
    fine = 2 * math.pi * 1.1
    wave = np.sin(fine * u) * np.sin(fine * v) if appearance < 4 else np.sin(fine * (u + v))
    return np.asarray(0.6 + 0.15 * wave + 0.25 * np.tanh(4 * u), np.float32)


def _ground(
    rng: np.random.Generator, jitter_T2: NDArray[np.float64], size: tuple[int, int]
) -> Floats:
    """Return the ground's brightness, (T, H, W): a faint grating that the camera shakes.

    Faint, and the same but for its phase: a ground of its own would tell a video from all others
    whatever its colours, and contrast between clips would learn the ground and nothing else.
    """
    width, height = size
    phase = rng.uniform(0, 2 * math.pi)
    kx = ky = 2 * math.pi * GROUND_WAVES
    along = kx * (_grid(width) - _column(jitter_T2[:, 0]))[:, None, :]
    across = ky * (_grid(height) - _column(jitter_T2[:, 1]))[:, :, None]
    return np.asarray(0.4 + GROUND_CONTRAST * np.sin(along + across + phase), np.float32)


def _coloured(
    appearance: int, rng: np.random.Generator, cover: Floats, light: Floats, ground: Floats
) -> NDArray[np.uint8]:
    """Return the frames in the colours of the appearance.

    Appearance is colour (and a fine texture), so that an encoder that ignores colour cannot tell
    appearances apart, and one that does not can.
    """
    hue = appearance * 0.381966 + rng.normal(0, 0.02)  # golden angle: neighbours differ
    shape_C = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 0.9), 1.0), np.float32)
    back = (hue + 0.5 + rng.normal(0, 0.05)) % 1
    ground_C = np.array(colorsys.hsv_to_rgb(back, rng.uniform(0.3, 0.6), 1.0), np.float32)
    bright, dim = 255 * cover * light, 255 * (1 - cover) * ground
    frame = np.empty((*cover.shape, 3), np.uint8)
    for channel in range(3):
        frame[..., channel] = bright * shape_C[channel] + dim * ground_C[channel] + 0.5
    return frame
