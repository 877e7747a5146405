"""`evossl init`: a picture of what each choice does, a question, a space that can be searched."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evossl.cli.choices import SIDE, STRIP, choice_sheet
from evossl.cli.init import space_text, spread
from evossl.io.spaces import load_space, shipped_spaces
from evossl.types import ClipBatch
from evossl.views.settings import ViewSettings
from tests.helpers.cli_runner import SPACE, Run

COLOURS = torch.tensor([[200, 60, 30], [40, 90, 180], [60, 160, 70]], dtype=torch.uint8)


class Terminal(io.StringIO):
    """A person's answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def base(run_cli: Run) -> list[str]:
    """Words that every call shares; a small space to begin from in the current folder."""
    Path("base.yaml").write_text(SPACE.replace("ignores: [colour, crop, time]", "about: small"))
    return ["--space", "base.yaml", "--out", "mine.yaml", "--cache", "cache"]


def test_a_choice_given_becomes_a_space_beside_a_picture_of_three_clips(
    run_cli: Run, base: list[str], videos: Path
) -> None:
    answer = run_cli("init", "--data", videos, *base, "--ignores", "crop,flip")
    assert answer.code == 0, answer
    assert answer.out == "space:   mine.yaml\npicture: mine.ignores.png\n"
    assert "evossl search --data" in answer.err
    made = load_space("mine.yaml")
    assert made.ignores == ("crop", "flip")
    assert made == load_space("base.yaml", {"ignores": ["crop", "flip"]})
    with Image.open("mine.ignores.png") as picture:
        width, height = picture.size
    assert 3 * STRIP < width < 4 * STRIP, "three columns"
    assert 7 * SIDE < height < 9 * SIDE, "the clips, and two views of three choices"


def test_a_person_is_asked_until_the_answer_is_a_choice(
    run_cli: Run, base: list[str], videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("color\n\nappearance\n"))
    answer = run_cli("init", "--data", videos, *base)
    assert answer.code == 0, answer
    assert "motion      colour, crop, time" in answer.err
    assert "Error: unknown word 'color': did you mean 'colour'?" in answer.err
    assert load_space("mine.yaml").ignores == ("crop", "time")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--ignores: is missing, and there is nobody to ask: colour,crop,time (motion), or"),
        (("--ignores", "color"), "--ignores: unknown word 'color': did you mean 'colour'"),
        (("--ignores", "crop", "--out", "mine"), "--out mine: name a YAML file, mine.yaml"),
        (("--ignores", "crop", "--out", "base.yaml"), "--out base.yaml: is there already"),
        (("--ignores", "crop", "--space", "elf"), "unknown space 'elf': did you mean 'elo'"),
        (("--ignores", "crop", "--data", "nowhere"), "nowhere: no such folder, file or glob"),
    ],
)
def test_what_is_wrong_is_said_before_a_video_is_read(
    run_cli: Run,
    base: list[str],
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    answer = run_cli("init", "--data", videos, *base, *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert [path.name for path in Path().iterdir()] == ["base.yaml"]


def test_videos_that_cannot_be_read_leave_room_for_others(
    run_cli: Run, base: list[str], videos: Path
) -> None:
    Path("mixed").mkdir()
    for i in range(4):
        Path(f"mixed/{i}.mp4").write_text("text")
    Path("mixed/good.mp4").write_bytes(min(videos.rglob("*.mp4")).read_bytes())
    answer = run_cli("init", "--data", "mixed", *base, "--ignores", "crop")
    assert answer.code == 0, answer
    assert "4 set aside" in answer.err


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_shipped_space_stays_what_it_is_but_for_the_choice(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = space_text(load_space(name), ["flip", "time"], name, tmp_path / "mine.png")
    file.write_text(text, encoding="utf-8")
    assert load_space(file) == load_space(name, {"ignores": ["flip", "time"]})


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))]
)
def test_items_are_taken_from_all_over_a_list(count: int, chosen: list[int]) -> None:
    assert spread(range(10), count) == chosen
    assert spread([], count) == []


def still(picture: Image.Image) -> list[int]:
    """How many pixels of a picture have each of the colours, within what rounding does."""
    pixels = np.asarray(picture).astype(int)
    return [int((np.abs(pixels - c).max(-1) <= 2).sum()) for c in COLOURS.numpy().astype(int)]


def test_the_picture_shows_what_the_views_do_to_clips_of_one_colour() -> None:
    """Crops of one colour are that colour; a jitter of colour leaves hardly a row of it."""
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
    row = (STRIP - 4) * SIDE  # a white line of a pixel after each of four frames
    cropped = choice_sheet(clips, "abc", settings, {"crops": ("crop", "time")})
    assert still(cropped) == [3 * row] * 3, "the clip and two views of it"
    jittered = choice_sheet(clips, "abc", settings, {"colours": ("colour", "crop", "time")})
    assert jittered.size == cropped.size
    assert all(row <= count < 3 * row for count in still(jittered))
    assert sum(still(jittered)) <= 5 * row, "most of the six views have other colours"
