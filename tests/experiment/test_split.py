"""Which videos a run trains on and holds out, and how undecodable ones are quarantined."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from evossl.cli import data as cli_data
from evossl.cli.data import prepare_videos
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, Video, build_index, load_index
from evossl.errors import RunError, UserError
from evossl.experiment.context import RunContext
from evossl.experiment.split import (
    MIN_VIDEOS,
    MIN_VIDEOS_FOR_VERDICT,
    quarantine_undecodable,
    split_videos,
)
from evossl.experiment.trial import run_trial
from evossl.experiment.trial_spec import TrialSpec
from tests.helpers.tiny_runs import WEIGHTS, make_info, make_run


def video(name: str, group: str | None = None) -> Video:
    return Video(name, None, group or name, 1.0, 12.0, 12, 32, 32, True, 1000, 1)


def names(videos: list[Video], rows: tuple[int, ...]) -> set[str]:
    return {videos[row].path for row in rows}


@pytest.mark.parametrize("num_videos", [240, 1200])
def test_three_disjoint_sets_hold_all_videos(num_videos: int) -> None:
    videos = [video(f"v{i}") for i in range(num_videos)]
    split = split_videos(videos, max_clips=512)
    sizes = [len(rows) for rows in (split.train, split.selection, split.verdict)]
    assert sizes == [num_videos // 2, num_videos // 4, num_videos // 4]
    assert sorted(split.train + split.held_out) == list(range(num_videos))
    few = split_videos(videos, max_clips=40)
    assert [len(few.selection), len(few.verdict)] == [40, 40]


def test_few_videos_leave_none_for_the_verdict() -> None:
    videos = [video(f"v{i}") for i in range(MIN_VIDEOS_FOR_VERDICT - 1)]
    split = split_videos(videos, max_clips=512)
    assert split.verdict == ()
    assert len(split.selection) == 80
    assert sorted(split.train + split.selection) == list(range(len(videos)))
    assert len(split_videos(videos, max_clips=12).selection) == 12


def test_two_large_groups_leave_none_for_the_verdict() -> None:
    videos = [video(f"v{i}", group=f"g{i % 2}") for i in range(300)]
    split = split_videos(videos, max_clips=512)
    assert [len(split.train), len(split.selection), len(split.verdict)] == [150, 150, 0]
    three = [video(f"v{i}", group=f"g{i % 3}") for i in range(300)]
    assert [len(split_videos(three, 512).verdict)] == [100]


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_group_is_never_divided(size: int) -> None:
    videos = [video(f"v{i}", group=f"g{i // size}") for i in range(240)]
    split = split_videos(videos, max_clips=512)
    sets = (split.train, split.selection, split.verdict)
    groups = [{videos[row].group for row in rows} for rows in sets]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert abs(len(split.selection) - 60) < size
    assert abs(len(split.verdict) - 60) < size


def test_the_split_depends_on_group_names_only() -> None:
    videos = [video(f"v{i}", group=f"g{i // 2}") for i in range(240)]
    split = split_videos(videos, max_clips=512)
    shuffled = random.Random(0).sample(videos, len(videos))
    moved = [replace(v, seconds=9.0, label="x", mtime_ns=7) for v in shuffled]
    again = split_videos(moved, max_clips=512)
    assert names(moved, again.selection) == names(videos, split.selection)
    assert names(moved, again.verdict) == names(videos, split.verdict)


def test_too_few_videos_or_groups_are_refused() -> None:
    with pytest.raises(UserError, match=f"{MIN_VIDEOS - 1} readable videos; a run needs at least"):
        split_videos([video(f"v{i}") for i in range(MIN_VIDEOS - 1)], 512)
    split_videos([video(f"v{i}") for i in range(MIN_VIDEOS)], 512)
    with pytest.raises(UserError, match="finer `group` column"):
        split_videos([video(f"v{i}", group="one") for i in range(60)], 512)


def test_quarantine_keeps_the_row_and_the_first_reason(tiny_videos: Path) -> None:
    index = build_index(str(tiny_videos), None, workers=1)
    first, second = index.videos[:2]
    after = index.quarantine({first.path: "not one frame", "/not/there": "x"})
    assert after.quarantined == [(first.path, "not one frame")]
    assert after.videos == index.videos[1:]
    assert after.table.schema == index.table.schema
    assert after.table.num_rows == index.table.num_rows
    again = after.quarantine({first.path: "another reason", second.path: "truncated"})
    assert again.quarantined == [(first.path, "not one frame"), (second.path, "truncated")]


@pytest.fixture
def treacherous(tiny_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Videos of which one held-out and one training video become undecodable after the probe."""
    folder = tmp_path / "videos"
    shutil.copytree(tiny_videos, folder)
    plain = cli_data.make_index

    def break_two(source: str, out: Path | None, workers: int) -> Index:
        index = plain(source, out, workers)
        split = split_videos(index.videos, 512)
        for row in (split.held_out[0], split.train[0]):
            Path(index.videos[row].path).write_bytes(b"\x00" * 4000)
        return index

    monkeypatch.setattr(cli_data, "make_index", break_two)
    return folder


