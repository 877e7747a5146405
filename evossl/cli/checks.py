"""Preflight checks: what is sure to fail is refused before a video is read or a file written."""

import os
from pathlib import Path

import torch

from evossl.config import Resources, SearchSpace
from evossl.errors import UserError, unknown
from evossl.experiment.preflight import preflight
from evossl.experiment.racing import round_sizes
from evossl.experiment.terms import check_every_term_can_be_active, search_genotype
from evossl.fitness.score import check_fitness
from evossl.models.encoder import BACKBONES
from evossl.training.resolved_space import ResolvedSpace, resolve_space
from evossl.training.teacher import check_teacher


def check_space(
    space: SearchSpace,
    tasks_folder: Path | None,
    where: str,
    device: torch.device | None = None,
) -> ResolvedSpace:
    """Return the space with its tasks and terms; refuse a space that cannot be trained.

    Args:
        space: the validated search space.
        tasks_folder: a folder of the user's own tasks, or None.
        where: the space's name or file, which begins every message.
        device: where a trial will run, or None if that is another machine, whose memory is unknown.

    Raises:
        UserError: an unknown task, place, option, backbone or fitness; weights that are all zero; a
            stretch that is too short for a task; a missing or unfit teacher; too little memory; a
            gene with an extreme value at which one of these happens.
    """
    try:
        resolved = resolve_space(space, tasks_folder)
        _check_resolved(resolved)
        preflight(resolved, device)
        _check_genes(resolved, device)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return resolved


def _check_resolved(resolved: ResolvedSpace) -> None:
    space = resolved.space
    if space.backbone.name not in BACKBONES:
        raise UserError(f"backbone.name: {unknown('backbone', space.backbone.name, BACKBONES)}")
    if not space.ignores:
        raise UserError("ignores: []: two views of a clip would be equal; name at least one word")
    check_fitness(space.fitness)
    for name in space.tasks:
        check_teacher(name, resolved)
    check_every_term_can_be_active(resolved)


def check_search(resolved: ResolvedSpace, where: str) -> None:
    """Refuse a search whose sampler has a population that cannot work.

    Raises:
        UserError: names the key and the remedy.
    """
    from evossl.search.samplers import check_sampler  # optuna is not needed by other verbs

    space = resolved.space
    num_new = space.budget.trials - sum(round_sizes(space.budget.max_reruns))
    try:
        check_sampler(space.sampler, search_genotype(resolved), num_new)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _check_genes(resolved: ResolvedSpace, device: torch.device | None) -> None:
    """Refuse a gene with an extreme value at which the first step of a trial would fail.

    Each gene is tried alone: the others have their defaults.
    """
    for name, gene in resolved.genes.items():
        for value in gene.extremes:
            try:
                trial = resolved.with_genes({name: value})
                check_every_term_can_be_active(trial)
                if trial.space.tasks != resolved.space.tasks:  # others change no view and no head
                    preflight(trial, device)
            except UserError as error:
                raise UserError(f"{name}: at {value}: {error}") from error


def check_resources(resources: Resources, where: str) -> None:
    """Refuse a trial that needs more CPUs or GPUs than this machine has.

    Raises:
        UserError: names the key and the remedies.
    """
    available = {"cpus": os.cpu_count() or 1, "gpus": torch.cuda.device_count()}
    for key, number in available.items():
        needed = getattr(resources, key)
        if needed > number:
            raise UserError(
                f"{where}: resources.{key}: a trial needs {needed:g}, this machine has {number}; "
                "give --address of a Ray cluster, or lower it in a copy of the space "
                "(`--space tiny` runs on a CPU)"
            )


def check_out_folder(out: Path) -> None:
    """Refuse an `--out` that cannot become a folder.

    Raises:
        UserError: `out` or a part of its path is a file, or is not writable.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; give a folder")
    _check_writable(out, out)


def check_out_file(out: Path) -> None:
    """Refuse an `--out` that cannot become a file, before hours of work for it.

    Raises:
        UserError: `out` is a folder, a part of its path is a file, or it is not writable.
    """
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; name a file in it, {out / 'manifest.parquet'}")
    _check_writable(out.parent, out)


def _check_writable(folder: Path, out: Path) -> None:
    parents = (folder, *folder.absolute().parents)
    # `lexists`: below a file, `Path.exists` raises on some systems
    existing = next(parent for parent in parents if os.path.lexists(parent))
    if not existing.is_dir():
        raise UserError(f"--out {out}: {existing} is a file, not a folder; choose another path")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"--out {out}: {existing} is not writable; choose another path")
