"""The pixels of a synthetic video: one textured shape on a torus before a still, textured ground.

Shapes: T frame, H height, W width, C channel.
"""

import colorsys
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evossl.video.synth_scene import CAMERA_JITTER, RADIUS, Scene

Floats = NDArray[np.float32]


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
    across = (_grid(width) - _column(centre_x) + 0.5) % 1 - 0.5
    down = (_grid(height) - _column(centre_y) + 0.5) % 1 - 0.5
    unit = _column(radius_T * short)[..., None]
    x_THW = across[:, None, :] * width / unit
    y_THW = down[:, :, None] * height / unit
    cos, sin = (_column(wave(poses.angle_T))[..., None] for wave in (np.cos, np.sin))
    u_THW, v_THW = cos * x_THW + sin * y_THW, cos * y_THW - sin * x_THW
    outline = _OUTLINES[scene.appearance % 4](u_THW, v_THW)
    cover_THW = np.clip(np.float32(0.5) - outline * unit, 0, 1)  # soft over one pixel
    light_THW = _texture(scene.appearance, u_THW, v_THW)
    ground_THW = _ground(rng, jitter_T2, size)
    return _coloured(scene.appearance, rng, cover_THW, light_THW, ground_THW)


def _grid(length: int) -> Floats:
    return np.asarray((np.arange(length) + 0.5) / length, np.float32)[None]


def _column(value_T: NDArray[np.float64]) -> Floats:
    return np.asarray(value_T, np.float32)[:, None]


def _disc(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.hypot(u, v) - 1, np.float32)


def _square(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(u), np.abs(v)) - 0.85, np.float32)


def _triangle(u: Floats, v: Floats) -> Floats:
    return np.asarray(np.maximum(np.abs(u) * 0.866 + v * 0.5, -v) - 0.6, np.float32)


def _cross(u: Floats, v: Floats) -> Floats:
    wide, high = np.abs(u), np.abs(v)
    arm = np.minimum(np.maximum(wide - 1, high - 0.4), np.maximum(high - 1, wide - 0.4))
    return np.asarray(arm, np.float32)


Outline = Callable[[Floats, Floats], Floats]
_OUTLINES: tuple[Outline, ...] = (_disc, _square, _triangle, _cross)  # negative inside


def _texture(appearance: int, u: Floats, v: Floats) -> Floats:
    """Return the shape's brightness, 0 to 1; its two halves differ, so that angles are seen."""
    fine = 2 * math.pi * 1.1
    wave = np.sin(fine * u) * np.sin(fine * v) if appearance < 4 else np.sin(fine * (u + v))
    return np.asarray(0.6 + 0.15 * wave + 0.25 * np.tanh(4 * u), np.float32)


def _ground(
    rng: np.random.Generator, jitter_T2: NDArray[np.float64], size: tuple[int, int]
) -> Floats:
    """Return the ground's brightness, (T, H, W): gratings that the camera shakes."""
    width, height = size
    angle, phase = rng.uniform(0, 2 * math.pi, 2)
    waves = rng.uniform(1.5, 4.0)
    kx, ky = 2 * math.pi * waves * math.cos(angle), 2 * math.pi * waves * math.sin(angle)
    along = kx * (_grid(width) - _column(jitter_T2[:, 0]))[:, None, :]
    across = ky * (_grid(height) - _column(jitter_T2[:, 1]))[:, :, None]
    return np.asarray(0.4 + 0.15 * np.sin(along + across + phase), np.float32)


def _coloured(
    appearance: int, rng: np.random.Generator, cover: Floats, light: Floats, ground: Floats
) -> NDArray[np.uint8]:
    hue = appearance * 0.381966 + rng.normal(0, 0.02)  # golden angle: neighbours differ
    shape_C = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.7, 0.9), 1.0), np.float32)
    back = (hue + 0.5 + rng.normal(0, 0.05)) % 1
    ground_C = np.array(colorsys.hsv_to_rgb(back, rng.uniform(0.3, 0.6), 1.0), np.float32)
    bright, dim = 255 * cover * light, 255 * (1 - cover) * ground
    frame = np.empty((*cover.shape, 3), np.uint8)
    for channel in range(3):
        frame[..., channel] = bright * shape_C[channel] + dim * ground_C[channel] + 0.5
    return frame
