"""Early stopping: Tune's scheduler, and a search on a real local Ray."""

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from evossl.cluster.actor import rung_report
from evossl.cluster.run import TrialsPlan, run_trials
from evossl.cluster.rungs import RungScheduler
from evossl.cluster.session import Session
from evossl.config import Resources, Sampler, Stopping
from evossl.experiment.context import RunContext
from evossl.experiment.trial import run_trial
from evossl.experiment.trial_spec import RungResult, TrialResult, TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.stopping import is_promoted
from evossl.search.study import Study
from evossl.search.table import TrialRow
from evossl.training.history import read_history
from tests.helpers.tiny_runs import make_run

RULE = Stopping(rungs=(0.5,), keep_fraction=0.5, min_trials=2)
CONTINUE, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


def report(number: int, fitness: float | None) -> dict[str, Any]:
    return rung_report(RungResult(1, 5, TrialResult(number, fitness, "stopped", 1.0, {})), 10)


def decisions(scheduler: RungScheduler, reports: list[dict[str, Any]]) -> list[str]:
    return [scheduler.on_trial_result(None, None, one) for one in reports]


def test_the_worse_half_is_stopped_at_a_rung() -> None:
    scheduler = RungScheduler(RULE, [])
    reports = [report(0, 3.0), report(1, 4.0), report(2, None), report(3, 2.0)]
    assert decisions(scheduler, reports) == [CONTINUE, STOP, STOP, CONTINUE]
    assert decisions(scheduler, [{"done": False, "share": 0.3}]) == [CONTINUE], "not at a rung"


def test_a_retried_trial_does_not_compete_with_itself() -> None:
    scheduler = RungScheduler(RULE, [])
    retries = [report(0, 3.0), report(0, 4.0), report(0, 5.0)]
    assert decisions(scheduler, retries) == [CONTINUE] * 3


def test_scores_of_an_earlier_session_count() -> None:
    earlier = TrialRow(0, "", "complete", 1.0, None, 1.0, {"rung1": 3.0}, {})
    assert decisions(RungScheduler(RULE, [earlier]), [report(1, 4.0)]) == [STOP]


@pytest.mark.parametrize("fitness", [2.5, None])
def test_the_scheduler_is_given_plain_data(fitness: float | None) -> None:
    plain = report(7, fitness)
    assert plain["fitness"] == (math.inf if fitness is None else fitness)
    assert (plain["number"], plain["share"], plain["rung"]) == (7, 0.5, "rung1")
    assert asdict(TrialResult(7, fitness, "stopped", 1.0, {}))["reason"] in plain["pruned"]


@dataclass(frozen=True)
class StoppedTrials:
    """A search of six trials of four steps, with a rung after two steps."""

    template: TrialSpec
    rows: list[TrialRow]
    progress: list[tuple[int, int]]


@pytest.fixture(scope="module")
def stopped(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path, session: Session
) -> StoppedTrials:
    """The user's fitness, given by a relative path, has no ties between trials this small."""
    folder = tmp_path_factory.mktemp("rungs")
    mine = folder / "mine.py"
    mine.write_text("def fitness(x):\n    return float(x.clean_ND.double().mean())\n", "utf-8")
    keys: dict[str, Any] = {"fitness": {"name": os.path.relpath(mine)}}
    run = make_run(folder / "run", tiny_videos, tiny_cache, **keys)
    genotype = Genotype.from_weights({"simclr.rgb": (0.0, 1.0), "arrow_of_time.rgb": (0.1, 1.0)})
    template = TrialSpec(0, {}, run, 4, log_every=1, rungs=(2,))
    plan = TrialsPlan(template, 6, Resources(max_concurrent=1), RULE)
    progress: list[tuple[int, int]] = []
    with Study.create(Path(run.folder), genotype, Sampler(name="random"), 0) as study:
        run_trials(study, plan, session, progress=lambda *done: progress.append(done))
        return StoppedTrials(template, study.rows(), progress)


def test_a_search_prunes_the_trials_that_score_worse(stopped: StoppedTrials) -> None:
    scores = [row.indicators["rung1"] for row in stopped.rows]
    expected = [
        "complete" if is_promoted(score, scores[:i], RULE) else "pruned"
        for i, score in enumerate(scores)
    ]
    assert [row.status for row in stopped.rows] == expected
    assert {"complete", "pruned"} == set(expected), "both happen"
    assert stopped.progress[-1] == (24, 24)


def test_a_pruned_trial_stops_at_its_rung_with_a_reason(stopped: StoppedTrials) -> None:
    for row in stopped.rows:
        folder = Path(stopped.template.run.folder) / "trials" / str(row.trial)
        history = read_history(folder / "history.jsonl")
        assert len(history) == (4 if row.status == "complete" else 2)
        if row.status == "pruned":
            assert row.fitness == row.indicators["rung1"]
            assert row.reason == "stopped early at step 2 of 4"
            assert not (folder / "checkpoint").exists()


def test_a_trial_on_ray_equals_the_same_trial_here(stopped: StoppedTrials, tmp_path: Path) -> None:
    """Tune copies configs, flattens results and changes the folder; none of it may matter."""
    row = next(row for row in stopped.rows if row.status == "complete")
    template = replace(stopped.template, number=row.trial, weights=row.weights)
    spec = replace(template, folder=str(tmp_path / "here"))
    here = run_trial(spec, RunContext.open(spec.run))
    assert row.fitness == pytest.approx(here.fitness, rel=1e-4)
    assert row.indicators.keys() == here.indicators.keys()
