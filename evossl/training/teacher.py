"""Teachers: frozen encoders that a space names, held against what the space would show them."""

from pathlib import Path

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.export.encoder_folder import MEAN, STD, EncoderConfig, load_encoder, read_config
from evossl.task import Task, Teacher
from evossl.types import Stream

MISSING = (
    "needs a teacher, an encoder that was trained before: give the folder that `evossl export` "
    "wrote as `teacher: FOLDER` under the task, or as --teacher FOLDER"
)


def teacher_of(name: str, task: type[Task], space: SearchSpace) -> Teacher | None:
    """Return the teacher of a task of the space; None for a task that learns from none.

    Raises:
        UserError: no teacher where one is needed, or one where none is; no encoder there; one that
            expects other clips than the space's. Names the task and the remedy.
    """
    folder = space.tasks[name].teacher
    if not task.needs_teacher:
        if folder is not None:
            raise UserError(f"tasks.{name}.teacher: {name} has no teacher; take the key out")
        return None
    if folder is None:
        raise UserError(f"tasks.{name}: {MISSING}")
    try:
        config = read_config(Path(folder))
        _check_clips(folder, config, space)
    except UserError as error:
        raise UserError(f"tasks.{name}.teacher: {error}") from error
    return Teacher(folder, config.width)


def check_teacher(name: str, task: type[Task], space: SearchSpace) -> None:
    """Load a task's teacher, if it has one, before hours are spent: is it what its config says?

    Raises:
        UserError: as `teacher_of`; damaged weights; embeddings of another width than its config's.
    """
    teacher = teacher_of(name, task, space)
    if teacher is None:
        return
    try:
        loaded = load_encoder(teacher.folder)
    except UserError as error:
        raise UserError(f"tasks.{name}.teacher: {error}") from error
    clip = Stream.RGB.channels, space.clip.frames, space.clip.size, space.clip.size
    width = loaded.encoder.shape(clip).width
    if width != teacher.width:
        raise UserError(
            f"tasks.{name}.teacher: {teacher.folder}: config.json has width {teacher.width}, its "
            f"backbone gives {width}: export it again, or take another teacher"
        )


def _check_clips(folder: str, config: EncoderConfig, space: SearchSpace) -> None:
    """Refuse a teacher that was trained on other clips: what it says of ours would be a guess."""
    if (config.mean, config.std) != (MEAN, STD):
        raise UserError(
            f"{folder} was trained on pixels normalised by {config.mean} and {config.std}, "
            f"evossl's views are by {MEAN} and {STD}: take another teacher"
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
            "or take another teacher"
        )
