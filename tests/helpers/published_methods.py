"""The published methods, each alone on RGB, and a teacher for the method that needs one."""

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


VARIANTS: dict[str, dict[str, object]] = {
    "rho_byol": {"task": "byol"},
    "rho_moco": {
        "task": "moco",
        "options": {"symmetric": True, "hidden_layers": 2, "temperature": 0.1},
    },
    "rho_simclr": {"task": "simclr", "options": {"hidden_layers": 2}},
    "rho_swav": {"task": "swav", "options": {"local_crops": 0}},
}
"""Methods that are options of another method's task; with two clips of a video each."""


def method_alone(method: str, **options: object) -> dict[str, object]:
    """Return the keys of a space with one method, with all of its terms on RGB."""
    choice = {"weight": 1.0, **VARIANTS.get(method, {})}
    choice["options"] = {**choice.get("options", {}), **options}
    return {"streams": ["rgb"], "tasks": {method: choice}}


def with_teacher(space: SearchSpace, folder: Path, width: int = 1) -> SearchSpace:
    """Return the space with a small teacher encoder for every task that needs a teacher."""
    tasks = load_catalogue()
    students = {n: c for n, c in space.tasks.items() if tasks[c.task or n].needs_teacher}
    if not students:
        return space
    small = space.model_copy(update={"backbone": Backbone(name="c3d", width=width)})
    encoder = build_encoder(Stream.RGB, small.backbone, seed=1)
    export_encoder(encoder, folder / "encoder", EncoderConfig.from_space(small, encoder))
    teacher = {"teacher": str(folder / "encoder")}
    choices = {name: choice.model_copy(update=teacher) for name, choice in students.items()}
    return space.model_copy(update={"tasks": {**space.tasks, **choices}})
