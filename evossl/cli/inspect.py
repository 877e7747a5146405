"""The verbs that look: report, tasks, spaces, doctor."""

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from evossl.cli.options import json_option, num_cores
from evossl.cli.progress import bar
from evossl.io.spaces import load_space, shipped_spaces

MIN_FREE_GB = 5
GB = 1e9


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write RUN/report.html: what was searched, what was found, and why to believe it.

    Example: evossl report run
    """
    from evossl.report import write_report

    with bar("writing the report") as advance:
        written = write_report(run, advance)
    click.echo(written)


@click.command()
@click.option("--tasks", "folder", type=click.Path(path_type=Path), help="Tasks of your own too.")
@json_option
def tasks(folder: Path | None, as_json: bool) -> None:
    """List the tasks: what each asks, and where it stands.

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
        click.echo(f"    on {', '.join(row['places'])}")


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


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine: what evossl needs, what it has, what would help.

    Example: evossl doctor
    """
    checks = list(_checks())
    if as_json:
        rows = [{"ok": ok, "what": what, "note": note} for ok, what, note in checks]
        click.echo(json.dumps({"checks": rows}))
    else:
        for ok, what, note in checks:
            mark = click.style("ok  ", fg="green") if ok else click.style("look", fg="yellow")
            click.echo(f"{mark} {what}: {note}")
    if not all(ok for ok, what, _ in checks if what in ("Python", "decoder")):
        sys.exit(1)


def _checks() -> Iterator[tuple[bool, str, str]]:
    import torch

    from evossl.data.cache.clip_cache import default_cache_folder
    from evossl.data.decode.decoder import default_decoder

    version = ".".join(map(str, sys.version_info[:3]))
    yield (3, 11) <= sys.version_info[:2] <= (3, 13), "Python", version
    yield True, "torch", torch.__version__
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: trials run on CPU"
    yield torch.cuda.is_available(), "GPU", gpu
    yield True, "decoder", default_decoder().name
    for name, use in (("ray", "search"), ("optuna", "search"), ("onnxscript", "export --onnx")):
        found = importlib.util.find_spec(name) is not None
        yield found, name, "installed" if found else f"not installed: needed for {use}"
    folder = default_cache_folder()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free / GB
    yield free > MIN_FREE_GB, "clip cache", f"{folder}: {free:.0f} GB free"
    yield True, "cores", str(num_cores())
