"""Trials are cut short at rungs: Tune's scheduler, and a search on a real local Ray."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from evossl.cluster import actor
from evossl.cluster.run import run_trials
from evossl.cluster.rungs import RungScheduler
from evossl.cluster.session import Session
from evossl.config import Resources, Sampler, Stopping
from evossl.experiment.trial import RungResult, TrialResult, TrialSpec
from evossl.search.genotype import Genotype
from evossl.search.stopping import is_promoted
from evossl.search.study import Study
from evossl.search.table import TrialRow
from evossl.training.history import read_history
from tests.helpers.tiny_runs import make_run

RULE = Stopping(rungs=(0.5,), keep_fraction=0.5, min_trials=2)
GO, CUT = TrialScheduler.CONTINUE, TrialScheduler.STOP


def report(number: int, fitness: float | None) -> dict[str, Any]:
    return actor._at_rung(RungResult(1, 5, TrialResult(number, fitness, "cut", 1.0, {})))


def decisions(scheduler: RungScheduler, reports: list[dict[str, Any]]) -> list[str]:
    return [scheduler.on_trial_result(None, None, one) for one in reports]


def test_the_worse_half_is_cut_and_a_logged_step_goes_on() -> None:
    scheduler = RungScheduler(RULE, [])
    reports = [report(0, 3.0), report(1, 4.0), report(2, None), report(3, 2.0)]
    assert decisions(scheduler, reports) == [GO, CUT, CUT, GO]
    assert decisions(scheduler, [{"done": False, "steps": 3}]) == [GO]


def test_a_trial_that_comes_again_is_not_its_own_rival() -> None:
    scheduler = RungScheduler(RULE, [])
    assert decisions(scheduler, [report(0, 3.0), report(0, 4.0), report(0, 5.0)]) == [GO, GO, GO]


def test_what_an_earlier_session_saw_counts() -> None:
    earlier = TrialRow(0, "", "complete", 1.0, None, 1.0, {"rung1": 3.0}, {})
    assert decisions(RungScheduler(RULE, [earlier]), [report(1, 4.0)]) == [CUT]


@pytest.mark.parametrize("fitness", [2.5, None])
def test_what_the_scheduler_sees_is_plain_and_says_the_step(fitness: float | None) -> None:
    plain = report(7, fitness)
    assert plain["fitness"] == (math.inf if fitness is None else fitness)
    assert (plain["number"], plain["steps"], plain["rung"]) == (7, 5, "rung1")
    assert asdict(TrialResult(7, fitness, "cut", 1.0, {}))["reason"] in plain["cut"]


def test_a_search_cuts_those_behind_and_tells_them_as_pruned(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    mine = tmp_path / "mine.py"  # our own ties trials as small as these
    mine.write_text("def fitness(x):\n    return float(x.clean_ND.double().mean())\n", "utf-8")
    keys: dict[str, Any] = {"fitness": {"name": str(mine)}}
    run = make_run(tmp_path / "run", tiny_videos, tiny_cache, **keys)
    genotype = Genotype.of({"simclr.rgb": (0.0, 1.0), "arrow_of_time.rgb": (0.1, 1.0)})
    template = TrialSpec(0, {}, run, 4, log_every=1, rungs=(2,))
    said: list[tuple[int, int]] = []
    with Study.create(Path(run.folder), genotype, Sampler(name="random"), 0) as study:
        run_trials(
            study,
            template,
            6,
            session,
            Resources(max_concurrent=1),
            stopping=RULE,
            on_steps=lambda done, total: said.append((done, total)),
        )
        rows = study.rows()
    scores = [row.indicators["rung1"] for row in rows]
    expected = [
        "complete" if is_promoted(score, scores[:i], RULE) else "pruned"
        for i, score in enumerate(scores)
    ]
    assert [row.status for row in rows] == expected
    assert {"complete", "pruned"} == set(expected), "both happen"
    for row in rows:
        folder = Path(run.folder) / "trials" / str(row.trial)
        assert len(read_history(folder / "history.jsonl")) == (4 if row.status == "complete" else 2)
        if row.status == "pruned":
            assert row.fitness == row.indicators["rung1"]
            assert row.reason == "cut short at step 2 of 4"
            assert not (folder / "checkpoint").exists()
    assert said[-1] == (24, 24)
