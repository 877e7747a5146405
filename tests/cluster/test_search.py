"""A whole search on a real local Ray: from videos to an encoder, and its resume."""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from evossl import load_encoder
from evossl.cluster import final_phase
from evossl.cluster import search as search_module
from evossl.cluster.final_phase import SearchOutcome, race_best
from evossl.cluster.search import run_search
from evossl.cluster.search_job import Reporter, SearchJob, SearchPlan
from evossl.cluster.session import Session
from evossl.config import Resources
from evossl.experiment.run_folder import read_run, write_run
from evossl.experiment.selected_checkpoint import NUM_SCORES
from evossl.experiment.trial_spec import TrialResult, TrialSpec
from evossl.report import write_report
from evossl.search.study import Study
from evossl.search.table import TrialRow, read_table
from evossl.training.history import read_history
from evossl.types import Progress
from tests.helpers.tiny_runs import WEIGHTS, make_info, make_run, tiny_space
from tests.helpers.trial_specs import RUN

PLAN = SearchPlan(trials=3, steps=2, final_steps=2, top=2)
CONTROLS = {*(f"random init {i}" for i in range(5)), "noise", "zipf blobs", "colour grid"}


class Recorder:
    """Records what a search reports: its messages, and its progress by title."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.progress: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def progress_bar(self, title: str) -> Iterator[Progress]:
        points = self.progress.setdefault(title, [])
        yield lambda done, total: points.append((done, total))

    @property
    def reporter(self) -> Reporter:
        return Reporter(self.progress_bar, self.messages.append)


@dataclass(frozen=True)
class FinishedSearch:
    """A search that has ended."""

    folder: Path
    outcome: SearchOutcome
    recorder: Recorder

    @property
    def trials(self) -> list[TrialRow]:
        """The complete trials, best first."""
        rows = read_table(self.folder / "trials.parquet")
        complete = [row for row in rows if row.status == "complete"]
        return sorted(complete, key=lambda row: (row.fitness, row.trial))


class OneThreadSession(Session):
    """The same Ray, whose jobs have one CPU each.

    Jobs of two threads are many times slower on two cores that run other tests at the same time.
    """

    def divide_cpus(self, resources: Resources, num_jobs: int) -> Resources:
        return resources


def search(folder: Path, plan: SearchPlan, session: Session) -> FinishedSearch:
    recorder = Recorder()
    session = OneThreadSession(session.dashboard, session.is_local)
    outcome = run_search(folder, read_run(folder), plan, session, recorder.reporter)
    return FinishedSearch(folder, outcome, recorder)


def modification_times(folder: Path) -> dict[str, int]:
    """When each file of the trainings was last written."""
    files = [p for name in ("winner*", "trials", "reruns") for p in folder.glob(f"{name}/**/*")]
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_videos: Path, tiny_cache: Path, session: Session
) -> FinishedSearch:
    """A search without measured gradient scales at its start, one trial at a time."""
    folder = tmp_path_factory.mktemp("search") / "run"
    make_run(folder, tiny_videos, tiny_cache, resources={"max_concurrent": 1})
    info = make_info(tiny_videos, tiny_cache, resources={"max_concurrent": 1})
    write_run(folder, replace(info, gradient_scales={}))
    return search(folder, PLAN, session)


def test_the_table_has_all_controls_and_trials(finished: FinishedSearch) -> None:
    rows = read_table(finished.folder / "trials.parquet")
    assert {row.name for row in rows if row.status == "control"} == CONTROLS
    assert sorted(row.trial for row in finished.trials) == [0, 1, 2]
    assert next(row.name for row in rows if row.trial == 0) == "equal weights"


def test_without_a_verdict_set_the_verdict_is_unknown(finished: FinishedSearch) -> None:
    verdict = finished.outcome.verdict
    assert verdict.outcome == "cannot_tell"
    assert "With 27 videos, none could be kept aside" in verdict.line
    record = json.loads((finished.folder / "verdict.json").read_text())
    assert record["line"] == verdict.line
    assert record["scores"] == {"encoders": [], "controls": []}


def equal_weights(finished: FinishedSearch) -> str:
    """What the title of the final trainings says if equal weights are not the winner."""
    return "" if finished.trials[0].trial == 0 else " and equal weights"


def test_progress_is_reported_for_every_stage(finished: FinishedSearch) -> None:
    progress = finished.recorder.progress
    eight = [(i, 8) for i in range(1, 9)]
    assert progress["measuring each loss's gradient scale"] == eight
    assert progress["scoring the controls: random inits, noise, blobs, colours"] == eight
    assert progress["searching, 3 trials"][-1] == (6, 6)
    finals = [title for title in progress if title.startswith("training the best 2 trials")]
    assert finals == [f"training the best 2 trials{equal_weights(finished)}, 2 steps"]
    done, total = progress[finals[0]][-1]
    assert done == total == (6 if equal_weights(finished) else 4)


def test_measured_gradient_scales_are_stored(finished: FinishedSearch) -> None:
    scales = read_run(finished.folder).gradient_scales
    assert scales.keys() == WEIGHTS.keys()
    assert all(scale > 0 for scale in scales.values())


def test_the_best_and_the_last_checkpoint_are_kept(finished: FinishedSearch) -> None:
    kept = {path.parent.name for path in (finished.folder / "trials").glob("*/checkpoint")}
    assert kept == {*(str(row.trial) for row in finished.trials[:2]), "2"}


def test_a_search_evolves_genes_and_records_them(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    keys = {
        "optimiser": {"lr": {"low": 0.0005, "high": 0.02, "log": True}},
        "training": {"batch_size": 4, "accumulate": [1, 3]},
        "sampler": {"name": "cmaes", "population": 4},
        "resources": {"max_concurrent": 1},
    }
    folder = tmp_path / "run"
    make_run(folder, tiny_videos, tiny_cache, **keys)
    search(folder, replace(PLAN, trials=3), session)
    found = search(folder, replace(PLAN, trials=6, top=1), session)  # resumed, with more trials
    rows = {row.trial: row for row in found.trials}
    names = ("optimiser.lr", "training.accumulate")
    assert rows[0].genes == dict(zip(names, (0.001, 1), strict=True))
    assert len({row.genes["optimiser.lr"] for row in rows.values()}) >= 4  # bounds may recur
    assert {type(row.genes["training.accumulate"]) for row in rows.values()} == {int}
    for number, row in rows.items():  # the history says what the trial trained with
        *_, last = read_history(folder / "trials" / str(number) / "history.jsonl")
        assert 0 < last["lr"] <= row.genes["optimiser.lr"]
    summary = json.loads((folder / "winner" / "winner.json").read_text())
    assert summary["genes"] == found.trials[0].genes
    config = json.loads((folder / "winner" / "encoder" / "config.json").read_text())
    assert config["provenance"]["genes"] == summary["genes"]
    assert "optimiser.lr" in write_report(folder).read_text(encoding="utf-8")


def test_the_winners_are_exported_in_order(finished: FinishedSearch) -> None:
    folders = [finished.folder / name for name in ("winner", "winner-2")]
    assert finished.outcome.encoders == [folder / "encoder" for folder in folders]
    for folder, row in zip(folders, finished.trials, strict=False):
        summary = json.loads((folder / "winner.json").read_text())
        training = json.loads((folder / "training.json").read_text())
        assert summary["trial"] == training["trial"] == row.trial
        assert training["result"]["number"] == row.trial


def test_the_winner_loads_and_warns_if_it_beats_nothing(finished: FinishedSearch) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        encoder = load_encoder(finished.outcome.encoders[0])
    warned = any(str(finished.outcome.verdict.warning) in str(w.message) for w in caught)
    assert warned
    embedding_BD = encoder(torch.zeros(2, 3, 4, 32, 32))
    assert embedding_BD.shape[0] == 2
    assert torch.isfinite(embedding_BD).all()


def test_a_resume_of_a_finished_search_repeats_nothing(
    finished: FinishedSearch, session: Session
) -> None:
    before, rows = modification_times(finished.folder), finished.trials
    again = search(finished.folder, PLAN, session)
    assert again.outcome == finished.outcome
    assert modification_times(finished.folder) == before
    assert again.trials == rows


def test_reruns_have_other_seeds_and_the_best_mean_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_finals(specs: Sequence[TrialSpec], *_: object) -> list[TrialResult]:
        runs.append([(spec.number, spec.seed) for spec in specs])
        found = (scores[spec.number] for spec in specs)
        return [TrialResult(0, fitness, None, 1.0, {}) for fitness in found]

    runs: list[list[tuple[int, int | None]]] = []
    scores = {0: 3.0, 1: None, 2: 1.0, 3: 1.1}
    monkeypatch.setattr(final_phase, "run_finals", run_finals)
    plan, session = replace(PLAN, max_reruns=6), Session(None, is_local=True)
    recorder = Recorder()
    job = SearchJob(RUN, tiny_space(), plan, session, recorder.reporter)
    rows = [TrialRow(i, "", "complete", 1 + 0.1 * i, weights=WEIGHTS) for i in range(4)]
    racers = race_best(job, rows)
    assert runs == [[(0, 1), (1, 1), (2, 1), (3, 1)], [(2, 2), (3, 2)]]
    assert [racer.row.trial for racer in racers] == [2, 3, 0, 1]
    assert "trial 2 with 3 seeds: fitness 1.200, 1.000, 1.000" in recorder.messages


def test_reruns_are_part_of_the_trial_budget() -> None:
    plan = SearchPlan(trials=12, steps=2, final_steps=2, max_reruns=3)
    assert (plan.num_new, plan.round_sizes) == (9, [3])
    assert replace(plan, max_reruns=0).num_new == 12


@pytest.mark.slow
def test_a_larger_budget_continues_the_search(finished: FinishedSearch, session: Session) -> None:
    rows = read_table(finished.folder / "trials.parquet")
    plan = replace(PLAN, trials=6, final_steps=3, max_reruns=2)
    larger = search(finished.folder, plan, session)
    after = read_table(finished.folder / "trials.parquet")
    assert after[: len(rows)] == rows
    assert len(after) == len(rows) + 1
    reruns = sorted((finished.folder / "reruns").glob("*/training.json"))
    assert len(reruns) == 2
    assert larger.outcome.verdict.evidence.num_compared == 4 + 2 + NUM_SCORES


@pytest.mark.slow
def test_trials_of_a_budget_of_passes_cost_the_same(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    training = {"batch_size": 4, "prune_below": 0.5}
    make_run(tmp_path / "run", tiny_videos, tiny_cache, training=training)
    plan = SearchPlan(6, steps=4, final_steps=6, passes=36, final_passes=54)
    search(tmp_path / "run", plan, session)
    rows = [row for row in read_table(tmp_path / "run" / "trials.parquet") if row.fitness]
    rows = [row for row in rows if not row.is_control]
    assert {round(row.indicators["passes"]) for row in rows} == {36}
    assert len({row.indicators["steps"] for row in rows}) > 1, "some trials pruned a loss"
    for folder in ("winner", "equal_weights"):
        file = tmp_path / "run" / folder / "training.json"
        if file.is_file():  # equal weights are not trained again if they won
            result = json.loads(file.read_text(encoding="utf-8"))["result"]
            assert round(result["indicators"]["passes"]) == 54


@pytest.mark.slow
def test_missing_controls_are_added_once(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, session: Session
) -> None:
    make_run(tmp_path / "run", tiny_videos, tiny_cache)
    with search_module._open_study(tmp_path / "run", read_run(tmp_path / "run")) as study:
        study.add_control("random_init", "random init 0", 1.25, None, {}, 0.5)
    search(tmp_path / "run", replace(PLAN, trials=1, top=1), session)
    with Study.open(tmp_path / "run") as study:
        names = [row.name for row in study.rows() if row.status == "control"]
        assert sorted(names) == sorted(CONTROLS)
        assert study.rows()[0].fitness == 1.25
