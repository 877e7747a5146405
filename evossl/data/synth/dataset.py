"""A synthetic data set: real video files with known factors, whose classes differ only in motion.

Three independent factors: motion (the class, Zipf), appearance (texture and colours of shapes and
ground, Zipf) and sound (timbre, uniform). Beats sound in step with the motion's phase.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evossl.data.synth.mp4_writer import write_mp4
from evossl.data.synth.render import render_frames
from evossl.data.synth.scene import Scene, motion_names, sample_scene
from evossl.data.synth.soundtrack import render_sound
from evossl.errors import UserError
from evossl.io.parquet import write_parquet
from evossl.types import Progress

LABELS = "labels.parquet"
MIN_SIDE = 16


@dataclass(frozen=True)
class VideoFormat:
    """Size, rate and length of the videos.

    Attributes:
        size: (width, height) in pixels, even.
        fps: frames per second.
        seconds: length of each video.
    """

    size: tuple[int, int] = (64, 64)
    fps: int = 12
    seconds: float = 2.0


def synthesise(
    folder: Path,
    num_videos: int,
    num_classes: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    video: VideoFormat = VideoFormat(),
) -> Path:
    """Write H.264 + AAC videos as `folder/<motion>/<number>.mp4`, and `folder/labels.parquet`.

    Video `number` depends only on (seed, number, num_classes, video).

    Args:
        folder: new or empty.
        num_videos: number of videos.
        num_classes: number of motions, 1 to 24, with Zipf frequencies.
        seed: of all random choices.
        progress: called after each video.
        video: size, rate and length of the videos.

    Returns:
        The path of the labels, a table with the columns `path` (relative to the folder), `label`
        and `motion` (the same), `appearance`, `sound` and `group` (one for each video).

    Raises:
        UserError: a number is out of range, or the folder is not empty.
        RunError: the disk is full or the folder cannot be written.
    """
    if num_videos < 1:
        raise UserError(f"--videos {num_videos}: must be at least 1")
    _check_format(video)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: name a new folder, or delete it")
    motion_names(num_classes)  # refuses a number of classes that is out of range
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(num_videos):
        scene = sample_scene(seed, number, num_classes)
        rows.append(_write_video(folder, number, scene, video))
        if progress:
            progress(number + 1, num_videos)
    write_parquet(folder / LABELS, pa.Table.from_pylist(rows))
    return folder / LABELS


def _check_format(video: VideoFormat) -> None:
    width, height = video.size
    if min(video.size) < MIN_SIDE or width % 2 or height % 2:
        raise UserError(f"size {video.size}: width and height must be even and at least {MIN_SIDE}")
    if video.fps < 1 or video.seconds * video.fps < 1:
        raise UserError(
            f"{video.seconds} s at {video.fps} frames per second have no frame; raise one of them"
        )


def _write_video(folder: Path, number: int, scene: Scene, video: VideoFormat) -> dict[str, str]:
    """Write one video and return its row of the labels."""
    name = f"{number:06d}"
    path = folder / scene.motion / f"{name}.mp4"
    num_frames = round(video.seconds * video.fps)
    frame_THWC = render_frames(scene, num_frames, video.fps, video.size)
    write_mp4(path, frame_THWC, video.fps, render_sound(scene, num_frames / video.fps))
    return {
        "path": path.relative_to(folder).as_posix(),
        "label": scene.motion,
        "motion": scene.motion,
        "appearance": f"appearance{scene.appearance}",
        "sound": f"sound{scene.sound}",
        "group": name,
    }
