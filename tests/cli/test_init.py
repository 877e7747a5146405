"""`evossl init`: the preview of each choice, the question, and the space that is written."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evossl.cli.init import space_text, spread
from evossl.cli.preview import FRAME_SIDE, STRIP_WIDTH, draw_preview
from evossl.io.spaces import load_space, shipped_spaces
from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings
from tests.helpers.cli_runner import SPACE, RunCli

COLOURS = torch.tensor([[200, 60, 30], [40, 90, 180], [60, 160, 70]], dtype=torch.uint8)


class Terminal(io.StringIO):
    """Standard input that is a terminal, with the answers of a person."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def base(run_cli: RunCli) -> list[str]:
    """Arguments that every call shares; base.yaml, a small space, is in the current folder."""
    Path("base.yaml").write_text(SPACE.replace("ignores: [colour, crop, time]", "about: small"))
    return ["--space", "base.yaml", "--out", "mine.yaml", "--cache", "cache"]


def test_init_writes_a_space_and_a_picture_of_three_clips(
    run_cli: RunCli, base: list[str], videos: Path
) -> None:
    output = run_cli("init", "--data", videos, *base, "--ignores", "crop,flip")
    assert output.code == 0, output
    assert output.out == "space:   mine.yaml\npicture: mine.ignores.png\n"
    assert "evossl search --data" in output.err
    made = load_space("mine.yaml")
    assert made.ignores == ("crop", "flip")
    assert made == load_space("base.yaml", {"ignores": ["crop", "flip"]})
    with Image.open("mine.ignores.png") as picture:
        width, height = picture.size
    assert 3 * STRIP_WIDTH < width < 4 * STRIP_WIDTH, "three columns"
    assert 7 * FRAME_SIDE < height < 9 * FRAME_SIDE, "the clips, and two views of three choices"


def test_init_asks_until_the_answer_is_valid(
    run_cli: RunCli, base: list[str], videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("color\n\nappearance\n"))
    output = run_cli("init", "--data", videos, *base)
    assert output.code == 0, output
    assert "motion      colour, crop, time" in output.err
    assert "Error: unknown word 'color': did you mean 'colour'?" in output.err
    assert load_space("mine.yaml").ignores == ("crop", "time")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "--ignores: is missing, and there is no terminal to ask on; give for example colour,"),
        (("--ignores", "color"), "--ignores: unknown word 'color': did you mean 'colour'"),
        (("--ignores", "crop", "--out", "mine"), "--out mine: is not a YAML file; give mine.yaml"),
        (("--ignores", "crop", "--out", "base.yaml"), "--out base.yaml: exists already"),
        (("--ignores", "crop", "--space", "elf"), "unknown space 'elf': did you mean 'elo'"),
        (("--ignores", "crop", "--data", "nowhere"), "nowhere: no such folder, file or glob"),
    ],
)
def test_wrong_options_are_refused_before_decoding(
    run_cli: RunCli,
    base: list[str],
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    output = run_cli("init", "--data", videos, *base, *argv)
    assert (output.code, output.out) == (2, "")
    assert message in output.err
    assert [path.name for path in Path().iterdir()] == ["base.yaml"]


def test_unreadable_videos_are_replaced_by_other_videos(
    run_cli: RunCli, base: list[str], videos: Path
) -> None:
    Path("mixed").mkdir()
    for i in range(4):
        Path(f"mixed/{i}.mp4").write_text("text")
    Path("mixed/good.mp4").write_bytes(min(videos.rglob("*.mp4")).read_bytes())
    output = run_cli("init", "--data", "mixed", *base, "--ignores", "crop")
    assert output.code == 0, output
    assert "4 set aside" in output.err


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_changes_only_in_its_ignores(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = space_text(load_space(name), ["flip", "time"], name, tmp_path / "mine.png")
    file.write_text(text, encoding="utf-8")
    assert load_space(file) == load_space(name, {"ignores": ["flip", "time"]})


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))]
)
def test_items_are_chosen_evenly_from_a_list(count: int, chosen: list[int]) -> None:
    assert spread(range(10), count) == chosen
    assert spread([], count) == []


def count_colours(picture: Image.Image) -> list[int]:
    """How many pixels of a picture have each of `COLOURS`, within rounding errors."""
    pixels = np.asarray(picture).astype(int)
    return [int((np.abs(pixels - c).max(-1) <= 2).sum()) for c in COLOURS.numpy().astype(int)]


def test_the_preview_shows_the_views_of_plain_clips() -> None:
    """A crop of a plain clip keeps its colour; a colour jitter leaves hardly any view as it was."""
    frames_BLHWC = COLOURS[:, None, None, None].expand(3, 8, 40, 40, 3).contiguous()
    clips = ClipBatch(
        frames_BLHWC=frames_BLHWC,
        num_frames_B=torch.full((3,), 8),
        size_B2=torch.full((3, 2), 40),
        waveform_BS=torch.zeros(3, 16),
        has_audio_B=torch.zeros(3, dtype=torch.bool),
        video_id_B=torch.arange(3),
        fps=12.0,
    )
    settings = ViewSettings(frames=4, size=32, mel_bands=32, ignores=())
    row = (STRIP_WIDTH - 4) * FRAME_SIDE  # each of the four frames ends in a white pixel
    cropped = draw_preview(clips, "abc", settings, {"crops": ("crop", "time")})
    assert count_colours(cropped) == [3 * row] * 3, "the clip and two views of it"
    jittered = draw_preview(clips, "abc", settings, {"colours": ("colour", "crop", "time")})
    assert jittered.size == cropped.size
    assert all(row <= count < 3 * row for count in count_colours(jittered))
    assert sum(count_colours(jittered)) <= 5 * row, "most of the six views have other colours"
