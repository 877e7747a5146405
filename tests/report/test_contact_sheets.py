"""Contact sheets: frames from the cache side by side, or a grey tile with a reason."""

import base64
import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evossl.data.index.index import build_index
from evossl.io.files import write_json
from evossl.report import write_report
from evossl.report.contact_sheets import (
    GAP_WIDTH,
    MAX_HEIGHT,
    NUM_FRAMES,
    film_strip,
    frame_positions,
)
from tests.helpers.fabricated_runs import (
    VIDEOS,
    begin_run,
    fill_cache,
    videos_of,
    write_clusters,
    write_training,
)
from tests.helpers.parsed_pages import Page, WrittenReport, report_page


def test_each_cluster_has_a_row_of_its_examples(written: WrittenReport) -> None:
    sheets = written.page.by_id("sheets").all("ul", "sheet")
    assert len(sheets) == 6
    for i, sheet in enumerate(sheets):
        names = [node.attributes["title"] for node in sheet.all("span", "name")]
        assert names == VIDEOS[i::6][:8]


def test_a_strip_shows_a_clip_from_first_to_last_frame(written: WrittenReport) -> None:
    image = written.page.by_id("sheets").all("img")[0]
    assert image.attributes["title"] == VIDEOS[0]  # "left": the square is at column t of frame t
    pixels = decoded(image.attributes["src"])
    assert pixels.shape == (40, NUM_FRAMES * 54 + (NUM_FRAMES - 1) * GAP_WIDTH, 3)
    for number, t in enumerate((0, 8, 15, 23)):
        at = number * (54 + GAP_WIDTH)
        is_lit = pixels[18, at : at + 54].max(axis=1) > 100
        columns = np.flatnonzero(is_lit)
        assert abs(columns[0] - t) <= 1
        assert abs(columns[-1] - (t + 11)) <= 1


def test_a_clip_starts_where_its_example_says(tmp_path: Path) -> None:
    info = begin_run(tmp_path)
    fill_cache(info, videos_of(VIDEOS[:1]))
    found = {"shares": [1.0], "zipf": [1.0], "examples": [[{"path": VIDEOS[0], "start": 1.5}]]}
    write_json(tmp_path / "clusters.json", found)
    pixels = decoded(sheets_of(tmp_path).all("img")[0].attributes["src"])
    first = np.flatnonzero(pixels[18, :54].max(axis=1) > 100)[0]
    assert abs(first - 18) <= 1  # 1.5 s at 12 frames a second; JPEG blurs by a column
    last = np.flatnonzero(pixels[18, -54:].max(axis=1) > 100)[0]
    assert abs(last - 29) <= 1  # the video has 30 frames


def test_a_video_neither_cached_nor_on_disk_is_a_grey_tile(written: WrittenReport) -> None:
    tiles = written.page.by_id("sheets").all("div", "missing")
    shown = [path for i in range(6) for path in VIDEOS[i::6][:8]]
    deleted = [path for path in shown if path not in VIDEOS[:32]]
    assert len(tiles) == len(deleted) > 0
    assert {tile.text for tile in tiles} == {"No picture: the file no longer exists"}


def test_a_deleted_file_leaves_no_mark_in_the_cache(written: WrittenReport) -> None:
    assert not list((written.folder / "cache").rglob("*.fault"))


def test_without_manifest_or_cache_every_tile_says_so(tmp_path: Path) -> None:
    begin_run(tmp_path, cache="/proc/no/such/cache")
    write_training(tmp_path, ["simclr.rgb"], 50)
    page = report_page(tmp_path)
    assert len(page.by_id("sheets").all("div", "missing")) == 48
    (tmp_path / "manifest.parquet").unlink()
    page = report_page(tmp_path)
    tiles = page.by_id("sheets").all("div", "missing")
    assert {tile.text for tile in tiles} == {"No picture: the video is not in the manifest"}


def test_a_video_missing_in_the_cache_is_decoded(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("good.mp4", "bad.mp4"):
        write_brightening_video(videos / name)
    begin_run(tmp_path / "run")
    index = build_index(str(videos), workers=1)
    index.save(tmp_path / "run" / "manifest.parquet")
    (videos / "bad.mp4").write_bytes(b"\0" * 4000)
    write_clusters(tmp_path / "run", sorted(map(str, videos.iterdir())))
    page = sheets_of(tmp_path / "run")
    tiles = {node.one("span").text: node for node in page.all("li")}
    assert tiles["bad.mp4"].one("div").text.startswith("No picture: ")
    picture = decoded(tiles["good.mp4"].all("img")[0].attributes["src"])
    first, last = picture[:, :20].mean(), picture[:, -20:].mean()
    assert first < 60 < 150 < last  # the film brightens


def test_a_cached_video_is_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = begin_run(tmp_path)
    fill_cache(info, videos_of(VIDEOS))
    write_training(tmp_path, ["simclr.rgb"], 50)
    monkeypatch.setattr(
        "evossl.data.workers.pool.WorkerPool.run", lambda *_, **__: pytest.fail("decoded")
    )
    seen: list[tuple[int, int]] = []
    write_report(tmp_path, lambda done, total: seen.append((done, total)))
    assert not sheets_of(tmp_path).all("div", "missing")
    assert seen == [(done, 48) for done in range(1, 49)]


@given(st.integers(1, 500))
def test_frames_run_from_the_first_to_the_last(count: int) -> None:
    rows = frame_positions(count)
    assert rows[0] == 0
    assert rows[-1] == count - 1
    assert len(rows) == min(count, NUM_FRAMES)
    assert list(rows) == sorted(set(rows))


def test_large_frames_are_shrunk_and_small_ones_are_kept() -> None:
    large = film_strip(np.zeros((9, 144, 200, 3), np.uint8))
    assert large.shape == (MAX_HEIGHT, NUM_FRAMES * 100 + (NUM_FRAMES - 1) * GAP_WIDTH, 3)
    small = film_strip(np.zeros((2, 10, 12, 3), np.uint8))
    assert small.shape == (10, 2 * 12 + GAP_WIDTH, 3)


def sheets_of(folder: Path) -> Page:
    return report_page(folder).by_id("sheets")


def decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def write_brightening_video(path: Path) -> None:
    """36 frames of H.264 that go from dark to bright."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(36):
            image = np.full((48, 64, 3), min(20 + 9 * t, 235), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
