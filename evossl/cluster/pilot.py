"""The pilot of a search: trains a few weightings, and says how many steps a trial needs.

Its trainings are in `pilot/` of the run folder, and its result in `pilot.json`. An interrupted
pilot repeats none of the trainings that have finished.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from evossl.cluster.finals import run_finals
from evossl.cluster.scales import with_gradient_scales
from evossl.cluster.search_job import Reporter
from evossl.cluster.session import Session
from evossl.data.index.index import load_index
from evossl.errors import UserError
from evossl.experiment.context import RunSpec
from evossl.experiment.pilot import (
    LENGTH_SHARE,
    MIN_CLIPS,
    NUM_SEEDS,
    NUM_WEIGHTINGS,
    PILOT_FILE,
    PilotResult,
    analyse,
    rung_steps,
)
from evossl.experiment.run_folder import RunInfo, write_run
from evossl.experiment.split import split_videos
from evossl.experiment.terms import active_weights, search_genotype
from evossl.experiment.trial_spec import TrialResult, TrialSpec, rung_indicator
from evossl.io.files import write_json
from evossl.rng import derive_seed
from evossl.training.resolved_space import ResolvedSpace, resolve_space

MAX_SINGLE_TASKS = 3
MAX_DRAWS = 100  # of random weights until one has an active term


def with_pilot_steps(folder: Path, info: RunInfo, session: Session, reporter: Reporter) -> RunInfo:
    """Return `info` with the number of steps that its pilot found, if the budget says `auto`.

    The number is stored in `run.yaml`, so a resumed search does not run its pilot again.

    Raises:
        UserError: too few videos for a pilot.
        RunError: see `run_pilot`.
    """
    space = info.parsed_space
    if space.budget.steps != "auto" or space.budget.passes is not None:
        return info
    resolved = _resolve(info)
    if search_genotype(resolved).evolves:
        info, result = run_pilot(folder, info, session, reporter)
        steps = result.steps
    else:  # a single trial, which ranks nothing
        steps = longest_steps(space.budget.final_steps)
    budget = {**info.space["budget"], "steps": steps}
    info = replace(info, space={**info.space, "budget": budget})
    write_run(folder, info)
    return info


def longest_steps(final_steps: int) -> int:
    """Return the longest trial that makes sense before a winner's training of `final_steps`."""
    return max(1, round(final_steps * LENGTH_SHARE))


def run_pilot(
    folder: Path,
    info: RunInfo,
    session: Session,
    reporter: Reporter,
    longest: int | None = None,
) -> tuple[RunInfo, PilotResult]:
    """Run the pilot, or what is left of it; write `pilot.json`.

    Args:
        folder: the run folder; its videos are in the clip cache.
        info: what `run.yaml` says.
        session: the connected Ray.
        reporter: where progress and messages go.
        longest: steps of each training; None is a quarter of the winner's.

    Returns:
        The info, with gradient scales, and the result.

    Raises:
        UserError: too few videos.
        RunError: every training failed, a worker died too often, or the disk is full.
    """
    space = info.parsed_space
    session.check_fits(space.resources)
    check_enough_videos(folder, info)
    info = with_gradient_scales(folder, info, session, reporter)
    run = RunSpec.of(folder, info)
    steps = rung_steps(longest or longest_steps(space.budget.final_steps))
    weightings = pilot_weightings(_resolve(info), info.seed)
    specs = [
        pilot_spec(run, weights, steps, name, repeat)
        for name, weights in weightings.items()
        for repeat in range(NUM_SEEDS)
    ]
    reporter.message(
        f"pilot: {len(weightings)} weightings with {NUM_SEEDS} seeds, {steps[-1]:,} steps each, to "
        "find out how long a trial must train (--steps N skips it)"
    )
    with reporter.progress_bar(f"pilot, {len(specs)} trainings") as progress:
        results = run_finals(specs, session, space.resources, progress)
    scores = [
        [_scores(result, len(steps)) for result in results[start : start + NUM_SEEDS]]
        for start in range(0, len(results), NUM_SEEDS)
    ]
    result = analyse(scores, steps, info.seed, _seconds_per_pass(results))
    named = dict(zip(weightings, scores, strict=True))
    write_json(folder / PILOT_FILE, result.record | {"scores": named})
    reporter.message(f"pilot: {result.line}")
    return info, result


def check_enough_videos(folder: Path, info: RunInfo) -> None:
    """Refuse a pilot on so few clips that agreement between two views means nothing.

    Raises:
        UserError: names the remedy.
    """
    split = split_videos(
        load_index(folder / "manifest.parquet").videos, info.parsed_space.fitness.clips
    )
    if len(split.selection) < MIN_CLIPS:
        raise UserError(
            f"budget.steps: auto needs a pilot, and the pilot {MIN_CLIPS} clips to select by, of "
            f"which these videos give {len(split.selection)}: add videos, or give the steps of a "
            "trial yourself (--steps N)"
        )


def pilot_weightings(resolved: ResolvedSpace, seed: int) -> dict[str, dict[str, float]]:
    """Return the weightings that the pilot trains: equal, single tasks, and random ones."""
    sampler = resolved.space.sampler.model_copy(update={"single_tasks_first": True})
    space = resolved.space.model_copy(update={"sampler": sampler})
    genotype = search_genotype(replace(resolved, space=space))
    found = {"equal": genotype.equal_weights()}
    singles = range(1, 1 + len(genotype.single_task_sets))
    for number in singles[:MAX_SINGLE_TASKS]:
        initial = genotype.initial_weights(number)
        assert initial is not None
        weights = genotype.complete(initial)
        if _has_active_term(resolved, weights):
            found[f"single-{number}"] = weights
    rng = np.random.default_rng(derive_seed(seed, "pilot"))
    for _ in range(MAX_DRAWS):
        if len(found) == NUM_WEIGHTINGS:
            break
        drawn = {name: float(rng.uniform(*pair)) for name, pair in genotype.bounds.items()}
        weights = genotype.complete(drawn)
        if _has_active_term(resolved, weights):
            found[f"random-{len(found)}"] = weights
    return found


def _has_active_term(resolved: ResolvedSpace, weights: Mapping[str, float]) -> bool:
    try:
        active_weights(resolved, weights)
    except UserError:
        return False
    return True


def pilot_spec(
    run: RunSpec, weights: Mapping[str, float], steps: Sequence[int], name: str, repeat: int
) -> TrialSpec:
    """Return a training that is scored at the pilot's rungs."""
    folder = str(Path(run.folder) / "pilot" / f"{name}-{repeat}")
    *rungs, longest = steps
    return TrialSpec(
        repeat,
        weights,
        run,
        longest,
        folder=folder,
        seed=run.seed + repeat,
        log_every=steps[0],
        rungs=tuple(rungs),
    )


def _scores(result: TrialResult, num_rungs: int) -> list[float | None]:
    """Return a training's fitness at each rung, the last step included."""
    found = [result.indicators.get(rung_indicator(rung)) for rung in range(1, num_rungs)]
    return [*found, result.fitness]


def _seconds_per_pass(results: Sequence[TrialResult]) -> float:
    costs = [
        result.seconds / result.indicators["passes"]
        for result in results
        if result.indicators.get("passes")
    ]
    return statistics.median(costs) if costs else 0.0


def _resolve(info: RunInfo) -> ResolvedSpace:
    folder = Path(info.tasks_folder) if info.tasks_folder else None
    return resolve_space(info.parsed_space, folder)
