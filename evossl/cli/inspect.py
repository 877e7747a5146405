"""The verbs that only look: `report`, `tasks`, `spaces` and `doctor`."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from evossl.cli.options import PATH, json_option, num_cores
from evossl.cli.progress import progress_bar
from evossl.io.spaces import load_space, shipped_spaces

MIN_FREE_GB = 5
GB = 1e9
MIN_PYTHON, MAX_PYTHON = (3, 11), (3, 13)
OPTIONAL_PACKAGES = {"ray": "search", "optuna": "search", "onnxscript": "export --onnx"}


@click.command()
@click.argument("run", type=PATH)
def report(run: Path) -> None:
    """Write RUN/report.html, the report of a run.

    It says what was searched, what was found, and how far to trust it.

    Example: evossl report run
    """
    click.echo(write_report_with_progress(run))


def write_report_with_progress(run: Path) -> Path:
    """Return the path of the run's report; shows progress, as contact sheets may need decoding."""
    from evossl.report import write_report

    with progress_bar("writing the report") as progress:
        return write_report(run, progress)


@click.command()
@click.option("--tasks", "folder", type=PATH, metavar="DIR", help="Folder of your own tasks.")
@json_option
def tasks(folder: Path | None, as_json: bool) -> None:
    """List the tasks and the streams they support.

    Example: evossl tasks --tasks my_tasks
    """
    from evossl.task_loader import load_catalogue

    rows = []
    for name, task in load_catalogue(folder).items():
        module = sys.modules[task.__module__]
        line = (module.__doc__ or "").strip().splitlines()[0]
        places = [("->" if s.directed else "+").join(s.streams) for s in task.places]
        rows.append({"task": name, "about": line, "places": places, "variants": task.variants})
    if as_json:
        click.echo(json.dumps({"tasks": rows}))
        return
    for row in rows:
        click.echo(f"{click.style(str(row['task']), bold=True)}: {row['about']}")
        click.echo(f"    places: {', '.join(row['places'])}")


@click.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the search spaces that ship with evossl.

    Example: evossl spaces
    """
    rows = {name: load_space(name).about for name in shipped_spaces()}
    if as_json:
        click.echo(json.dumps({"spaces": rows}))
        return
    for name, about in rows.items():
        click.echo(f"{click.style(name, bold=True)}: {about}\n    {shipped_spaces()[name]}")


@dataclass(frozen=True)
class Check:
    """One line of `evossl doctor`; a failed `required` check means that nothing will work."""

    ok: bool
    what: str
    note: str
    required: bool = False


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check what this machine has: decoders, GPU, disk, memory.

    Example: evossl doctor
    """
    checks = list(_checks())
    if as_json:
        rows = [{key: asdict(check)[key] for key in ("ok", "what", "note")} for check in checks]
        click.echo(json.dumps({"checks": rows}))
    else:
        for check in checks:
            good, bad = click.style("ok  ", fg="green"), click.style("look", fg="yellow")
            click.echo(f"{good if check.ok else bad} {check.what}: {check.note}")
    if not all(check.ok for check in checks if check.required):
        sys.exit(1)


def _checks() -> Iterator[Check]:
    import torch

    from evossl.data.cache.clip_cache import default_cache_folder
    from evossl.data.decode.decoder import default_decoder

    version = ".".join(map(str, sys.version_info[:3]))
    supported = MIN_PYTHON <= sys.version_info[:2] <= MAX_PYTHON
    yield Check(supported, "Python", version, required=True)
    yield Check(True, "torch", torch.__version__)
    has_gpu = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if has_gpu else "none: trials run on the CPU"
    yield Check(has_gpu, "GPU", gpu)
    yield Check(True, "decoder", default_decoder().name, required=True)
    for name, verb in OPTIONAL_PACKAGES.items():
        found = importlib.util.find_spec(name) is not None
        yield Check(found, name, "installed" if found else f"not installed: needed by {verb}")
    folder = default_cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / GB
    yield Check(free > MIN_FREE_GB, "clip cache", f"{folder}: {free:.0f} GB free")
    yield Check(True, "cores", str(num_cores()))
