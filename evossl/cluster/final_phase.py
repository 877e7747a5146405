"""The end of a search: the race between the best trials, the winners' trainings, the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evossl.cluster.finals import run_finals
from evossl.cluster.job import run_on_worker
from evossl.cluster.search_job import SearchJob
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.racing import Racer, race
from evossl.experiment.selected_checkpoint import NUM_SCORES
from evossl.experiment.trial import inherited_steps
from evossl.experiment.trial_spec import TrialResult, TrialSpec, checkpoint_folder
from evossl.experiment.verdict import Evidence, Verdict, decide_verdict
from evossl.experiment.verdict_scores import (
    VerdictScores,
    gather_evidence,
    read_scores,
    score_for_verdict,
    write_verdict,
)
from evossl.experiment.winner import (
    Winner,
    choose_winner,
    continued,
    export_winner,
    long_training_spec,
    open_for_export,
    rerun_spec,
    winner_spec,
)
from evossl.search.genotype import EQUAL_WEIGHTS
from evossl.search.table import TrialRow
from evossl.types import Progress

EQUAL_WEIGHTS_FOLDER = "equal_weights"


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found: the verdict on the winner, and the encoder folder of each winner."""

    verdict: Verdict
    encoders: list[Path]


@dataclass(frozen=True)
class _FinalTrainings:
    """The winners, best first, and the training of equal weights, or None if they won."""

    winners: list[Winner]
    equal_weights: TrialSpec | None


def finish_search(
    search: SearchJob, best: Sequence[TrialRow], rows: Sequence[TrialRow]
) -> SearchOutcome:
    """Choose the winners among the best trials, train and export them, and judge them.

    Args:
        search: what every stage needs.
        best: the best trials, best first; at least one.
        rows: all trials and controls.

    Raises:
        RunError: a winner's training failed and its trial has no checkpoint, or the disk is full.
    """
    racers = race_best(search, best)
    trainings = _train(search, racers, rows)
    num_ended = sum(row.completed is not None for row in rows)
    num_reruns = sum(len(racer.reruns) for racer in racers)
    context = open_for_export(search.run)
    scores = _verdict_scores(search, trainings)
    encoders, verdicts = [], []
    for rank, winner in enumerate(trainings.winners):
        evidence = gather_evidence(context, num_ended + num_reruns + NUM_SCORES, winner.steps)
        verdicts.append(_decide(scores, rank, trainings, evidence))
        if winner.note:
            search.reporter.message(f"{winner.note[0].upper()}{winner.note[1:]}.")
        encoders.append(export_winner(winner, verdicts[rank], context))
    write_verdict(Path(search.run.folder), verdicts[0], scores, _identity(trainings))
    return SearchOutcome(verdicts[0], encoders)


def race_best(search: SearchJob, best: Sequence[TrialRow]) -> list[Racer]:
    """Return the best trials in the order of their mean fitness over several seeds."""
    sizes, resources = search.plan.round_sizes, search.space.resources

    def run_round(rows: Sequence[TrialRow], number: int) -> list[float | None]:
        specs = [rerun_spec(search.trial_spec(row), row, number) for row in rows]
        title = f"re-running the best {len(rows)} trials with another seed"
        with search.reporter.progress_bar(title) as progress:
            results = run_finals(
                specs, search.session, resources, progress, search.reporter.message
            )
        return [result.fitness for result in results]

    scored = [row for row in best if row.fitness is not None]  # at chance there is nothing to race
    others = [Racer(row) for row in best if row.fitness is None]
    racers = [*race(scored, sizes, run_round), *others]
    for racer in racers:
        if racer.reruns:
            search.reporter.message(_describe_racer(racer))
    return racers


def _describe_racer(racer: Racer) -> str:
    scores = [racer.row.fitness, *racer.reruns]
    words = ", ".join("none" if score is None else f"{score:.3f}" for score in scores)
    return f"trial {racer.row.trial} with {len(scores)} seeds: fitness {words}"


