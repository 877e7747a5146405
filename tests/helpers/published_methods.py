"""The published methods, each by itself on RGB, and a teacher for the one that asks for it."""

from pathlib import Path

from evossl.config import Backbone, SearchSpace
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.io.spaces import shipped_spaces
from evossl.models.encoder import build_encoder
from evossl.task_loader import load_catalogue
from evossl.types import Stream

METHODS = sorted(
    name.removeprefix("methods/") for name in shipped_spaces() if name.startswith("methods/")
)


def alone_on_rgb(method: str, **options: object) -> dict[str, object]:
    """Keys of a space of one method, with all of its terms on RGB."""
    return {"streams": ["rgb"], "tasks": {method: {"weight": 1.0, "options": options}}}


def taught(space: SearchSpace, folder: Path, width: int = 1) -> SearchSpace:
    """The space, with a small encoder that saw its clips for every task that asks for a teacher."""
    tasks = load_catalogue()
    pupils = {name: choice for name, choice in space.tasks.items() if tasks[name].needs_teacher}
    if not pupils:
        return space
    small = space.model_copy(update={"backbone": Backbone(name="c3d", width=width)})
    encoder = build_encoder(Stream.RGB, small.backbone, seed=1)
    export_encoder(encoder, folder / "encoder", EncoderConfig.of(small, encoder))
    teacher = {"teacher": str(folder / "encoder")}
    given = {name: choice.model_copy(update=teacher) for name, choice in pupils.items()}
    return space.model_copy(update={"tasks": {**space.tasks, **given}})
