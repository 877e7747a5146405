"""Trials on a real local Ray: failures are rows, deaths are tried again, actors stay warm."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evossl.cluster.run import run_list, run_trials
from evossl.cluster.searcher import DIED
from evossl.cluster.session import Session
from evossl.config import Resources, Sampler
from evossl.errors import RunError
from evossl.experiment.context import RunSpec
from evossl.experiment.trial import TrialSpec, run_trial
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from tests.helpers.tiny_runs import make_run

ONE_AT_A_TIME = Resources(max_concurrent=1)
TASKS = {"moody": {"places": ["rgb"]}, "simclr": {"places": ["rgb"], "weight": 0.5}}
Moods = Callable[[str], Path]


def moody_run(folder: Path, videos: Path, cache: Path, tasks: Path) -> RunSpec:
    run = make_run(folder, videos, cache, tasks=TASKS, tasks_folder=str(tasks))
    return replace(run, scales={"moody.rgb": 1.0, "simclr.rgb": 1.0})


def search(
    run: RunSpec, session: Session, num_trials: int, keep: int = 1
) -> tuple[list[TrialRow], list[tuple[int, int]]]:
    """Run a random search of the moody task's weight; return the rows and the progress said."""
    genotype = Genotype.of({"moody.rgb": (0.5, 1.0), "simclr.rgb": 0.5})
    said: list[tuple[int, int]] = []
    with Study.create(Path(run.folder), genotype, Sampler(name="random"), 0) as study:
        run_trials(
            study,
            TrialSpec(0, {}, run, 2, log_every=1),
            num_trials,
            session,
            ONE_AT_A_TIME,
            keep=keep,
            on_steps=lambda done, total: said.append((done, total)),
        )
        return study.rows(), said


def log_of(tasks: Path) -> list[tuple[str, str]]:
    return [tuple(line.split()) for line in (tasks / "log").read_text().splitlines()]  # type: ignore[misc]


def test_failures_are_rows_a_death_is_tried_again_and_one_warm_process_runs_them_all(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session, moody_tasks: Moods
) -> None:
    tasks = moody_tasks("fine raise nan fine die fine fine")
    run = moody_run(tmp_path / "run", tiny_videos, tiny_cache, tasks)
    rows, said = search(run, session, num_trials=6)
    assert [row.status for row in rows] == ["complete", "failed", "failed", *["complete"] * 3]
    assert str(rows[1].reason).startswith("ValueError: not today (moody.py:")
    assert rows[2].reason == "the loss of moody.rgb is not finite at step 2"
    processes, moods = zip(*log_of(tasks), strict=True)
    assert moods == ("fine", "raise", "nan", "fine", "die", "fine", "fine")  # 6 trials, one twice
    assert len(set(processes[:5])) == 1  # warm, and --max-concurrent 1 is kept to
    assert len(set(processes[5:])) == 1
    assert processes[4] != processes[5]
    history = (Path(run.folder) / "trials" / "4" / "history.jsonl").read_text().splitlines()
    assert len(history) == 2  # the first try's lines are gone
    dones = [done for done, _ in said]
    assert dones == sorted(dones)
    assert {total for _, total in said} == {12}
    assert dones[-1] == 12
    table = read_table(Path(run.folder) / "trials.parquet")
    assert [(r.trial, r.status, r.fitness) for r in table] == [
        (r.trial, r.status, r.fitness) for r in rows
    ]
    kept = {p.parent.name for p in (Path(run.folder) / "trials").glob("*/checkpoint")}
    complete = [row for row in rows if row.fitness is not None]
    best = min(complete, key=lambda row: (row.fitness, row.trial))
    assert kept == {str(best.trial), "5"}  # the best and the last


@pytest.mark.slow
def test_after_three_deaths_a_trial_is_failed_and_the_search_goes_on(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session, moody_tasks: Moods
) -> None:
    tasks = moody_tasks("die die die fine")
    run = moody_run(tmp_path / "run", tiny_videos, tiny_cache, tasks)
    rows, said = search(run, session, num_trials=2)
    assert [(row.status, row.reason) for row in rows] == [("failed", DIED), ("complete", None)]
    assert said[-1] == (4, 4)
    assert len(log_of(tasks)) == 4


def test_a_machines_fault_stops_the_search_with_its_words_and_no_trial_is_failed(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session, moody_tasks: Moods
) -> None:
    run = moody_run(tmp_path / "run", tiny_videos, tiny_cache, moody_tasks(""))
    (Path(run.folder) / "trials").mkdir()
    (Path(run.folder) / "trials" / "1").write_text("in the way", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        search(run, session, num_trials=3)
    with Study.open(Path(run.folder)) as study:
        assert [row.status for row in study.rows()] == ["complete", "running"]  # asked again


def test_given_trials_come_back_in_their_order_whole_and_with_the_drivers_relative_paths(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    """Tune copies configs, flattens results and changes folders; none of it is seen."""
    mine = tmp_path / "mine.py"
    mine.write_text("def fitness(x):\n    return float(x.clean_ND.double().mean())\n", "utf-8")
    keys: dict[str, Any] = {"fitness": {"name": os.path.relpath(mine)}}
    run = make_run(tmp_path / "run", tiny_videos, tiny_cache, **keys)
    weights = [{"simclr.rgb": w, "arrow_of_time.rgb": 1 - w} for w in (0.0, 0.25)]
    specs = [TrialSpec(n, weights[n % 2], run, 1) for n in (7, 4)]
    results = run_list(specs, session, ONE_AT_A_TIME)
    assert [result.number for result in results] == [7, 4]
    for spec, there in zip(specs, results, strict=True):
        here = run_trial(replace(spec, folder=str(tmp_path / "here")))
        assert there.fitness == pytest.approx(here.fitness, rel=1e-4)
        assert there.indicators.keys() == here.indicators.keys()
    assert run_list([], session, ONE_AT_A_TIME) == []
