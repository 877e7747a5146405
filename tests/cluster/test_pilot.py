"""The pilot as the first phase of a search, on a real local Ray."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from evossl.cluster import pilot as pilot_module
from evossl.cluster.pilot import longest_steps, pilot_weightings, run_pilot, with_pilot_steps
from evossl.cluster.search_job import Reporter, SearchJob, SearchPlan
from evossl.cluster.session import Session
from evossl.config import Budget
from evossl.errors import UserError
from evossl.experiment.pilot import NUM_WEIGHTINGS, PILOT_FILE, read_seconds_per_pass
from evossl.experiment.run_folder import RunInfo, open_run, read_run
from evossl.experiment.terms import search_genotype
from evossl.training.resolved_space import resolve_space
from tests.helpers.tiny_runs import make_info, make_run, tiny_space

AUTO = {"trials": 3, "steps": "auto", "final_steps": 8}
TWO_PLACES = {"simclr": {"places": ["rgb"]}, "arrow_of_time": {"places": ["rgb"]}}


class Recorder:
    """Records messages; shows no progress."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.reporter = Reporter(lambda title: nullcontext(lambda *_: None), self.messages.append)


def auto_run(folder: Path, videos: Path, cache: Path, **keys: object) -> RunInfo:
    make_run(folder, videos, cache, **{"budget": AUTO, **keys})
    return read_run(folder)


def test_auto_steps_are_found_once_and_stored(
    tmp_path: Path,
    tiny_videos: Path,
    tiny_cache: Path,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pilot_module, "MIN_CLIPS", 5)
    folder = tmp_path / "run"
    info = auto_run(folder, tiny_videos, tiny_cache)
    recorder = Recorder()
    found = with_pilot_steps(folder, info, session, recorder.reporter)
    assert found.parsed_space.budget.steps == longest_steps(8) == 2  # noise cannot be ranked
    assert any("CANNOT be ranked" in message for message in recorder.messages)
    assert read_run(folder).space["budget"]["steps"] == 2
    records = {f: f.stat().st_mtime_ns for f in (folder / "pilot").glob("*/training.json")}
    assert len(records) == 2 * NUM_WEIGHTINGS
    assert (read_seconds_per_pass(folder) or 0) > 0

    again = open_run(folder, make_info(tiny_videos, tiny_cache, budget=AUTO), resume=True)
    assert again.space["budget"]["steps"] == 2, "a resume keeps what the pilot found"
    assert with_pilot_steps(folder, again, session, recorder.reporter) == again
    run_pilot(folder, replace(again), session, recorder.reporter)
    assert {f: f.stat().st_mtime_ns for f in records} == records, "no training is repeated"

    plan = SearchPlan.of(resolve_space(found.parsed_space))
    job = SearchJob(
        pilot_module.RunSpec.of(folder, found), found.parsed_space, plan, session, recorder.reporter
    )
    assert (job.forecast_seconds(search_genotype(resolve_space(found.parsed_space))) or 0) > 0


def test_too_few_videos_for_a_pilot_are_refused(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path
) -> None:
    info = auto_run(tmp_path / "run", tiny_videos, tiny_cache)
    session, reporter = Session(None, is_local=False), Recorder().reporter
    with pytest.raises(UserError, match=r"budget.steps: auto .* give 9: .*\(--steps N\)"):
        with_pilot_steps(tmp_path / "run", info, session, reporter)


@pytest.mark.parametrize("budget", [{"steps": 5}, {"passes": 90}])
def test_no_pilot_runs_where_the_length_is_prescribed(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path, budget: dict[str, int]
) -> None:
    info = auto_run(tmp_path / "run", tiny_videos, tiny_cache, budget=budget)
    session = Session(None, is_local=True)
    assert with_pilot_steps(tmp_path / "run", info, session, Recorder().reporter) is info


def test_no_pilot_runs_where_nothing_evolves(
    tmp_path: Path, tiny_videos: Path, tiny_cache: Path
) -> None:
    info = auto_run(tmp_path / "run", tiny_videos, tiny_cache, tasks={"simclr": {"weight": 1.0}})
    session = Session(None, is_local=True)
    found = with_pilot_steps(tmp_path / "run", info, session, Recorder().reporter)
    assert found.space["budget"]["steps"] == 2
    assert not (tmp_path / "run" / PILOT_FILE).exists()


def test_pilot_weightings_are_trainable_and_differ() -> None:
    resolved = resolve_space(tiny_space(training={"batch_size": 4, "prune_below": 0.4}))
    found = pilot_weightings(resolved, 0)
    assert list(found)[:3] == ["equal", "single-1", "single-2"]
    assert len(found) == NUM_WEIGHTINGS
    assert len({tuple(weights.values()) for weights in found.values()}) == NUM_WEIGHTINGS
    assert found == pilot_weightings(resolved, 0)
    assert found != pilot_weightings(resolved, 1)


@pytest.mark.parametrize("steps", [0, -1, True, "automatic", 2.5])
def test_steps_are_a_number_or_auto(steps: object) -> None:
    with pytest.raises(ValueError, match="a number of steps, or auto"):
        Budget.model_validate({"steps": steps})
