"""What evossl writes into optuna's journal: what the search is, and what became of a trial."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.study import StudyDirection

from evossl import config
from evossl.errors import RunError, UserError
from evossl.io.files import write_atomically
from evossl.search.completed_trials import TrialStatus
from evossl.search.genotype import Genotype
from evossl.search.journal import JOURNAL, open_storage

Description = tuple[Genotype, config.Sampler, int]

_DESCRIPTION = "evossl"


def begin(folder: Path, genotype: Genotype, sampler: config.Sampler, seed: int) -> None:
    """Write a journal without trials; after a kill in the middle there is none.

    Raises:
        RunError: the folder cannot be written.
    """
    description = {
        "bounds": {name: list(pair) for name, pair in genotype.bounds.items()},
        "fixed": dict(genotype.fixed),
        "alone": [sorted(names) for names in genotype.single_task_sets],
        "sampler": sampler.model_dump(),
        "seed": seed,
    }

    def write(beside: Path) -> None:
        storage = open_storage(beside)
        study_id = storage.create_new_study([StudyDirection.MINIMIZE], study_name="evossl")
        storage.set_study_user_attr(study_id, _DESCRIPTION, description)

    write_atomically(folder / JOURNAL, write)


def describe(folder: Path, attributes: Mapping[str, Any]) -> Description:
    """Return genotype, sampler and seed from the study's attributes.

    Raises:
        RunError: the journal is not one of evossl's.
    """
    found = attributes.get(_DESCRIPTION)
    if found is None:
        raise RunError(f"{folder / JOURNAL}: not a journal that evossl began")
    bounds = {name: (low, high) for name, (low, high) in found["bounds"].items()}
    alone = tuple(frozenset(names) for names in found.get("alone", ()))
    genotype = Genotype(bounds, found["fixed"], alone)
    return genotype, config.Sampler.model_validate(found["sampler"]), found["seed"]


def only_study(folder: Path, storage: JournalStorage) -> tuple[int, dict[str, Any]]:
    """Return the id and the attributes of the journal's study.

    Raises:
        RunError: there is none.
    """
    studies = storage.get_all_studies()
    if not studies:
        raise RunError(f"{folder / JOURNAL}: holds no search; restore it from a copy")
    return studies[0]._study_id, studies[0].user_attrs


def refuse_another(folder: Path, there: Description, here: Description) -> None:
    """Refuse to resume a search as another one.

    Raises:
        UserError: genotype, sampler or seed differ; it says what.
    """
    known, asked = _flat(there), _flat(here)
    differences = [
        f"{key} is {known.get(key, 'absent')} there, {asked.get(key, 'absent')} here"
        for key in sorted(known.keys() | asked.keys())
        if known.get(key) != asked.get(key)
    ]
    if differences:
        raise UserError(
            f"--resume {folder}: another search than the one there: {'; '.join(differences)}. "
            "Give what it was started with, or choose another --out"
        )


def _flat(description: Description) -> dict[str, str]:
    genotype, sampler, seed = description
    weights = {f"weight {n}": f"evolved in {list(pair)}" for n, pair in genotype.bounds.items()}
    weights |= {f"weight {n}": f"fixed at {value}" for n, value in genotype.fixed.items()}
    weights |= {
        f"tried alone ({i})": ", ".join(sorted(n)) for i, n in enumerate(genotype.single_task_sets)
    }
    choice = {f"sampler.{key}": json.dumps(value) for key, value in sampler.model_dump().items()}
    return {"seed": str(seed), **choice, **weights}


def result(
    status: TrialStatus,
    fitness: float | None,
    reason: str | None,
    seconds: float,
    indicators: Mapping[str, float],
) -> dict[str, Any]:
    """Return a told trial as the journal holds it; without a finite fitness it is `failed`."""
    if status != "failed" and (fitness is None or not math.isfinite(fitness)):
        reason = f"{status} with fitness {fitness}" + (f": {reason}" if reason else "")
        status = "failed"
    return {
        "status": status,
        "fitness": None if status == "failed" or fitness is None else float(fitness),
        "reason": reason,
        "seconds": float(seconds),
        "indicators": finite(indicators),
    }


def finite(indicators: Mapping[str, float]) -> dict[str, float]:
    """Return the finite ones as plain floats: NaN is no JSON."""
    return {name: float(value) for name, value in indicators.items() if math.isfinite(value)}
