"""The run folder, and `run.yaml`, which describes the run.

run.yaml  manifest.parquet  study.journal  trials.parquet  trials/<n>/  reruns/  winner/
equal_weights/  verdict.json  report.html
"""

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from evossl._version import __version__
from evossl.config import SearchSpace
from evossl.errors import RunError, UserError, unknown
from evossl.io.files import write_text
from evossl.io.spaces import parse_space
from evossl.io.yaml_file import dump_yaml, parse_yaml

CHANGEABLE_KEYS = ("budget", "resources")  # of a space, by a resume; budget.steps and passes aside
VERDICT_FILE = "verdict.json"
REMEDY = "Restore the file from a copy, or start a new run with another --out"
PACKAGES = ("torch", "torchvision", "torchaudio", "pytorchvideo", "ray", "optuna", "cmaes", "numpy")


@dataclass(frozen=True)
class RunInfo:
    """The content of `run.yaml`: everything that is needed to run it again.

    Attributes:
        space: the search space as plain data, with all defaults.
        seed: of everything random.
        data: the source of the videos, as given.
        command: the command line, as typed.
        cache: folder of the clip cache.
        tasks_folder: a folder of the user's own tasks, or None.
        device: as given, or None.
        gradient_scales: the gradient scale of every term; empty until measured.
        created: UTC, ISO 8601.
        versions: of Python, evossl and its libraries.
        git: commit hash, or None.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    space: dict[str, Any]
    seed: int
    data: str
    command: str
    cache: str
    tasks_folder: str | None = None
    device: str | None = None
    gradient_scales: dict[str, float] = field(default_factory=dict)
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    git: str | None = None

    @cached_property
    def parsed_space(self) -> SearchSpace:
        """The search space as a model.

        Raises:
            UserError: it is not valid.
        """
        return parse_space(self.space, "run.yaml")

    def with_gradient_scales(self, scales: dict[str, float]) -> "RunInfo":
        """Return the same run after its gradient scales have been measured."""
        return replace(self, gradient_scales=scales)


def stamp(info: RunInfo) -> RunInfo:
    """Return `info` with the current time, the installed versions and the git commit."""
    return replace(
        info,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
        git=_git_hash(),
    )


def write_run(folder: Path, info: RunInfo) -> None:
    """Write `run.yaml`, atomically.

    Raises:
        RunError: the disk is full.
    """
    write_text(folder / "run.yaml", dump_yaml(asdict(info)))


def read_run(folder: Path) -> RunInfo:
    """Return the content of `run.yaml`.

    Raises:
        UserError: not a run folder; a `run.yaml` that is damaged or of another version.
    """
    path = folder / "run.yaml"
    if not path.is_file():
        raise UserError(f"{folder}: not a run folder: there is no run.yaml in it")
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged, not YAML. {REMEDY}") from error
    try:
        return TypeAdapter(RunInfo).validate_python(raw)
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise UserError(
            f"{path}: damaged, or of another version of evossl: {faults}. {REMEDY}"
        ) from None


def _fault(problem: Any) -> str:
    """Describe one of pydantic's errors in a few words."""
    key = ".".join(map(str, problem["loc"]))
    if not key:
        return "it has no keys"
    if problem["type"] == "unexpected_keyword_argument":
        return unknown("key", key, [field.name for field in fields(RunInfo)])
    return f"{key} {'is missing' if problem['type'] == 'missing' else 'has the wrong type'}"


def open_run(folder: Path, info: RunInfo, resume: bool) -> RunInfo:
    """Start a run in `folder`, or with `resume` continue the one in it.

    Returns:
        The run's info. With `resume` it is the stored one, except for budget, resources, device and
        cache: these change no result, and are taken from `info`.

    Raises:
        UserError: the folder holds other files; it holds a run and `resume` is false; it holds a
            run with another space, seed or data (the message lists the differences, and nothing is
            changed).
    """
    if not (folder / "run.yaml").is_file():
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--out {folder}: this is a file; give a new folder")
        if folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
            raise UserError(f"--out {folder}: holds other files ({others[0]}); give a new folder")
        info = stamp(info)
        write_run(folder, info)
        return info
    if not resume:
        raise UserError(f"--out {folder}: there is a run already; add --resume to continue it")
    stored = check_same_run(folder, info)
    changed = {key: info.space[key] for key in CHANGEABLE_KEYS}
    now = replace(stored, space=stored.space | changed, device=info.device, cache=info.cache)
    if now != stored:
        write_run(folder, now)
    return now


def check_same_run(folder: Path, info: RunInfo) -> RunInfo:
    """Return the run in `folder`, which must be the one that `info` describes.

    Raises:
        UserError: another space, seed or data; lists the differences.
    """
    stored = read_run(folder)
    if differences := _differences(stored, info):
        listing = "\n  ".join(differences)
        raise UserError(
            f"--resume {folder}: this is not the run in the folder; nothing was changed:\n"
            f"  {listing}\nRepeat the original command, or give a new --out."
        )
    return stored


@contextmanager
def removed_if_refused(folder: Path, resume: bool = False) -> Iterator[None]:
    """Delete the run's files if it fails before any work is done, so the command can be retried.

    A run that existed before (`resume`) is never deleted: another process may be using it.
    """
    try:
        yield
    except (UserError, RunError):
        has_begun = read_run(folder).gradient_scales or (folder / "study.journal").exists()
        if not resume and not has_begun:
            for name in ("run.yaml", "manifest.parquet"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files, so it stays
                folder.rmdir()
        raise


def _differences(stored: RunInfo, given: RunInfo) -> list[str]:
    """List what a resume would change and must not; only the budget may grow."""
    lines = []
    for name in ("seed", "tasks_folder"):
        old, new = getattr(stored, name), getattr(given, name)
        if old != new:
            lines.append(f"{name}: {old} in the folder, {new} given")
    if _resolved_source(stored.data) != _resolved_source(given.data):
        lines.append(
            f"data: {stored.data} in the folder, {given.data} given; if the videos have moved, put "
            "a link at their old place"
        )
    old_space, new_space = (info.parsed_space.model_dump(mode="json") for info in (stored, given))
    lines += [
        f"space.{key}: {old_space[key]} in the folder, {new_space[key]} given"
        for key in sorted(old_space.keys() - set(CHANGEABLE_KEYS))
        if old_space[key] != new_space[key]
    ]
    for key in ("steps", "passes"):
        old, new = old_space["budget"][key], new_space["budget"][key]
        if old != new:
            lines.append(f"{key}: {old} in the folder, {new} given")
    return lines


def _resolved_source(source: str) -> Path:
    """Return one path for a source, however it was typed: relative, a link, a trailing slash."""
    return Path(source).expanduser().resolve()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "evossl": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_hash() -> str | None:
    """Return the commit, if evossl runs from a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
