"""A whole search on a real local Ray: from videos to an encoder, and a resume that repeats none."""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evossl import load_encoder
from evossl.cluster.search import SearchOutcome, SearchPlan, run_search
from evossl.cluster.session import Session
from evossl.experiment.run_folder import read_run, write_run
from evossl.search.study import Study
from evossl.search.table import read_table
from tests.helpers.tiny_runs import make_info, make_run

PLAN = SearchPlan(trials=3, steps=2, final_steps=2, top=1, repeats=1)
CONTROLS = {*(f"random init {i}" for i in range(5)), "noise", "zipf blobs", "colour grid"}


class TrialStatus:
    """What a search printed, and the progress it showed, by bar."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.progress: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        points = self.progress.setdefault(what, [])
        yield lambda done, total: points.append((done, total))


def search(folder: Path, plan: SearchPlan, session: Session) -> tuple[SearchOutcome, TrialStatus]:
    told = TrialStatus()
    found = run_search(folder, read_run(folder), plan, session, bar=told.bar, say=told.lines.append)
    return found, told


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path) -> Path:
    """A claimed run whose scales are not measured yet, one trial at a time."""
    folder = tmp_path_factory.mktemp("search") / "run"
    make_run(folder, tiny_videos, tiny_cache, resources={"max_concurrent": 1})
    info = make_info(tiny_videos, tiny_cache, resources={"max_concurrent": 1})
    write_run(folder, replace(info, scales={}))
    return folder


def test_a_search_ends_with_a_table_a_verdict_and_an_encoder_and_a_resume_repeats_nothing(
    begun: Path, session: Session
) -> None:
    found, told = search(begun, PLAN, session)
    rows = read_table(begun / "trials.parquet")
    assert {row.name for row in rows if row.status == "control"} == CONTROLS
    trials = [row for row in rows if row.status == "complete"]
    assert [row.trial for row in trials] == [0, 1, 2]
    assert trials[0].name == "equal weights"
    best = min(trials, key=lambda row: (row.fitness, row.trial))
    assert (found.verdict.trial, found.verdict.fitness) == (best.trial, best.fitness)
    assert found.verdict.rerun_sd is not None
    assert told.lines[-1] == found.verdict.line
    assert all(scale > 0 for scale in read_run(begun).scales.values())
    assert told.progress["measuring each loss's gradient scale"] == [(i, 8) for i in range(1, 9)]
    controls = told.progress["scoring the controls: random inits, noise, blobs, colours"]
    assert controls == [(i, 8) for i in range(1, 9)]
    assert told.progress["searching, 3 trials"][-1] == (6, 6)
    kept = {path.parent.name for path in (begun / "trials").glob("*/checkpoint")}
    assert kept == {str(best.trial), "2"}

    [folder] = found.encoders
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        encoder = load_encoder(folder)
    said = [str(w.message) for w in caught if "CONTROLS" in str(w.message)]
    assert bool(said) == (not found.verdict.beats_controls)
    embedding_BD = encoder(torch.zeros(2, 3, 4, 32, 32))
    assert embedding_BD.shape[0] == 2
    assert torch.isfinite(embedding_BD).all()
    assert json.loads((begun / "winner" / "winner.json").read_text())["trial"] == best.trial

    before = stamps(begun / "winner") | stamps(begun / "trials") | stamps(begun / "reruns")
    again, told = search(begun, PLAN, session)
    assert again == found
    assert stamps(begun / "winner") | stamps(begun / "trials") | stamps(begun / "reruns") == before
    assert read_table(begun / "trials.parquet") == rows


@pytest.mark.slow
def test_a_grown_budget_goes_on_and_another_winner_is_trained_anew(
    begun: Path, session: Session
) -> None:
    search(begun, PLAN, session)
    rows = read_table(begun / "trials.parquet")
    grown, _ = search(begun, replace(PLAN, trials=4, final_steps=3), session)
    after = read_table(begun / "trials.parquet")
    assert after[: len(rows)] == rows
    assert len(after) == len(rows) + 1
    summary = json.loads((begun / "winner" / "winner.json").read_text())
    assert (summary["trial"], summary["steps"]) == (grown.verdict.trial, 3)


@pytest.mark.slow
def test_controls_that_a_kill_cut_short_are_completed_once(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    from evossl.cluster.search import _open_study

    make_run(tmp_path / "run", tiny_videos, tiny_cache)
    with _open_study(tmp_path / "run", read_run(tmp_path / "run")) as study:
        study.add_control("random init 0", 1.25, None, {}, 0.5)
    search(tmp_path / "run", replace(PLAN, trials=1, repeats=0), session)
    with Study.open(tmp_path / "run") as study:
        names = [row.name for row in study.rows() if row.status == "control"]
        assert sorted(names) == sorted(CONTROLS)
        assert study.rows()[0].fitness == 1.25
