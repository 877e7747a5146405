"""What the verbs `train` and `search` share: the checks, the run folder, and how to resume it."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evossl.cli.checks import check_out_folder
from evossl.cli.data import prepare_videos
from evossl.cli.options import RunOptions
from evossl.cli.progress import print_message
from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import default_cache_folder
from evossl.data.index.index import Index
from evossl.data.index.sources import scan
from evossl.experiment.run_folder import RunInfo, check_same_run, open_run, removed_if_refused


def run_info(space: SearchSpace, options: RunOptions) -> RunInfo:
    """Return what `run.yaml` will record of this command line."""
    tasks_folder = options.tasks_folder
    return RunInfo(
        space=space.model_dump(mode="json"),
        seed=options.seed,
        data=options.data,
        command=shlex.join(["evossl", *sys.argv[1:]]),
        cache=str((options.cache or default_cache_folder()).resolve()),
        tasks_folder=str(tasks_folder.resolve()) if tasks_folder else None,
        device=options.device,
    )


def check_run_folder(info: RunInfo, options: RunOptions) -> None:
    """Refuse an `--out` that cannot be written, or that `--resume` would continue as another run.

    A `--resume` without a run is no error, but is reported: `--out` may be mistyped.

    Raises:
        UserError: see `check_out_folder` and `check_same_run`.
    """
    check_out_folder(options.out)
    if not options.resume:
        return
    if has_run(options.out):
        check_same_run(options.out, info)
    else:
        print_message(f"--resume: there is no run in {options.out} yet; starting a new one")


def has_run(out: Path) -> bool:
    """Say whether a folder is a run folder."""
    return (out / "run.yaml").is_file()


@contextmanager
def opened_run(info: RunInfo, options: RunOptions) -> Iterator[RunInfo]:
    """Open the run folder `--out`; yields what `run.yaml` now says.

    Ctrl-C prints the command that resumes the run. A new run that fails before anything is measured
    leaves no files, so that the same command can be tried again.

    Raises:
        UserError: the source has no videos, the folder holds other files, or it holds a run and
            `--resume` is not given.
    """
    is_new = not has_run(options.out)
    if is_new:
        scan(info.data)  # raises if there are no videos
    info = open_run(options.out, info, options.resume)
    try:
        with removed_if_refused(options.out, resume=not is_new):
            yield info
    except KeyboardInterrupt:
        print_message(f"\nStopped. Resume with:\n  {resume_command()}")
        raise


def resume_command() -> str:
    """Return the command line that resumes this one."""
    words = [word for word in sys.argv[1:] if word != "--resume"]
    return shlex.join(["evossl", *words, "--resume"])


def prepare_run_videos(info: RunInfo, options: RunOptions) -> Index:
    """Return the index of an open run's videos, all of them in the clip cache.

    Raises:
        UserError, RunError: see `prepare_videos`.
    """
    return prepare_videos(
        info.data,
        options.out / "manifest.parquet",
        Path(info.cache),
        info.parsed_space,
        options.workers,
        has_begun=bool(info.gradient_scales),
    )
