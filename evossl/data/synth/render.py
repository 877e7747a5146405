"""The frames of a synthetic video: 2 x 2 equal textured shapes on a torus, on a fixed ground.

Shapes: T frame, H height, W width, C channel.
"""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from evossl.data.synth.scene import CAMERA_JITTER, RADIUS_RANGE, Scene

Floats = NDArray[np.float32]

COPIES_PER_AXIS = 2  # so that a crop of a third of the frame still shows the motion
GROUND_PERIODS = 1.5  # of the grating, across the frame
GROUND_CONTRAST = 0.04


def render_frames(
    scene: Scene, num_frames: int, fps: float, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return frame_THWC, RGB.

    Args:
        scene: the factors of the video.
        num_frames: T.
        fps: frames per second.
        size: (width, height) in pixels.
    """
    width, height = size
    rng = np.random.default_rng([*scene.noise_seed, 1])
    poses = scene.poses(np.arange(num_frames) / fps)
    jitter_T2 = rng.normal(0.0, CAMERA_JITTER, (num_frames, 2))
    short = min(size)
    radius_T = RADIUS_RANGE[0] * (RADIUS_RANGE[1] / RADIUS_RANGE[0]) ** poses.log_size_T
    centre_x = poses.x_T + jitter_T2[:, 0]
    centre_y = poses.y_T + jitter_T2[:, 1]
    across = _offset_from_nearest(_grid(width) - _column(centre_x))
    down = _offset_from_nearest(_grid(height) - _column(centre_y))
    unit = _column(radius_T * short)[..., None]
    x_THW = across[:, None, :] * width / unit
    y_THW = down[:, :, None] * height / unit
    cos, sin = (_column(wave(poses.angle_T))[..., None] for wave in (np.cos, np.sin))
    u_THW, v_THW = cos * x_THW + sin * y_THW, cos * y_THW - sin * x_THW
    mask_THW = np.clip(np.float32(0.5) - _square(u_THW, v_THW) * unit, 0, 1)  # soft over one pixel
    light_THW = _texture(scene.appearance, u_THW, v_THW)
    ground_THW = _ground(rng, jitter_T2, size)
    return _colourise(scene.appearance, rng, mask_THW, light_THW, ground_THW)


def _grid(length: int) -> Floats:
    return np.asarray((np.arange(length) + 0.5) / length, np.float32)[None]


def _offset_from_nearest(offset: Floats) -> Floats:
    """Return the offset from the nearest of the shapes along an axis, which move as one."""
    return np.asarray(((offset * COPIES_PER_AXIS + 0.5) % 1 - 0.5) / COPIES_PER_AXIS, np.float32)


def _column(value_T: NDArray[np.float64]) -> Floats:
    return np.asarray(value_T, np.float32)[:, None]


def _square(u: Floats, v: Floats) -> Floats:
    """Return the distance to the shape's outline, negative inside; all videos have this shape."""
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.85, np.float32)


def _texture(appearance: int, u: Floats, v: Floats) -> Floats:
    """Return the shape's brightness, 0 to 1; its halves differ, so that its angle is visible."""
    fine = 2 * math.pi * 1.1
    wave = np.sin(fine * u) * np.sin(fine * v) if appearance < 4 else np.sin(fine * (u + v))
    return np.asarray(0.6 + 0.15 * wave + 0.25 * np.tanh(4 * u), np.float32)


def _ground(
    rng: np.random.Generator, jitter_T2: NDArray[np.float64], size: tuple[int, int]
) -> Floats:
    """Return the ground's brightness, (T, H, W): a faint grating, shaken with the camera.

    It is faint and differs between videos only in phase. A ground that identified its video would
    solve contrastive tasks on its own, and nothing else would be learned.
    """
    width, height = size
    phase = rng.uniform(0, 2 * math.pi)
    kx = ky = 2 * math.pi * GROUND_PERIODS
    along = kx * (_grid(width) - _column(jitter_T2[:, 0]))[:, None, :]
    across = ky * (_grid(height) - _column(jitter_T2[:, 1]))[:, :, None]
    return np.asarray(0.4 + GROUND_CONTRAST * np.sin(along + across + phase), np.float32)


def _colourise(
    appearance: int, rng: np.random.Generator, mask: Floats, light: Floats, ground: Floats
) -> NDArray[np.uint8]:
    """Return the frames in the colours of the appearance.

    Appearances differ in colour (and a fine texture), so that only an encoder that does not ignore
    colour can tell them apart.
    """
    hue = appearance * 0.381966 + rng.normal(0, 0.02)  # golden angle: successive hues differ
    shape_C = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 0.9), 1.0), np.float32)
    back = (hue + 0.5 + rng.normal(0, 0.05)) % 1
    ground_C = np.array(colorsys.hsv_to_rgb(back, rng.uniform(0.3, 0.6), 1.0), np.float32)
    bright, dim = 255 * mask * light, 255 * (1 - mask) * ground
    frame = np.empty((*mask.shape, 3), np.uint8)
    for channel in range(3):
        frame[..., channel] = bright * shape_C[channel] + dim * ground_C[channel] + 0.5
    return frame
