"""Trainings beside the study's own, winners and re-runs: kept, so that a resume repeats none.

Each folder says in `training.json` what it is the training of, and what came of it.
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
from evossl.experiment.trial import TrialResult, TrialSpec, trial_folder
from evossl.io.files import write_json

RECORD = "training.json"


def run_finals(
    specs: Sequence[TrialSpec],
    session: Session,
    resources: Resources,
    on_steps: Callable[[int, int], None] | None = None,
) -> list[TrialResult]:
    """Return the results of given trainings in order, running only what is not finished yet.

    A folder that holds another training is emptied; one that was interrupted goes on from its
    checkpoint, if its spec asks for that.

    Raises:
        RunError: as `run_list`.
    """
    kept = [_finished(spec) for spec in specs]
    missing = [spec for spec, result in zip(specs, kept, strict=True) if result is None]
    for spec in missing:
        _begin(spec)
    new = iter(run_list(missing, session, resources, on_steps))
    results = []
    for spec, before in zip(specs, kept, strict=True):
        result = before or next(new)
        if before is None and result.fitness is not None:
            write_json(trial_folder(spec) / RECORD, _identity(spec) | {"result": asdict(result)})
        results.append(result)
    return results


def _finished(spec: TrialSpec) -> TrialResult | None:
    there = _read(spec)
    result = there.pop("result", None)
    return TrialResult(**result) if result and there == _identity(spec) else None


def _begin(spec: TrialSpec) -> None:
    there = _read(spec)
    there.pop("result", None)
    if there != _identity(spec):
        shutil.rmtree(trial_folder(spec), ignore_errors=True)
        write_json(trial_folder(spec) / RECORD, _identity(spec))


def _read(spec: TrialSpec) -> dict[str, Any]:
    path: Path = trial_folder(spec) / RECORD
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return there if isinstance(there, dict) else {}


def _identity(spec: TrialSpec) -> dict[str, Any]:
    """What makes it this training and no other."""
    return {
        "trial": spec.number,
        "steps": spec.steps,
        "seed": spec.run.seed if spec.seed is None else spec.seed,
        "weights": dict(spec.weights),
    }
