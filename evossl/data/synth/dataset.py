"""Synthetic videos: real files whose classes only motion tells apart, with every factor known.

Three independent factors: motion (the class, Zipf), appearance (texture and colours of shapes
and ground, Zipf) and sound (timbre, uniform); beats sound in step with the motion's phase.
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from evossl.data.synth.render import render
from evossl.data.synth.scene import draw_scene, motions
from evossl.data.synth.sound import sing
from evossl.data.synth.writer import write_mp4
from evossl.errors import UserError
from evossl.io.parquet import write_parquet

LABELS = "labels.parquet"


def synthesise(
    folder: Path,
    num_videos: int,
    num_classes: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    size: tuple[int, int] = (64, 64),
    fps: int = 12,
    seconds: float = 2.0,
) -> Path:
    """Write H.264 + AAC videos as `folder/<motion>/<number>.mp4`, and `folder/labels.parquet`.

    Video `number` depends on nothing but (seed, number, num_classes, size, fps, seconds).

    Args:
        folder: new or empty.
        num_videos: how many.
        num_classes: motions, 1 to 24, in Zipf shares.
        seed: of everything.
        progress: told (done, total).
        size: (width, height) in pixels, even.
        fps: frames a second.
        seconds: length of each video.

    Returns:
        The labels: `path` (relative to the folder), `label` and `motion` (the same), `appearance`,
        `sound`, `group` (each video its own).

    Raises:
        UserError: a number that makes no sense, or the folder has something in it.
        RunError: the disk is full or the folder cannot be written.
    """
    if num_videos < 1:
        raise UserError(f"--videos {num_videos}: at least 1")
    if min(size) < 16 or size[0] % 2 or size[1] % 2:
        raise UserError(f"size {size}: width and height must be even and at least 16")
    if fps < 1 or seconds * fps < 1:
        raise UserError(f"{seconds} s at {fps} frames a second hold no frame")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: name a new folder, or remove it")
    motions(num_classes)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(num_videos):
        rows.append(write_video(folder, number, num_classes, seed, size, fps, seconds))
        if progress:
            progress(number + 1, num_videos)
    write_parquet(folder / LABELS, pa.Table.from_pylist(rows))
    return folder / LABELS


def write_video(
    folder: Path,
    number: int,
    num_classes: int,
    seed: int,
    size: tuple[int, int],
    fps: int,
    seconds: float,
) -> dict[str, str]:
    """Write one video of `synthesise` and return its row of the labels."""
    scene = draw_scene(seed, number, num_classes)
    name = f"{number:06d}"
    path = folder / scene.motion / f"{name}.mp4"
    num_frames = round(seconds * fps)
    write_mp4(path, render(scene, num_frames, fps, size), fps, sing(scene, num_frames / fps))
    return {
        "path": path.relative_to(folder).as_posix(),
        "label": scene.motion,
        "motion": scene.motion,
        "appearance": f"appearance{scene.appearance}",
        "sound": f"sound{scene.sound}",
        "group": name,
    }