def _train(search: SearchJob, racers: Sequence[Racer], rows: Sequence[TrialRow]) -> _FinalTrainings:
    """Train the winners, and equal weights for as long."""
    run = search.run
    best = [racer.row for racer in racers[: search.plan.top]]
    specs = [
        winner_spec(run, row, search.final_steps(row.weights, row.genes), rank)
        for rank, row in enumerate(best)
    ]
    if search.template.part != "whole":
        specs = [continued(spec) for spec in specs]
    equal = _equal_weights_spec(search, specs[0], rows) if best[0].name != EQUAL_WEIGHTS else None
    everything = [*specs, equal] if equal else specs
    resources = search.session.divide_cpus(search.space.resources, num_jobs=len(everything))
    named = "the winner" if len(specs) == 1 else f"the best {len(specs)} trials"
    title = f"training {named}{' and equal weights' if equal else ''}, {specs[0].steps} steps"
    with search.reporter.progress_bar(title) as progress:
        results = run_finals(
            everything, search.session, resources, progress, search.reporter.message
        )
    winners = [
        choose_winner(spec, result, row, search.trial_spec(row))
        for spec, result, row in zip(specs, results, best, strict=False)
    ]
    if equal and _has_failed(results[-1]):
        search.reporter.message(f"equal weights cannot be compared: {results[-1].reason}")
        equal = None
    return _FinalTrainings(winners, equal)


def _equal_weights_spec(
    search: SearchJob, winner: TrialSpec, rows: Sequence[TrialRow]
) -> TrialSpec:
    """Return a training of equal weights, as long as the winner's with all that it inherits."""
    by_number = {row.trial: row for row in rows}
    weights = next(row.weights for row in rows if row.name == EQUAL_WEIGHTS)
    folder = Path(search.run.folder) / EQUAL_WEIGHTS_FOLDER
    num_inherited, parent = 0, winner.parent
    while parent is not None:
        num_inherited, parent = num_inherited + 1, by_number[parent].parent
    steps = search.final_steps(weights, {}, num_inherited)
    if search.plan.final_passes is None:
        steps += inherited_steps(winner)
    return long_training_spec(search.run, 0, weights, steps, folder)


def _has_failed(result: TrialResult) -> bool:
    return result.fitness is None and not result.at_chance


def _verdict_scores(search: SearchJob, trainings: _FinalTrainings) -> VerdictScores:
    """Score the winners, equal weights and the controls on the verdict set, once."""
    folder, identity = Path(search.run.folder), _identity(trainings)
    stored = read_scores(folder, identity)
    if stored is not None:
        return stored
    specs = [winner.spec for winner in trainings.winners]
    names = [f"trial {spec.number}" for spec in specs]
    if trainings.equal_weights:
        specs, names = [*specs, trainings.equal_weights], [*names, EQUAL_WEIGHTS]
    checkpoints = [
        (name, str(checkpoint_folder(spec))) for name, spec in zip(names, specs, strict=True)
    ]
    resources = search.session.divide_cpus(search.space.resources, num_jobs=1)
    with search.reporter.progress_bar("scoring the winner and the controls") as progress:
        return run_on_worker(_score, resources, search.run, checkpoints, progress=progress)


def _score(
    run: RunSpec, checkpoints: Sequence[tuple[str, str]], progress: Progress
) -> VerdictScores:
    """Score checkpoints in this worker."""
    paths = [(name, Path(folder)) for name, folder in checkpoints]
    return score_for_verdict(paths, RunContext.open(run), progress)


def _decide(
    scores: VerdictScores, rank: int, trainings: _FinalTrainings, evidence: Evidence
) -> Verdict:
    if not scores.encoders:
        return decide_verdict(None, (), evidence)
    equal = scores.encoders[-1] if trainings.equal_weights else None
    return decide_verdict(scores.encoders[rank], scores.controls, evidence, equal)


def _identity(trainings: _FinalTrainings) -> dict[str, Any]:
    """Return what distinguishes the encoders that are scored from any others."""
    return {
        "winners": [
            {
                "trial": winner.spec.number,
                "steps": winner.steps,
                "training": winner.spec.steps,
                "fitness": winner.fitness,
            }
            for winner in trainings.winners
        ],
        "equal_weights": trainings.equal_weights.steps if trainings.equal_weights else None,
    }
