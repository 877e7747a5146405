"""The winner: the best trial's weights, trained for longer, and its exported encoder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evossl.errors import RunError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.trial import TrialResult, TrialSpec, load_trained, trial_folder
from evossl.experiment.verdict import Verdict
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.io.files import write_json
from evossl.search.table import TrialRow

NUM_CHECKPOINTS = 10  # saved over a winner's training


@dataclass(frozen=True)
class Winner:
    """A training whose encoder is exported, and its result.

    Attributes:
        spec: of the longer training, or of the trial itself if the longer training failed.
        result: of `spec`.
        folder: of the longer training; the encoder is exported to `folder/encoder`.
        warning: what failed, or None.
    """

    spec: TrialSpec
    result: TrialResult
    folder: Path
    warning: str | None = None


def winner_spec(run: RunSpec, row: TrialRow, steps: int, rank: int) -> TrialSpec:
    """Return the longer training of the `rank`-th best trial (0 is the winner)."""
    name = "winner" if rank == 0 else f"winner-{rank + 1}"
    folder = str(Path(run.folder) / name)
    save_every = max(1, steps // NUM_CHECKPOINTS)
    spec = TrialSpec(row.trial, row.weights, run, steps, folder=folder, genes=row.genes)
    return replace(spec, resume=True, save_every=save_every)


def rerun_spec(template: TrialSpec, row: TrialRow, repeat: int) -> TrialSpec:
    """Return a training with a trial's weights, genes and steps, and another seed."""
    run = template.run
    folder = str(Path(run.folder) / "reruns" / str(repeat))
    seed = run.seed + repeat
    spec = TrialSpec(row.trial, row.weights, run, template.steps, folder=folder, seed=seed)
    return replace(spec, genes=row.genes)


def choose_winner(
    spec: TrialSpec, result: TrialResult, row: TrialRow, template: TrialSpec
) -> Winner:
    """Return the longer training, or the trial itself if the longer training failed.

    Args:
        spec: the longer training.
        result: of it.
        row: of the trial.
        template: the spec that all trials of the run share.

    Raises:
        RunError: the longer training failed, and the trial has no checkpoint.
    """
    folder = trial_folder(spec)
    if result.fitness is not None:
        return Winner(spec, result, folder)
    trial = replace(template, number=row.trial, weights=row.weights, genes=row.genes)
    failed = (
        f"the longer training of trial {row.trial} ({spec.steps} steps) failed: {result.reason}"
    )
    if not (trial_folder(trial) / "checkpoint").is_dir():
        raise RunError(failed)
    own = TrialResult(row.trial, row.fitness, None, row.seconds or 0.0, dict(row.indicators))
    warning = f"{failed}; this is the encoder of the trial itself, after {trial.steps} steps"
    return Winner(trial, own, folder, warning)


def open_for_export(run: RunSpec) -> RunContext:
    """Open a run where its winners are exported: a cluster's head need not have a GPU."""
    return RunContext.open(run if torch.cuda.is_available() else replace(run, device="cpu"))


def export_winner(winner: Winner, verdict: Verdict, context: RunContext) -> Path:
    """Export a winner's encoder, and write `winner.json` beside it.

    If the same winner has been exported with the same verdict before, nothing is written.

    Args:
        winner: the training to export.
        verdict: how the best trial compares with the controls.
        context: of the run.

    Returns:
        The encoder's folder.

    Raises:
        RunError: the disk is full.
    """
    spec = winner.spec
    summary = winner_summary(winner, verdict)
    encoder_folder = winner.folder / "encoder"
    if encoder_folder.is_dir() and _read_json(winner.folder / "winner.json") == summary:
        return encoder_folder
    encoder = load_trained(spec, context).cpu()
    provenance = {"run": spec.run.folder, "trial": spec.number, "seed": spec.run.seed}
    config = EncoderConfig.from_space(
        context.space,
        encoder,
        warning=" ".join(filter(None, (verdict.warning, winner.warning))) or None,
        provenance=provenance | {"steps": spec.steps} | genotype_record(spec),
    )
    export_encoder(encoder, encoder_folder, config, replace=True)
    write_json(winner.folder / "winner.json", summary)
    return encoder_folder


def winner_summary(winner: Winner, verdict: Verdict) -> Mapping[str, Any]:
    """Return the content of `winner.json`, as it is after a round trip through JSON."""
    spec, result = winner.spec, winner.result
    summary = {
        "trial": spec.number,
        "steps": spec.steps,
        **genotype_record(spec),
        "fitness": result.fitness,
        "indicators": dict(result.indicators),
        "seconds": result.seconds,
        "verdict": asdict(verdict) | {"line": verdict.line, "warning": verdict.warning},
    }
    plain: Mapping[str, Any] = json.loads(json.dumps(summary))
    return plain


def genotype_record(spec: TrialSpec) -> dict[str, Any]:
    """Return a training's weights as plain data, and its other genes if there are any."""
    genes = {"genes": dict(spec.genes)} if spec.genes else {}
    return {"weights": dict(spec.weights)} | genes


def _read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None if there is no valid one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
