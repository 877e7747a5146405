"""The winner: is it better than the controls, by how much, and its encoder for others to use."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from evossl.controls import RANDOM_INIT
from evossl.errors import RunError
from evossl.export import EncoderConfig, export_encoder
from evossl.files import write_json
from evossl.fitness.controls import MARGIN, MIN_RANDOM_INITS, sds_below
from evossl.search.table import TrialRow
from evossl.training.workbench import RunSpec, Workbench
from evossl.trial import TrialResult, TrialSpec, load_trained, trial_folder

EQUAL_WEIGHTS_TRIAL = 0


@dataclass(frozen=True)
class Verdict:
    """How the best trial stands against the controls.

    Attributes:
        trial: its number. fitness: in nats.
        best_control: the lowest control's name and fitness, or None if none has one.
        sds_below_random: by how many of their standard deviations it lies below the random inits'
            mean; None with fewer than 3 scored.
        equal_weights: trial 0's fitness, or None if it failed.
        rerun_sd: standard deviation of the fitness over re-runs with other seeds, or None.
        beats_controls: lower than every control, and than mean - 3 sd of the random inits.
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
        if self.best_control:
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
    lowest = min(controls, key=lambda control: control[1], default=None)
    equal = next((r.fitness for r in rows if r.trial == EQUAL_WEIGHTS_TRIAL), None)
    return Verdict(
        trial=best.trial,
        fitness=best.fitness,
        best_control=lowest,
        sds_below_random=sds,
        equal_weights=equal,
        rerun_sd=statistics.stdev([best.fitness, *reruns]) if reruns else None,
        beats_controls=(sds is None or sds > MARGIN)
        and (lowest is None or best.fitness < lowest[1]),
    )


def winner_spec(run: RunSpec, row: TrialRow, steps: int, rank: int) -> TrialSpec:
    """Return the longer training of the `rank`-th best trial (0 is the winner)."""
    name = "winner" if rank == 0 else f"winner-{rank + 1}"
    folder = str(Path(run.folder) / name)
    return TrialSpec(row.trial, row.weights, run, steps, folder=folder)


def rerun_spec(template: TrialSpec, row: TrialRow, repeat: int) -> TrialSpec:
    """Return the same weights and steps under another seed."""
    run = template.run
    folder = str(Path(run.folder) / "reruns" / str(repeat))
    seed = run.seed + repeat
    return TrialSpec(row.trial, row.weights, run, template.steps, folder=folder, seed=seed)


def export_winner(spec: TrialSpec, result: TrialResult, verdict: Verdict) -> Path:
    """Export the encoder of a finished winner training, and write `winner.json` beside it.

    Returns:
        The encoder's folder.

    Raises:
        RunError: the training failed, or the disk is full.
    """
    if result.fitness is None:
        raise RunError(f"the winner's training (trial {spec.number}) failed: {result.reason}")
    bench = Workbench.open(spec.run)
    encoder = load_trained(spec).cpu()
    folder = trial_folder(spec)
    provenance = {"run": spec.run.folder, "trial": spec.number, "seed": spec.run.seed}
    config = EncoderConfig.of(
        bench.space,
        encoder,
        warning=verdict.warning,
        provenance=provenance | {"steps": spec.steps, "weights": dict(spec.weights)},
    )
    export_encoder(encoder, folder / "encoder", config, replace=True)
    write_json(folder / "winner.json", _summary(spec, result, verdict))
    return folder / "encoder"


def _summary(spec: TrialSpec, result: TrialResult, verdict: Verdict) -> Mapping[str, object]:
    return {
        "trial": spec.number,
        "steps": spec.steps,
        "weights": dict(spec.weights),
        "fitness": result.fitness,
        "indicators": dict(result.indicators),
        "seconds": result.seconds,
        "verdict": asdict(verdict) | {"line": verdict.line, "warning": verdict.warning},
    }
