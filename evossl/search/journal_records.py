"""The records that evossl writes into optuna's journal: the search's settings and its results."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from evossl import config
from evossl.errors import RunError, UserError
from evossl.genes import Choices, Gene, Range
from evossl.io.files import write_atomically
from evossl.search.completed_trials import TrialStatus
from evossl.search.genotype import Genotype
from evossl.search.journal import JOURNAL, open_storage
from evossl.search.table import TrialRow

JOURNAL_FORMAT = 2
CONTROL_PREFIX = "control"
_SETTINGS_KEY = "evossl"
OPTUNA_STATES = {
    "complete": TrialState.COMPLETE,
    "at_chance": TrialState.PRUNED,  # optuna has no such state, and shows no value for this one
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
}


@dataclass(frozen=True)
class SearchSettings:
    """What determines a search's proposals, besides its results.

    Attributes:
        genotype: the weights, which of them evolve, and what else does.
        sampler: the algorithm that proposes weights.
        seed: of the sampler.
    """

    genotype: Genotype
    sampler: config.Sampler
    seed: int


def create_journal(folder: Path, settings: SearchSettings) -> None:
    """Write a journal without trials, atomically.

    Raises:
        RunError: the folder cannot be written.
    """
    genotype = settings.genotype
    record = {
        "format": JOURNAL_FORMAT,
        "bounds": {name: list(pair) for name, pair in genotype.bounds.items()},
        "fixed": dict(genotype.fixed),
        "single_task_sets": [sorted(names) for names in genotype.single_task_sets],
        "starter": dict(genotype.starter),
        "genes": {name: asdict(gene) for name, gene in genotype.genes.items()},
        "sampler": settings.sampler.model_dump(),
        "seed": settings.seed,
    }

    def write(temporary: Path) -> None:
        storage = open_storage(temporary)
        study_id = storage.create_new_study([StudyDirection.MINIMIZE], study_name="evossl")
        storage.set_study_user_attr(study_id, _SETTINGS_KEY, record)

    write_atomically(folder / JOURNAL, write)


def read_settings(folder: Path, attributes: Mapping[str, Any]) -> SearchSettings:
    """Return a search's settings from the attributes of its optuna study.

    Raises:
        RunError: evossl did not write the journal.
        UserError: another version of evossl wrote it, in another format.
    """
    record = attributes.get(_SETTINGS_KEY)
    if record is None:
        raise RunError(f"{folder / JOURNAL}: was not written by evossl")
    if record.get("format") != JOURNAL_FORMAT:
        raise UserError(
            f"{folder / JOURNAL}: has format {record.get('format', 1)}, but this version of evossl "
            f"reads format {JOURNAL_FORMAT}; start a new search in another --out"
        )
    genotype = Genotype(
        bounds={name: (low, high) for name, (low, high) in record["bounds"].items()},
        fixed=record["fixed"],
        single_task_sets=tuple(frozenset(names) for names in record["single_task_sets"]),
        starter=record.get("starter", {}),
        genes={name: _gene(plain) for name, plain in record.get("genes", {}).items()},
    )
    return SearchSettings(
        genotype, config.Sampler.model_validate(record["sampler"]), record["seed"]
    )


def _gene(plain: Mapping[str, Any]) -> Gene:
    """Return the gene that `asdict` turned into plain data."""
    return Choices(tuple(plain["choices"])) if "choices" in plain else Range(**plain)


def read_study(folder: Path, storage: JournalStorage) -> tuple[int, dict[str, Any]]:
    """Return the id and the attributes of the journal's study.

    Raises:
        RunError: there is none.
    """
    studies = storage.get_all_studies()
    if not studies:
        raise RunError(f"{folder / JOURNAL}: holds no search; restore it from a copy")
    return studies[0]._study_id, studies[0].user_attrs


def check_same_settings(folder: Path, found: SearchSettings, given: SearchSettings) -> None:
    """Check that a search is resumed with the settings it was started with.

    Raises:
        UserError: the genotype, sampler or seed differs; the error lists the differences.
    """
    there, here = _flatten(found), _flatten(given)
    differences = [
        f"{key} is {there.get(key, 'absent')} there, {here.get(key, 'absent')} here"
        for key in sorted(there.keys() | here.keys())
        if there.get(key) != here.get(key)
    ]
    if differences:
        raise UserError(
            f"--resume {folder}: the search there has other settings: {'; '.join(differences)}. "
            "Pass the settings that it was started with, or choose another --out"
        )


def _flatten(settings: SearchSettings) -> dict[str, str]:
    """Return the settings as text, by names that a user knows."""
    genotype = settings.genotype
    weights = {f"weight {n}": f"evolved in {list(pair)}" for n, pair in genotype.bounds.items()}
    weights |= {f"weight {n}": f"fixed at {value}" for n, value in genotype.fixed.items()}
    genes = {f"gene {n}": f"{gene}, {gene.default} at first" for n, gene in genotype.genes.items()}
    single_tasks = {
        f"single-task trial {i}": ", ".join(sorted(names))
        for i, names in enumerate(genotype.single_task_sets, 1)
    }
    sampler = settings.sampler.model_dump()
    choices = {f"sampler.{key}": json.dumps(value) for key, value in sampler.items()}
    return {"seed": str(settings.seed), **choices, **weights, **genes, **single_tasks}


def result_record(
    status: TrialStatus,
    fitness: float | None,
    reason: str | None,
    seconds: float,
    indicators: Mapping[str, float],
) -> dict[str, Any]:
    """Return a trial's result as the journal stores it.

    Without a finite fitness, a complete or pruned trial becomes `failed`. Indicators that are not
    finite are left out, since JSON has no NaN.
    """
    if status in ("complete", "pruned") and (fitness is None or not math.isfinite(fitness)):
        reason = f"{status} with fitness {fitness}" + (f": {reason}" if reason else "")
        status = "failed"
    if status in ("at_chance", "failed"):
        fitness = None
    return {
        "status": status,
        "fitness": None if fitness is None else float(fitness),
        "reason": reason,
        "seconds": float(seconds),
        "indicators": {name: float(v) for name, v in indicators.items() if math.isfinite(v)},
    }


def control_row(key: str, control: Mapping[str, Any]) -> TrialRow:
    """Return the row of a control from its record and the key that it is stored under."""
    return TrialRow(trial=int(key.removeprefix(CONTROL_PREFIX)), status="control", **control)
