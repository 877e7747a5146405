"""Pairs of images with known optical flow: sums of sinusoids, evaluated at moved positions."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Motion = Callable[[Array, Array], tuple[Array, Array]]


def texture(seed: int, waves: int = 60) -> Callable[[Array, Array], Array]:
    """Return a texture in [0, 1] as a function of position.

    Its waves have lengths of 5 to 40 pixels and amplitudes proportional to their lengths.
    """
    rng = np.random.default_rng(seed)
    length = np.exp(rng.uniform(np.log(5), np.log(40), waves))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, waves))
    kx, ky = 2 * np.pi * np.cos(angle) / length, 2 * np.pi * np.sin(angle) / length

    def at(x: Array, y: Array) -> Array:
        total = sum(
            a * np.sin(u * x + v * y + p) for a, u, v, p in zip(length, kx, ky, phase, strict=True)
        )
        return np.asarray(np.clip(0.5 + total / (4 * np.sqrt((length**2).sum() / 2)), 0, 1))

    return at


def translation(dx: float, dy: float) -> Motion:
    """Return the motion by (dx, dy) pixels everywhere."""
    return lambda x, y: (np.full_like(x, dx), np.full_like(y, dy))


def rotation(degrees: float, size: int) -> Motion:
    """Return the rotation about the centre of an image of side `size`."""
    c, s, m = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), (size - 1) / 2
    return lambda x, y: (
        c * (x - m) - s * (y - m) + m - x,
        s * (x - m) + c * (y - m) + m - y,
    )


def zoom(factor: float, size: int) -> Motion:
    """Return the enlargement about the centre of an image of side `size`."""
    m = (size - 1) / 2
    return lambda x, y: ((factor - 1) * (x - m), (factor - 1) * (y - m))


def image_pair(seed: int, motion: Motion, size: int) -> tuple[Array, Array, Array]:
    """Return two images and the flow (2, H, W) between them: second(x + flow(x)) = first(x)."""
    at = texture(seed)
    y, x = np.mgrid[:size, :size].astype(float)
    flow = np.stack(motion(x, y))
    # Find the origin of each pixel of the second image: invert x + flow(x) by fixed point.
    from_x, from_y = x.copy(), y.copy()
    for _ in range(100):
        dx, dy = motion(from_x, from_y)
        from_x, from_y = x - dx, y - dy
    return at(x, y), at(from_x, from_y), flow
