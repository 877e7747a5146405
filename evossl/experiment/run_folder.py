"""The run folder: where everything of a run lies, and `run.yaml`, which says what it is.

run.yaml  manifest.parquet  study.journal  trials.parquet  trials/<n>/  winner/  report.html
"""

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
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

FREE = ("budget", "resources")  # keys of a space that a resume may change, steps excepted
REMEDY = "Bring the file back from a copy, or begin anew with another --out"
PACKAGES = ("torch", "torchvision", "torchaudio", "pytorchvideo", "ray", "optuna", "cmaes", "numpy")


@dataclass(frozen=True)
class RunInfo:
    """What `run.yaml` holds: enough to run it again.

    Attributes:
        space: resolved, as plain data. seed: of everything. data: as given. command: as typed.
        cache: folder of the clip cache. tasks_folder: a user's own tasks, or None.
        device: as asked for, or None. scales: gradient scale of every term, once measured.
        created: UTC, ISO 8601. versions: of Python, evossl, its libraries. git: hash, or None.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    space: dict[str, Any]
    seed: int
    data: str
    command: str
    cache: str
    tasks_folder: str | None = None
    device: str | None = None
    scales: dict[str, float] = field(default_factory=dict)
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    git: str | None = None

    def parsed_space(self) -> SearchSpace:
        """Return the space as a model."""
        return parse_space(self.space, "run.yaml")

    def with_scales(self, scales: dict[str, float]) -> "RunInfo":
        """Return the same run, scales measured."""
        return replace(self, scales=scales)


def stamp(info: RunInfo) -> RunInfo:
    """Return `info` with the time, the versions and the git hash of now."""
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
    """Return what `run.yaml` says.

    Raises:
        UserError: not a run folder; a `run.yaml` that is damaged or of another version.
    """
    path = folder / "run.yaml"
    if not path.is_file():
        raise UserError(f"{folder}: not a run folder: it has no run.yaml")
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is damaged: not YAML. {REMEDY}") from error
    try:
        return TypeAdapter(RunInfo).validate_python(raw)
    except ValidationError as error:
        faults = "; ".join(map(_fault, error.errors()))
        raise UserError(f"{path}: is damaged, or of another version: {faults}. {REMEDY}") from None


def _fault(problem: Any) -> str:
    """One of pydantic's errors, in words of this house."""
    key = ".".join(map(str, problem["loc"]))
    if not key:
        return "it holds no keys"
    if problem["type"] == "unexpected_keyword_argument":
        return unknown("key", key, [field.name for field in fields(RunInfo)])
    return f"{key} {'is missing' if problem['type'] == 'missing' else 'is of the wrong kind'}"


def open_run(folder: Path, info: RunInfo, resume: bool) -> RunInfo:
    """Begin a run in `folder`, or take up the one that is there.

    Returns:
        The run's info: with `resume`, the stored one, command and versions as they were; budget,
        resources, device and cache, which change no result, as given now.

    Raises:
        UserError: the folder holds something and `resume` is not given; the stored run has another
            space, seed or data (says what differs; nothing is touched).
    """
    if not (folder / "run.yaml").is_file():
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--out {folder}: is a file; give a new folder")
        if folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
            raise UserError(f"--out {folder}: holds other files ({others[0]}); give a new folder")
        info = stamp(info)
        write_run(folder, info)
        return info
    if not resume:
        raise UserError(f"--out {folder}: a run is there already; add --resume to go on with it")
    stored = check_same_run(folder, info)
    free = {key: info.space[key] for key in FREE}
    now = replace(stored, space=stored.space | free, device=info.device, cache=info.cache)
    if now != stored:
        write_run(folder, now)
    return now


def check_same_run(folder: Path, info: RunInfo) -> RunInfo:
    """Return the run in `folder`, which must be the one described.

    Raises:
        UserError: another space, seed or data; says what differs.
    """
    stored = read_run(folder)
    if differences := _differences(stored, info):
        listing = "\n  ".join(differences)
        raise UserError(
            f"--resume {folder}: this is another run than the one there; nothing was touched:\n"
            f"  {listing}\nGive the same again, or a new --out."
        )
    return stored


@contextmanager
def removed_if_refused(folder: Path, resume: bool = False) -> Iterator[None]:
    """Give up the claim of a run that ends before it began: nothing measured or trained.

    Otherwise the same line, its cause mended, would be told that a run is there already. A run that
    was there before (`resume`) stays: another process may be at it.
    """
    try:
        yield
    except (UserError, RunError):
        has_begun = read_run(folder).scales or (folder / "study.journal").exists()
        if not resume and not has_begun:
            for name in ("run.yaml", "manifest.parquet"):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # holds something of its own: it stays
                folder.rmdir()
        raise


def _differences(stored: RunInfo, given: RunInfo) -> list[str]:
    """What a resume changes that it must not; the budget may grow."""
    rows = []
    for name in ("seed", "tasks_folder"):
        old, new = getattr(stored, name), getattr(given, name)
        if old != new:
            rows.append(f"{name}: {old} there, {new} given")
    if _real(stored.data) != _real(given.data):
        rows.append(
            f"data: {stored.data} there, {given.data} given; if the videos have moved, put a link "
            "where they were"
        )
    there, here = (info.parsed_space().model_dump(mode="json") for info in (stored, given))
    rows += [
        f"space.{key}: {there[key]} there, {here[key]} given"
        for key in sorted(there.keys() - set(FREE))
        if there[key] != here[key]
    ]
    old_steps, new_steps = there["budget"]["steps"], here["budget"]["steps"]
    if old_steps != new_steps:
        rows.append(f"steps: {old_steps} there, {new_steps} given")
    return rows


def _real(source: str) -> Path:
    """One name of a source, however it was typed: relative, by a link, with a slash at its end."""
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
    """The commit of an evossl that runs from a checkout."""
    where = Path(__file__).parent
    asked = ["git", "-C", str(where), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
