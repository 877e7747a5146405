"""Contact sheets: the cache's frames side by side; a grey tile and a reason for what is missing."""

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
from evossl.report.sheets import FRAMES, GAP, HEIGHT, film_strip, frame_positions
from tests.helpers.fabricated_runs import (
    VIDEOS,
    begin,
    fill_cache,
    videos_of,
    write_clusters,
    write_training,
)
from tests.helpers.parsed_pages import Page, Written, parse


def test_each_cluster_has_a_row_of_its_examples(written: Written) -> None:
    sheets = written.page.by_id("sheets").all("ul", "sheet")
    assert len(sheets) == 6
    for i, sheet in enumerate(sheets):
        names = [node.attributes["title"] for node in sheet.all("span", "name")]
        assert names == VIDEOS[i::6][:8]


def test_a_strip_shows_the_clip_from_its_first_frame_to_its_last(written: Written) -> None:
    image = written.page.by_id("sheets").all("img")[0]
    assert image.attributes["title"] == VIDEOS[0]  # "left": the square is at column t of frame t
    pixels = decoded(image.attributes["src"])
    assert pixels.shape == (40, FRAMES * 54 + (FRAMES - 1) * GAP, 3)
    for number, t in enumerate((0, 8, 15, 23)):
        at = number * (54 + GAP)
        is_lit = pixels[18, at : at + 54].max(axis=1) > 100
        columns = np.flatnonzero(is_lit)
        assert abs(columns[0] - t) <= 1
        assert abs(columns[-1] - (t + 11)) <= 1


def test_a_clip_starts_where_its_example_says(tmp_path: Path) -> None:
    info = begin(tmp_path)
    fill_cache(info, videos_of(VIDEOS[:1]))
    found = {"shares": [1.0], "zipf": [1.0], "examples": [[{"path": VIDEOS[0], "start": 1.5}]]}
    write_json(tmp_path / "clusters.json", found)
    pixels = decoded(sheets_of(tmp_path).all("img")[0].attributes["src"])
    first = np.flatnonzero(pixels[18, :54].max(axis=1) > 100)[0]
    assert abs(first - 18) <= 1  # 1.5 s at 12 frames a second; JPEG blurs by a column
    last = np.flatnonzero(pixels[18, -54:].max(axis=1) > 100)[0]
    assert abs(last - 29) <= 1  # the video has 30 frames


def test_what_is_neither_in_the_cache_nor_on_disk_is_a_grey_tile(written: Written) -> None:
    tiles = written.page.by_id("sheets").all("div", "missing")
    shown = [path for i in range(6) for path in VIDEOS[i::6][:8]]
    gone = [path for path in shown if path not in VIDEOS[:32]]
    assert len(tiles) == len(gone) > 0
    assert {tile.text for tile in tiles} == {"No picture: the file is gone"}


def test_asking_for_a_file_that_is_gone_leaves_no_mark_in_the_cache(written: Written) -> None:
    assert not list((written.folder / "cache").rglob("*.fault"))


def test_without_manifest_or_cache_every_tile_says_so(tmp_path: Path) -> None:
    begin(tmp_path, cache="/proc/no/such/cache")
    write_training(tmp_path, ["simclr.rgb"], 50)
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(page.by_id("sheets").all("div", "missing")) == 48
    (tmp_path / "manifest.parquet").unlink()
    page = parse(write_report(tmp_path).read_text(encoding="utf-8"))
    tiles = page.by_id("sheets").all("div", "missing")
    assert {tile.text for tile in tiles} == {"No picture: not in the manifest"}


def test_a_video_that_left_the_cache_is_decoded_and_a_broken_one_says_why(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("good.mp4", "bad.mp4"):
        write_film(videos / name)
    begin(tmp_path / "run")
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


def test_a_report_reads_the_cache_and_decodes_nothing_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = begin(tmp_path)
    fill_cache(info, videos_of(VIDEOS))
    write_training(tmp_path, ["simclr.rgb"], 50)
    monkeypatch.setattr("evossl.data.cache.clip_cache.run_jobs", lambda *_: pytest.fail("decoded"))
    seen: list[tuple[int, int]] = []
    write_report(tmp_path, lambda done, total: seen.append((done, total)))
    assert not sheets_of(tmp_path).all("div", "missing")
    assert seen == [(done, 48) for done in range(1, 49)]


@given(st.integers(1, 500))
def test_frames_run_from_the_first_to_the_last(count: int) -> None:
    rows = frame_positions(count)
    assert rows[0] == 0
    assert rows[-1] == count - 1
    assert len(rows) == min(count, FRAMES)
    assert list(rows) == sorted(set(rows))


def test_large_frames_are_shrunk_and_small_ones_never_enlarged() -> None:
    large = film_strip(np.zeros((9, 144, 200, 3), np.uint8))
    assert large.shape == (HEIGHT, FRAMES * 100 + (FRAMES - 1) * GAP, 3)
    small = film_strip(np.zeros((2, 10, 12, 3), np.uint8))
    assert small.shape == (10, 2 * 12 + GAP, 3)


def sheets_of(folder: Path) -> Page:
    return parse(write_report(folder).read_text(encoding="utf-8")).by_id("sheets")


def decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def write_film(path: Path) -> None:
    """36 frames of H.264 that go from dark to bright."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for t in range(36):
            image = np.full((48, 64, 3), min(20 + 9 * t, 235), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
