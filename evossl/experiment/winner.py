"""The winner: is it better than the controls, by how much, and its encoder for others to use."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evossl.errors import RunError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.controls import RANDOM_INIT
from evossl.experiment.trial import TrialResult, TrialSpec, load_trained, trial_folder
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.fitness.controls import MARGIN, MIN_RANDOM_INITS, sds_below
from evossl.io.files import write_json
from evossl.search.table import TrialRow

EQUAL_WEIGHTS_TRIAL = 0
SAVES = 10  # checkpoints over a winner's training


@dataclass(frozen=True)
class Verdict:
    """How the best trial stands against the controls.

    Attributes:
        trial: its number. fitness: in nats.
        best_control: the lowest control's name and fitness, or None if none has one.
        sds_below_random: by how many of their standard deviations it lies below the random inits'
            mean; None with fewer than 3 scored, or all equal.
        equal_weights: trial 0's fitness, or None if it failed or was cut short.
        rerun_sd: standard deviation of the fitness over re-runs with other seeds, or None.
        beats_controls: lower than every control that has a fitness, of which there is one, and than
            mean - 3 sd of the random inits, if 3 of them have one.
    """

    trial: int
    fitness: float
    best_control: tuple[str, float] | None
    sds_below_random: float | None
    equal_weights: float | None
    rerun_sd: float | None
    beats_controls: bool

    @property
    def line(self) -> str:
        """The verdict in one line."""
        word = "beats" if self.beats_controls else "does NOT beat"
        parts = [f"trial {self.trial} (fitness {self.fitness:.3f} nats) {word} the controls"]
        if self.best_control is None:
            parts.append("none of them could be scored")
        else:
            name, fitness = self.best_control
            gap = f"the best of them, {name}, has {fitness:.3f}"
            if self.rerun_sd:
                gap += f": {(fitness - self.fitness) / self.rerun_sd:+.1f} sd of a re-run"
            parts.append(gap)
        if self.sds_below_random is not None:
            parts.append(f"{self.sds_below_random:.1f} sd below random init")
        if self.equal_weights is not None and self.trial != EQUAL_WEIGHTS_TRIAL:
            parts.append(f"equal weights: {self.equal_weights:.3f}")
        return "; ".join(parts)

    @property
    def warning(self) -> str | None:
        """What must not be overlooked, or None."""
        if self.beats_controls:
            return None
        return (
            "this encoder is NO BETTER THAN ITS CONTROLS by the label-free fitness "
            f"({self.line}). Train longer, give more videos, or look at `ignores`."
        )


def judge(rows: Sequence[TrialRow], best: TrialRow, reruns: Sequence[float] = ()) -> Verdict:
    """Return how `best` stands against the controls among `rows`.

    Args:
        rows: of the trials table, controls and trials.
        best: a complete trial.
        reruns: fitness of the same weights under other seeds.
    """
    assert best.fitness is not None
    controls = [
        (r.name, r.fitness) for r in rows if r.status == "control" and r.fitness is not None
    ]
    inits = [fitness for name, fitness in controls if name.startswith(RANDOM_INIT)]
    sds = sds_below(best.fitness, inits) if len(inits) >= MIN_RANDOM_INITS else None
    if sds is not None and not math.isfinite(sds):  # they are all equal
        sds = None
    lowest = min(controls, key=lambda control: control[1], default=None)
    complete = (row for row in rows if row.status == "complete")
    equal = next((row.fitness for row in complete if row.trial == EQUAL_WEIGHTS_TRIAL), None)
    return Verdict(
        trial=best.trial,
        fitness=best.fitness,
        best_control=lowest,
        sds_below_random=sds,
        equal_weights=equal,
        rerun_sd=statistics.stdev([best.fitness, *reruns]) if reruns else None,
        beats_controls=lowest is not None
        and best.fitness < lowest[1]
        and (sds is None or sds > MARGIN),
    )


@dataclass(frozen=True)
class Fallback:
    """A trial's own encoder, where its longer training came to nothing.

    Attributes:
        spec: of the trial. result: as its row has it. warning: what happened.
    """

    spec: TrialSpec
    result: TrialResult
    warning: str


def winner_spec(run: RunSpec, row: TrialRow, steps: int, rank: int) -> TrialSpec:
    """Return the longer training of the `rank`-th best trial (0 is the winner)."""
    name = "winner" if rank == 0 else f"winner-{rank + 1}"
    folder = str(Path(run.folder) / name)
    save_every = max(1, steps // SAVES)
    return TrialSpec(
        row.trial, row.weights, run, steps, folder=folder, resume=True, save_every=save_every
    )


def rerun_spec(template: TrialSpec, row: TrialRow, repeat: int) -> TrialSpec:
    """Return the same weights and steps under another seed."""
    run = template.run
    folder = str(Path(run.folder) / "reruns" / str(repeat))
    seed = run.seed + repeat
    return TrialSpec(row.trial, row.weights, run, template.steps, folder=folder, seed=seed)


def fall_back(spec: TrialSpec, result: TrialResult, row: TrialRow, template: TrialSpec) -> Fallback:
    """Return the trial's own encoder in the place of a longer training that has no fitness.

    Raises:
        RunError: its checkpoint is not there.
    """
    own = replace(template, number=row.trial, weights=row.weights)
    failed = (
        f"the longer training of trial {row.trial} ({spec.steps} steps) failed: {result.reason}"
    )
    if not (trial_folder(own) / "checkpoint").is_dir():
        raise RunError(failed)
    indicators = dict(row.indicators)
    result = TrialResult(row.trial, row.fitness, None, row.seconds or 0.0, indicators)
    return Fallback(own, result, f"{failed}; this is the trial's own encoder, of {own.steps} steps")


def export_winner(
    spec: TrialSpec, result: TrialResult, verdict: Verdict, fallback: Fallback | None = None
) -> Path:
    """Export the encoder of a finished winner training, and write `winner.json` beside it.

    Nothing is done where the same winner with the same verdict has been exported already.

    Args:
        spec: the winner's training; its folder is written to.
        result: what came of it.
        verdict: how the trial stands against the controls.
        fallback: what is exported in its place.

    Returns:
        The encoder's folder.

    Raises:
        RunError: the disk is full.
    """
    folder = trial_folder(spec)
    warnings = [verdict.warning, None]
    if fallback:
        spec, result, warnings[1] = fallback.spec, fallback.result, fallback.warning
    assert result.fitness is not None, "fall_back says what to do with a failed training"
    summary = _summary(spec, result, verdict)
    if (folder / "encoder").is_dir() and _read(folder / "winner.json") == summary:
        return folder / "encoder"
    if not torch.cuda.is_available():  # a cluster's head need not have the workers' GPU
        spec = replace(spec, run=replace(spec.run, device="cpu"))
    bench = RunContext.open(spec.run)
    encoder = load_trained(spec).cpu()
    provenance = {"run": spec.run.folder, "trial": spec.number, "seed": spec.run.seed}
    config = EncoderConfig.of(
        bench.space,
        encoder,
        warning=" ".join(filter(None, warnings)) or None,
        provenance=provenance | {"steps": spec.steps, "weights": dict(spec.weights)},
    )
    export_encoder(encoder, folder / "encoder", config, replace=True)
    write_json(folder / "winner.json", summary)
    return folder / "encoder"


def _read(path: Path) -> Any:
    """What a JSON file holds, or None."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _summary(spec: TrialSpec, result: TrialResult, verdict: Verdict) -> Mapping[str, object]:
    """Plain data, equal to itself after a way through JSON."""
    summary = {
        "trial": spec.number,
        "steps": spec.steps,
        "weights": dict(spec.weights),
        "fitness": result.fitness,
        "indicators": dict(result.indicators),
        "seconds": result.seconds,
        "verdict": asdict(verdict) | {"line": verdict.line, "warning": verdict.warning},
    }
    plain: Mapping[str, object] = json.loads(json.dumps(summary))
    return plain
