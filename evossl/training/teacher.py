"""Frozen teacher encoders that a space names, checked against the space's clips."""

from pathlib import Path

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.export.encoder_folder import MEAN, STD, EncoderConfig, load_encoder, read_config
from evossl.task import Teacher
from evossl.training.resolved_space import ResolvedSpace
from evossl.types import Stream

NEEDS_TEACHER = (
    "needs a pretrained encoder as its teacher: give the folder that `evossl export` wrote as "
    "`teacher: FOLDER` under the task, or as --teacher FOLDER"
)


def teacher_of(name: str, resolved: ResolvedSpace) -> Teacher | None:
    """Return the teacher of the task called `name` in the space, or None if it has none.

    Raises:
        UserError: the task needs a teacher and none is given; a teacher is given to a task that
            takes none; the folder holds no encoder; the teacher was trained on other clips than the
            space's.
    """
    space = resolved.space
    folder = space.tasks[name].teacher
    if not resolved.tasks[name].needs_teacher:
        if folder is not None:
            raise UserError(f"tasks.{name}.teacher: {name} takes no teacher; remove the key")
        return None
    if folder is None:
        raise UserError(f"tasks.{name}: {NEEDS_TEACHER}")
    try:
        config = read_config(Path(folder))
        _check_clips(folder, config, space)
    except UserError as error:
        raise UserError(f"tasks.{name}.teacher: {error}") from error
    return Teacher(folder, config.width)


def check_teacher(name: str, resolved: ResolvedSpace) -> None:
    """Load a task's teacher, if it has one, and check it against its own config.

    Raises:
        UserError: as `teacher_of`; damaged weights; embeddings whose width differs from the config.
    """
    teacher = teacher_of(name, resolved)
    if teacher is None:
        return
    try:
        loaded = load_encoder(teacher.folder)
    except UserError as error:
        raise UserError(f"tasks.{name}.teacher: {error}") from error
    clip = resolved.space.clip
    width = loaded.encoder.shape((Stream.RGB.channels, clip.frames, clip.size, clip.size)).width
    if width != teacher.width:
        raise UserError(
            f"tasks.{name}.teacher: {teacher.folder}: config.json says width {teacher.width}, but "
            f"its backbone returns {width}: export it again, or use another teacher"
        )


def _check_clips(folder: str, config: EncoderConfig, space: SearchSpace) -> None:
    """Refuse a teacher that was trained on another kind of clip: its features would mean nothing.

    Raises:
        UserError: names the keys of the space that differ, and the values to set.
    """
    if (config.mean, config.std) != (MEAN, STD):
        raise UserError(
            f"{folder} was trained on pixels normalised by mean {config.mean} and std {config.std};"
            f" evossl's views use {MEAN} and {STD}: use another teacher"
        )
    expected = {
        "clip.frames": (config.frames, space.clip.frames),
        "clip.size": (config.size, space.clip.size),
        "cache.fps": (config.fps, space.cache.fps),
    }
    wrong = {key: pair for key, pair in expected.items() if pair[0] != pair[1]}
    if wrong:
        given = ", ".join(f"{key} {ours:g}" for key, (_, ours) in wrong.items())
        remedy = ", ".join(f"{key} {theirs:g}" for key, (theirs, _) in wrong.items())
        raise UserError(
            f"{folder} was trained on other clips than the space's {given}: set {remedy}, "
            "or use another teacher"
        )
