"""Starting and resuming runs: what may change, and what is refused without changing a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evossl.errors import RunError, UserError
from evossl.experiment.run_folder import RunInfo, open_run, read_run, removed_if_refused
from evossl.io.yaml_file import dump_yaml, parse_yaml
from tests.helpers.tiny_runs import make_info

HERE = Path("/videos")


def info(**keys: Any) -> RunInfo:
    return make_info(HERE, Path("/cache"), **keys)


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A run folder with a journal and a trial."""
    folder = tmp_path / "run"
    open_run(folder, info(), resume=False)
    (folder / "study.journal").write_bytes(b"the journal\n")
    (folder / "trials" / "0").mkdir(parents=True)
    (folder / "trials" / "0" / "history.jsonl").write_bytes(b"{}\n")
    return folder


def test_data_paths_are_compared_after_resolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "videos")
    monkeypatch.chdir(tmp_path)
    first = replace(info(), data="videos")
    open_run(tmp_path / "run", first, resume=False)
    for name in ("videos/", "./videos", "linked", str(tmp_path / "videos")):
        assert open_run(tmp_path / "run", replace(first, data=name), resume=True).data == "videos"
    with pytest.raises(UserError, match="if the videos have moved, put a link at their old place"):
        open_run(tmp_path / "run", replace(first, data="moved"), resume=True)


def test_a_new_run_records_its_settings_and_versions(tmp_path: Path) -> None:
    claimed = open_run(tmp_path / "new" / "run", info(seed=3), resume=False)
    there = read_run(tmp_path / "new" / "run")
    assert there == claimed
    assert there.seed == 3
    assert there.created
    assert {"python", "evossl", "torch"} <= there.versions.keys()
    assert there.parsed_space == info().parsed_space


def test_an_existing_run_is_refused_without_resume(begun: Path) -> None:
    before = everything(begun)
    with pytest.raises(UserError, match="there is a run already; add --resume"):
        open_run(begun, info(), resume=False)
    assert everything(begun) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(UserError, match=r"holds other files \(thesis\.txt\)"):
        open_run(tmp_path, info(), resume)
    assert everything(tmp_path) == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="this is a file"):
        open_run(path, info(), resume=False)
    assert path.read_text() == "mine"


OTHERS = {
    "seed: 0 in the folder, 1 given": info(seed=1),
    "data: /videos in the folder, /films given": make_info(Path("/films"), Path("/cache")),
    "space.ignores: ": info(ignores=["time"]),
    "space.backbone: ": info(backbone={"depth": 18, "width": 8}),
    "space.sampler: ": info(sampler={"name": "ga"}),
    "steps: 2 in the folder, 5 given": info(budget={"trials": 3, "steps": 5, "final_steps": 2}),
    "tasks_folder: None in the folder, /mine given": info(tasks_folder="/mine"),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_a_resume_lists_differences_and_changes_no_file(begun: Path, difference: str) -> None:
    before = everything(begun)
    with pytest.raises(UserError) as refusal:
        open_run(begun, OTHERS[difference], resume=True)
    assert difference in str(refusal.value)
    assert str(refusal.value).count(" given") == 1  # no other difference is listed
    assert everything(begun) == before


def test_a_resume_of_the_same_run_changes_no_file(begun: Path) -> None:
    before = everything(begun)
    stored = read_run(begun)
    assert open_run(begun, replace(info(), command="evossl search --resume"), resume=True) == stored
    assert everything(begun) == before


def test_a_resume_may_change_budget_resources_device_cache(begun: Path) -> None:
    stored = read_run(begun)
    more = info(
        budget={"trials": 64, "steps": 2, "final_steps": 9}, resources={"max_concurrent": 4}
    )
    resumed = open_run(begun, replace(more, device="cuda", cache="/other"), resume=True)
    assert resumed == read_run(begun)
    assert resumed.parsed_space.budget.trials == 64
    assert resumed.parsed_space.resources.max_concurrent == 4
    assert (resumed.device, resumed.cache) == ("cuda", "/other")
    assert (resumed.created, resumed.gradient_scales) == (stored.created, stored.gradient_scales)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "space: {}\nsurprise: 1\n", "\x00"])
def test_a_damaged_run_file_is_named(begun: Path, text: str) -> None:
    (begun / "run.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.yaml: damaged"):
        open_run(begun, info(), resume=True)


def test_a_run_with_an_invalid_space_is_refused_by_key(begun: Path) -> None:
    raw = parse_yaml((begun / "run.yaml").read_text(), "run.yaml")
    del raw["space"]["budget"]
    raw["space"]["gone"] = 1
    (begun / "run.yaml").write_text(dump_yaml(raw), encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.yaml.*unknown key 'gone'"):
        open_run(begun, info(), resume=True)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)


def test_a_run_refused_before_it_began_leaves_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    unmeasured = replace(info(), gradient_scales={})
    open_run(folder, unmeasured, resume=False)
    with pytest.raises(UserError, match="too few"), removed_if_refused(folder):
        raise UserError("too few videos")
    assert not folder.exists()
    open_run(folder, unmeasured, resume=False)


def test_a_failed_resume_deletes_nothing(tmp_path: Path) -> None:
    """Another process may be using the run."""
    folder = tmp_path / "run"
    open_run(folder, replace(info(), gradient_scales={}), resume=False)
    before = everything(folder)
    with pytest.raises(RunError, match="busy"), removed_if_refused(folder, resume=True):
        raise RunError("this machine is very busy")
    assert everything(folder) == before


def test_a_run_that_has_begun_is_never_deleted(begun: Path) -> None:
    before = everything(begun)
    with pytest.raises(UserError, match="gone"), removed_if_refused(begun):
        raise UserError("a video is gone")
    assert everything(begun) == before
