"""The winner: the best trial's weights, trained for longer, and its exported encoder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evossl.errors import RunError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.selected_checkpoint import StepScore, best_step, read_scores, scored_steps
from evossl.experiment.trial import load_encoder_from
from evossl.experiment.trial_spec import TrialResult, TrialSpec, checkpoint_folder, trial_folder
from evossl.experiment.verdict import Verdict
from evossl.experiment.verdict_scores import verdict_record
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.io.files import write_json
from evossl.search.table import TrialRow

NUM_CHECKPOINTS = 10  # saved over a winner's training
NUM_REPORTS = 50  # at least, so that scored steps fall on reported ones
LOG_EVERY = 10


@dataclass(frozen=True)
class Winner:
    """A training whose encoder is exported.

    Attributes:
        spec: of the longer training, or of the trial itself if its encoder is better.
        steps: after which the exported encoder was taken.
        fitness: on the selection set; None if the encoder is at chance there.
        indicators: of the same encoder.
        seconds: of the training.
        folder: of the longer training; the encoder is exported to `folder/encoder`.
        scores: on the selection set along the longer training.
        note: what a reader must know of the longer training, or None.
        failed: whether the longer training failed.
    """

    spec: TrialSpec
    steps: int
    fitness: float | None
    indicators: Mapping[str, float]
    seconds: float
    folder: Path
    scores: tuple[StepScore, ...] = ()
    note: str | None = None
    failed: bool = False


def long_training_spec(
    run: RunSpec, trial: int, weights: Mapping[str, float], steps: int, folder: Path
) -> TrialSpec:
    """Return a training that is scored on its way and keeps its best encoder."""
    log_every = max(1, min(LOG_EVERY, steps // NUM_REPORTS))
    return TrialSpec(
        trial,
        weights,
        run,
        steps,
        folder=str(folder),
        log_every=log_every,
        resume=True,
        save_every=max(1, steps // NUM_CHECKPOINTS),
        rungs=scored_steps(steps, log_every),
        keep_best=True,
    )


def winner_spec(run: RunSpec, row: TrialRow, steps: int, rank: int) -> TrialSpec:
    """Return the longer training of the `rank`-th best trial (0 is the winner)."""
    name = "winner" if rank == 0 else f"winner-{rank + 1}"
    spec = long_training_spec(run, row.trial, row.weights, steps, Path(run.folder) / name)
    return replace(spec, genes=row.genes)


def continued(spec: TrialSpec) -> TrialSpec:
    """Return a longer training that continues its trial's checkpoint, the end of a population."""
    return replace(spec, parent=spec.number, part="last")


def rerun_spec(template: TrialSpec, row: TrialRow, repeat: int) -> TrialSpec:
    """Return a training with a trial's weights, genes and steps, and another seed.

    A trial with a parent starts from the same checkpoint again.
    """
    run = template.run
    folder = str(Path(run.folder) / "reruns" / f"{row.trial}-{repeat}")
    seed = run.seed + repeat
    spec = TrialSpec(row.trial, row.weights, run, template.steps, folder=folder, seed=seed)
    return replace(spec, part=template.part, genes=row.genes).inheriting(row.parent)


def choose_winner(
    spec: TrialSpec, result: TrialResult, row: TrialRow, template: TrialSpec
) -> Winner:
    """Return the best encoder on the selection set: the longer training's or the trial's own.

    Args:
        spec: the longer training.
        result: of it: that of its best step.
        row: of the trial.
        template: the spec that all trials of the run share.

    Raises:
        RunError: the longer training failed, and the trial has no checkpoint.
    """
    folder = trial_folder(spec)
    scores = tuple(read_scores(folder))
    best = best_step(list(scores))
    longer = Winner(
        spec,
        best.step if best else spec.steps,
        result.fitness,
        dict(result.indicators),
        result.seconds,
        folder,
        scores,
        describe_scores(scores, spec.steps),
    )
    trial = replace(template, number=row.trial, weights=row.weights, genes=row.genes)
    has_own = checkpoint_folder(trial).is_dir()
    own = replace(
        longer,
        spec=trial,
        steps=trial.steps,
        fitness=row.fitness,
        indicators=dict(row.indicators),
        seconds=row.seconds or 0.0,
    )
    named = f"the longer training of trial {row.trial} ({spec.steps} steps)"
    if result.fitness is None and not result.at_chance:
        failed = f"{named} failed: {result.reason}"
        if not has_own:
            raise RunError(failed)
        note = f"{failed}; this is the encoder of the trial itself, after {trial.steps} steps"
        return replace(own, note=note, failed=True)
    if not has_own or row.fitness is None:
        return longer
    if result.fitness is None or result.fitness > row.fitness:
        reached = "at chance" if result.fitness is None else f"{result.fitness:.3f} nats at best"
        note = (
            f"{named} made it worse: {reached}, where the trial has {row.fitness:.3f}; this is the "
            f"encoder of the trial itself, after {trial.steps} steps"
        )
        return replace(own, note=note)
    return longer


def describe_scores(scores: tuple[StepScore, ...], steps: int) -> str | None:
    """Return a note if an earlier step of a training is better than its last one."""
    best = best_step(list(scores))
    if best is None or best.step == steps:
        return None
    last = scores[-1].fitness
    after = "at chance" if last is None else f"{last:.3f} nats"
    return (
        f"the training became worse after step {best.step}: {best.fitness:.3f} nats there, {after} "
        f"at step {scores[-1].step}; this is the encoder of step {best.step}"
    )


def open_for_export(run: RunSpec) -> RunContext:
    """Open a run where its winners are exported: a cluster's head need not have a GPU."""
    return RunContext.open(run if torch.cuda.is_available() else replace(run, device="cpu"))


def export_winner(winner: Winner, verdict: Verdict, context: RunContext) -> Path:
    """Export a winner's encoder, and write `winner.json` beside it.

    If the same winner has been exported with the same verdict before, nothing is written.

    Args:
        winner: the training to export.
        verdict: how its encoder compares with the controls.
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
    encoder = load_encoder_from(checkpoint_folder(spec), context).cpu()
    provenance = {"run": spec.run.folder, "trial": spec.number, "seed": spec.run.seed}
    warnings = (verdict.warning, winner.note if winner.failed else None)
    config = EncoderConfig.from_space(
        context.space,
        encoder,
        warning=" ".join(filter(None, warnings)) or None,
        provenance=provenance | {"steps": winner.steps} | genotype_record(spec),
    )
    export_encoder(encoder, encoder_folder, config, replace=True)
    write_json(winner.folder / "winner.json", summary)
    return encoder_folder


def winner_summary(winner: Winner, verdict: Verdict) -> Mapping[str, Any]:
    """Return the content of `winner.json`, as it is after a round trip through JSON."""
    spec = winner.spec
    summary = {
        "trial": spec.number,
        "steps": winner.steps,
        **genotype_record(spec),
        "fitness": winner.fitness,
        "indicators": dict(winner.indicators),
        "seconds": winner.seconds,
        "selection": [{"step": s.step, "fitness": s.fitness} for s in winner.scores],
        "note": winner.note,
        "verdict": verdict_record(verdict),
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
