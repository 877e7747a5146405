"""Search spaces from YAML files: a shipped one by its name, or a user's own by its path."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evossl.config import IGNORES_HELP, SearchSpace
from evossl.errors import UserError, unknown
from evossl.io.validation import explain
from evossl.io.yaml_file import parse_yaml

PACKAGE_FOLDER = Path(__file__).parent.parent


def load_space(source: str | Path, overrides: dict[str, Any] | None = None) -> SearchSpace:
    """Return the validated space of a shipped name ("elo") or of a YAML file.

    Args:
        source: a name that `evossl spaces` lists, or a path.
        overrides: top-level keys that replace those of the file.

    Raises:
        UserError: no such space, invalid YAML, an unknown key, or a value out of range; the
            message names the remedy.
    """
    path = _space_path(source)
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise UserError(f"--space {path}: cannot be read: {error.strerror}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: a space is a mapping of keys; `evossl spaces` lists examples")
    return parse_space(raw | (overrides or {}), str(path))


def parse_space(raw: dict[str, Any], where: str) -> SearchSpace:
    """Return the validated space; `where` names its file in error messages."""
    if raw.get("ignores") is None:
        raise UserError(f"{where}: {IGNORES_HELP}")
    try:
        return SearchSpace.model_validate(raw)
    except ValidationError as error:
        lines = explain(error, SearchSpace)
        raise UserError("\n".join(f"{where}: {line}" for line in lines)) from None


def spaces_folder() -> Path:
    """Return the folder of the shipped spaces, in an installed wheel or in the repository."""
    packaged = PACKAGE_FOLDER / "catalogue" / "search_spaces"
    return packaged if packaged.is_dir() else PACKAGE_FOLDER.parent / "search_spaces"


def shipped_spaces() -> dict[str, Path]:
    """Return the files of the shipped spaces by name ("tiny", "methods/simclr")."""
    root = spaces_folder()
    files = sorted(root.rglob("*.yaml"))
    return {file.relative_to(root).with_suffix("").as_posix(): file for file in files}


def _space_path(source: str | Path) -> Path:
    path, shipped = Path(source), shipped_spaces()
    if str(source) in shipped:
        return shipped[str(source)]
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"--space {source}: is a folder; name the YAML file in it")
    if path.suffix in (".yaml", ".yml"):
        raise UserError(f"--space {source}: no such file")
    raise UserError(f"--space: {unknown('space', str(source), shipped)}")