def test_a_trial_runs_without_undecodable_videos(
    treacherous: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", treacherous, tmp_path / "cache")
    assert "2 set aside" in capfd.readouterr().err
    index = load_index(run.manifest)
    assert len(index.quarantined) == 2
    assert len(index.videos) == 25
    context = RunContext.open(run)
    assert context.data.num_videos == 25
    result = run_trial(TrialSpec(0, WEIGHTS, run, 1), context)
    assert result.reason is None
    assert context.data.train.failed == {}


def test_a_small_cache_still_finds_undecodable_videos(treacherous: Path, tmp_path: Path) -> None:
    keys = {"cache": {"fps": 12, "short_side": 32, "max_seconds": 2, "limit_gb": 0.0004}}
    run = make_run(tmp_path / "run", treacherous, tmp_path / "cache", **keys)
    context = RunContext.open(run)
    held_out = context.data.selection
    assert len(held_out.loader.clips(range(len(held_out.videos)), 0)) == len(held_out.videos)
    assert load_index(run.manifest).quarantined


def test_a_run_that_has_begun_keeps_its_videos(tiny_videos: Path, tmp_path: Path) -> None:
    """New files are ignored. A lost file ends the run: its trials could not be compared."""
    folder, cache = tmp_path / "videos", tmp_path / "cache"
    shutil.copytree(tiny_videos, folder)
    run = make_run(tmp_path / "run", folder, cache)
    before = Path(run.manifest).read_bytes()
    source = next(folder.rglob("*.mp4"))
    shutil.copy(source, source.with_name("new.mp4"))
    space = make_info(folder, cache).parsed_space
    arguments = (str(folder), Path(run.manifest), cache, space, 1)
    prepare_videos(*arguments, has_begun=True)
    assert Path(run.manifest).read_bytes() == before
    shutil.rmtree(cache)
    source.unlink()
    with pytest.raises(RunError, match=f"{source.name}: .*this run began with the video"):
        prepare_videos(*arguments, has_begun=True)
    assert Path(run.manifest).read_bytes() == before


def test_quarantine_ends_when_too_few_videos_are_left(tiny_videos: Path, tmp_path: Path) -> None:
    index = build_index(str(tiny_videos), None, workers=1)
    gone = index.quarantine({v.path: "x" for v in index.videos[: len(index.videos) - MIN_VIDEOS]})
    scored = split_videos(gone.videos, 512).held_out[0]
    lost = replace(gone.videos[scored])
    shutil.copytree(tiny_videos, tmp_path / "videos")
    store = ClipCache(tmp_path / "cache", make_info(tiny_videos, tmp_path).parsed_space.cache)

    def prepare(videos: list[Video]) -> dict[str, str]:
        return {v.path: "not one frame" for v in videos if v.path == lost.path}

    store.prepare = prepare  # type: ignore[method-assign, assignment]
    with pytest.raises(UserError, match="readable videos; a run needs at least"):
        quarantine_undecodable(gone, store, 512)
