"""What can be known to fail before a video is touched: refused with the remedy, nothing written."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from evossl.cli.progress import say
from evossl.config import Resources, SearchSpace
from evossl.data.index.sources import scan
from evossl.errors import UserError, unknown
from evossl.experiment.preflight import preflight
from evossl.experiment.terms import active_weights, check_all_can_be_on, resolve_terms, space_tasks
from evossl.fitness.score import check_fitness
from evossl.models.encoder import BACKBONES
from evossl.task import Task, Term
from evossl.task_loader import load_catalogue
from evossl.training.teacher import check_teacher


def check_space(
    space: SearchSpace,
    tasks_folder: Path | None,
    where: str,
    device: torch.device | None = None,
) -> tuple[Term, ...]:
    """Return the space's terms; refuse a space that cannot be trained.

    Args:
        space: read.
        tasks_folder: a user's own tasks.
        where: the space's name or file, for the messages.
        device: where a trial runs; None if that is another machine: its memory is not known here.

    Raises:
        UserError: an unknown task, place, option, backbone or fitness; weights that are all zero; a
            stretch that is too short for a task, by name; a teacher that is missing or unfit; more
            memory than there is.
    """
    catalogue = load_catalogue(tasks_folder)
    try:
        return _checked_terms(space, space_tasks(space, catalogue), device)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _checked_terms(
    space: SearchSpace, tasks: Mapping[str, type[Task]], device: torch.device | None
) -> tuple[Term, ...]:
    if space.backbone.name not in BACKBONES:
        raise UserError(f"backbone.name: {unknown('backbone', space.backbone.name, BACKBONES)}")
    if not space.ignores:
        raise UserError("ignores: []: two views of a clip would be equal; name at least one word")
    check_fitness(space.fitness)
    terms = resolve_terms(space, tasks)
    for name in space.tasks:
        check_teacher(name, tasks[name], space)
    check_all_can_be_on(terms, space, tasks)
    preflight(space, terms, tasks, device)
    return terms


def check_given_weights(
    file: Path,
    weights: Mapping[str, float],
    space: SearchSpace,
    terms: Sequence[Term],
    tasks: Path | None,
) -> None:
    """Refuse loss weights of a file that leave nothing to train.

    Raises:
        UserError: unknown, missing, outside [0, 1], all zero or all pruned.
    """
    try:
        known = space_tasks(space, load_catalogue(tasks))
        active_weights(terms, weights, known, space.training.prune_below)
    except UserError as error:
        raise UserError(f"--weights {file}: {error}") from error


def check_resources(resources: Resources, where: str) -> None:
    """Refuse a trial's share of this machine that it does not have, before anything is decoded.

    Raises:
        UserError: more CPUs or GPUs than there are; says how to do without.
    """
    there = {"cpus": os.cpu_count() or 1, "gpus": torch.cuda.device_count()}
    for key, number in there.items():
        wanted = getattr(resources, key)
        if wanted > number:
            raise UserError(
                f"{where}: resources.{key}: {wanted:g} for a trial, this machine has {number}: "
                "give --address of a cluster, or lower it in a copy of the space; "
                "`--space tiny` is one for a CPU"
            )


def finds_run(out: Path) -> bool:
    """Whether `--resume` has a run to go on with; said where not: the name may be mistyped."""
    there = (out / "run.yaml").is_file()
    if not there:
        say(f"--resume: no run in {out} yet: beginning one")
    return there


def check_source(source: str) -> None:
    """Refuse a source that names no video, before a folder is claimed for it.

    Raises:
        UserError: nothing there, no video among what is there, a manifest without `path`.
    """
    scan(source)


def check_out_folder(out: Path) -> None:
    """Refuse an `--out` that cannot become a folder.

    Raises:
        UserError: it is a file, stands under one, or may not be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; give a folder")
    _check_writable(out, out)


def check_out_file(out: Path) -> None:
    """Refuse an `--out` that cannot become a file, before hours of work for it.

    Raises:
        UserError: it is a folder, stands under a file, or may not be written.
    """
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file in it, {out / 'manifest.parquet'}")
    _check_writable(out.parent, out)


def _check_writable(folder: Path, out: Path) -> None:
    there = next(parent for parent in (folder, *folder.absolute().parents) if _is_there(parent))
    if not there.is_dir():
        raise UserError(f"--out {out}: {there} is a file, not a folder; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: {there} may not be written; give another place")


def _is_there(path: Path) -> bool:
    """As `Path.exists`, which raises below a file on some systems."""
    return os.path.lexists(path)
