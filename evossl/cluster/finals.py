"""Trainings outside the study, such as winners and re-runs; a resume repeats none that finished.

Each training's folder has a `training.json` that identifies it and, once finished, its result.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evossl.cluster.run import run_list
from evossl.cluster.session import Session
from evossl.config import Resources
from evossl.experiment.trial_spec import TrialResult, TrialSpec, trial_folder
from evossl.experiment.winner import genotype_record
from evossl.io.files import write_json
from evossl.types import Progress

RECORD_FILE = "training.json"


def run_finals(
    specs: Sequence[TrialSpec],
    session: Session,
    resources: Resources,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[TrialResult]:
    """Return the results of trainings, in order; runs only those that have not finished before.

    A folder that holds another training is emptied. An interrupted training continues from its
    checkpoint if its spec says `resume`.

    Raises:
        RunError: see `run_list`.
    """
    stored = [_stored_result(spec) for spec in specs]
    missing = [spec for spec, result in zip(specs, stored, strict=True) if result is None]
    for spec in missing:
        _begin(spec)
    new_results = iter(run_list(missing, session, resources, progress, warn))
    results = []
    for spec, before in zip(specs, stored, strict=True):
        result = before or next(new_results)
        if before is None and (result.fitness is not None or result.at_chance):
            _write_record(spec, _identity(spec) | {"result": asdict(result)})
        results.append(result)
    return results


def _stored_result(spec: TrialSpec) -> TrialResult | None:
    record = _read_record(spec)
    result = record.pop("result", None)
    return TrialResult(**result) if result and record == _identity(spec) else None


def _begin(spec: TrialSpec) -> None:
    """Empty the training's folder, unless it holds this very training."""
    record = _read_record(spec)
    record.pop("result", None)
    if record != _identity(spec):
        shutil.rmtree(trial_folder(spec), ignore_errors=True)
        _write_record(spec, _identity(spec))


def _write_record(spec: TrialSpec, record: dict[str, Any]) -> None:
    write_json(trial_folder(spec) / RECORD_FILE, record)


def _read_record(spec: TrialSpec) -> dict[str, Any]:
    path: Path = trial_folder(spec) / RECORD_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _identity(spec: TrialSpec) -> dict[str, Any]:
    """Return what distinguishes this training from any other in the same folder."""
    return {
        "trial": spec.number,
        "steps": spec.steps,
        "seed": spec.run.seed if spec.seed is None else spec.seed,
        **genotype_record(spec),
    }
