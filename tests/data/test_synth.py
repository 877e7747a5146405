"""Synthetic videos: their files, factors and class frequencies; equal seeds give equal bytes."""

import inspect
import resource
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from evossl.data.decode.decoder import find_decoder, probe
from evossl.data.decode.sound import decode_sound
from evossl.data.synth.dataset import VideoFormat, synthesise
from evossl.data.synth.render import render_frames
from evossl.data.synth.scene import Scene, motion_names, sample_scene
from evossl.data.synth.soundtrack import beat_times, render_sound
from evossl.errors import RunError, UserError
from evossl.types import AUDIO_RATE

SCENES = [sample_scene(0, number, 8) for number in range(2000)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "videos"
    synthesise(folder, 16, num_classes=4, seed=3)
    return folder


def test_files_are_h264_and_aac_in_mp4(written: Path) -> None:
    for path in written.rglob("*.mp4"):
        found = probe(str(path))
        assert (found.codec, found.audio_codec, found.audio_rate) == ("h264", "aac", AUDIO_RATE)
        assert (found.width, found.height, found.num_frames, found.fps) == (64, 64, 24, 12)
        assert found.seconds == pytest.approx(2.0)
        waveform = decode_sound(str(path), 30.0)
        assert waveform is not None
        assert len(waveform) == pytest.approx(2 * AUDIO_RATE, abs=1024)  # an AAC frame


def test_labels_contain_every_factor_of_every_file(written: Path) -> None:
    rows = pq.read_table(written / "labels.parquet").to_pylist()
    assert {row["path"] for row in rows} == {
        path.relative_to(written).as_posix() for path in written.rglob("*.mp4")
    }
    for number, row in enumerate(rows):
        scene = sample_scene(3, number, 4)
        assert row == {
            "path": f"{scene.motion}/{number:06d}.mp4",
            "label": scene.motion,
            "motion": scene.motion,
            "appearance": f"appearance{scene.appearance}",
            "sound": f"sound{scene.sound}",
            "group": f"{number:06d}",
        }


def test_a_seed_fixes_every_byte_whatever_the_number_of_videos(
    written: Path, tmp_path: Path
) -> None:
    synthesise(tmp_path / "again", 5, num_classes=4, seed=3)
    paths = sorted((tmp_path / "again").rglob("*.mp4"))
    assert len(paths) == 5
    for path in paths:
        same = written / path.relative_to(tmp_path / "again")
        assert path.read_bytes() == same.read_bytes()


def test_another_seed_gives_other_videos() -> None:
    assert sample_scene(0, 0, 8) != sample_scene(1, 0, 8)
    one, two = (render_frames(sample_scene(seed, 0, 8), 2, 12, (32, 32)) for seed in (0, 1))
    assert np.abs(one.astype(int) - two).mean() > 5


def test_decoded_frames_and_sound_are_those_rendered(written: Path) -> None:
    scene = sample_scene(3, 0, 4)
    path = str(written / scene.motion / "000000.mp4")
    frames = find_decoder("pyav").frames(path, 12.0, 64, 30.0)
    assert np.abs(frames.astype(int) - render_frames(scene, 24, 12, (64, 64))).mean() < 10
    decoded, rendered = decode_sound(path, 2.0), render_sound(scene, 2.0)
    assert decoded is not None
    lags = range(-40, 41)  # samples
    middle = slice(400, 31_000)
    fit = [
        float(np.dot(np.roll(decoded[: len(rendered)], lag)[middle], rendered[middle]))
        for lag in lags
    ]
    assert lags[int(np.argmax(fit))] == 0
    assert np.corrcoef(decoded[middle], rendered[middle])[0, 1] > 0.9


@pytest.mark.parametrize("num_videos", [100, 300, 2000])
def test_motions_follow_zipf_in_every_prefix(num_videos: int) -> None:
    harmonic = sum(1 / rank for rank in range(1, 9))
    drawn = [scene.motion for scene in SCENES[:num_videos]]
    for rank, motion in enumerate(motion_names(8), start=1):
        assert drawn.count(motion) == pytest.approx(num_videos / rank / harmonic, abs=3)


def test_appearances_follow_zipf_and_sounds_are_uniform() -> None:
    zipf = np.array([1 / rank for rank in range(1, 9)])
    appearances = np.bincount([scene.appearance for scene in SCENES], minlength=8)
    expected = len(SCENES) * zipf / zipf.sum()
    assert stats.chisquare(appearances, expected).pvalue > 1e-3
    sounds = np.bincount([scene.sound for scene in SCENES], minlength=4)
    assert stats.chisquare(sounds).pvalue > 1e-3


@pytest.mark.parametrize(
    ("one", "other"), [("motion", "appearance"), ("motion", "sound"), ("appearance", "sound")]
)
def test_factors_are_independent(one: str, other: str) -> None:
    _, first = np.unique([getattr(scene, one) for scene in SCENES], return_inverse=True)
    _, second = np.unique([getattr(scene, other) for scene in SCENES], return_inverse=True)
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def poses_at(motion: str, seconds: float) -> np.ndarray:
    """Return (scene, (x, y, turns, log-size)), all in [0, 1), at one moment of many scenes."""
    rows = []
    for scene in SCENES[:300]:
        moved = Scene(motion, 0, 0, scene.start, scene.cycle_seconds, scene.base_pose, (0, 0, 0))
        pose = moved.poses(np.array([seconds]))
        turns = pose.angle_T[0] / (2 * np.pi) % 1
        rows.append([pose.x_T[0], pose.y_T[0], turns, pose.log_size_T[0]])
    return np.array(rows)


@pytest.mark.parametrize("motion", [*motion_names(12), "right_fast", "shrink_fast"])
def test_poses_are_uniform_and_independent_in_every_frame(motion: str) -> None:
    for seconds in (0.0, 0.55, 1.9):
        poses = poses_at(motion, seconds)
        for column in poses.T:
            assert stats.kstest(column, "uniform").pvalue > 1e-4
        correlation = np.corrcoef(poses.T)[np.triu_indices(4, 1)]
        assert np.abs(correlation).max() < 4.0 / np.sqrt(len(poses))


@pytest.mark.parametrize("motion", motion_names(24))
def test_motions_move_what_their_names_say(motion: str) -> None:
    scene = Scene(motion, 0, 0, 0.3, 1.6, (0.5, 0.5, 0.2, 0.4), (0, 0, 0))
    pose = scene.poses(np.array([0.0, 0.05, 0.4]))
    steps = [np.diff(v) for v in (pose.x_T, pose.y_T, pose.angle_T, pose.log_size_T)]
    moved = [bool(np.abs(step).max() > 1e-9) for step in steps]
    name = motion.removesuffix("_fast")
    signs = [float(np.sign(step[0])) for step in steps]
    expected = {
        "right": ([1, 0, 0, 0], 1),
        "left": ([1, 0, 0, 0], -1),
        "down": ([0, 1, 0, 0], 1),
        "up": ([0, 1, 0, 0], -1),
        "clockwise": ([0, 0, 1, 0], 1),
        "anticlockwise": ([0, 0, 1, 0], -1),
        "grow": ([0, 0, 0, 1], 1),
        "shrink": ([0, 0, 0, 1], -1),
        "sway": ([1, 0, 0, 0], -1),  # at phase 0.3 past the left-going zero crossing
        "bob": ([0, 1, 0, 0], -1),  # past the lowest point
        "orbit_clockwise": ([1, 1, 0, 0], -1),  # at the bottom, y down: clockwise goes left
        "orbit_anticlockwise": ([1, 1, 0, 0], -1),  # at the top: anticlockwise goes left
    }
    axes, sign = expected[name]
    assert moved == [bool(axis) for axis in axes]
    assert signs[axes.index(1)] == sign


def test_fast_motions_take_half_the_time() -> None:
    scenes = [sample_scene(0, number, 24) for number in range(600)]
    slow = [s.cycle_seconds for s in scenes if not s.motion.endswith("_fast")]
    fast = [s.cycle_seconds for s in scenes if s.motion.endswith("_fast")]
    assert max(fast) < min(slow)
    assert np.mean(slow) / np.mean(fast) == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("appearance", range(8))
def test_rotations_and_appearances_are_visible(appearance: int) -> None:
    def still(look: int, angle: float) -> np.ndarray:
        scene = Scene("right", look, 0, 0.5, 1.6, (0.5, 0.5, angle, 0.5), (0, 0, 0))
        return render_frames(scene, 1, 12, (48, 48))[0].astype(int)

    shown = still(appearance, 0.0)
    for quarter in (0.25, 0.5, 0.75):
        assert np.abs(shown - still(appearance, quarter)).mean() > 2
    for other in set(range(8)) - {appearance}:
        assert np.abs(shown - still(other, 0.0)).mean() > 2


def test_a_shape_that_leaves_returns_on_the_other_side() -> None:
    """A quarter of a cycle is half the distance of two copies: shapes move into the gaps."""
    at_border, between = (
        render_frames(
            Scene("right", 1, 0, phase, 1.6, (0, 0.5, 0, 0.5), (0, 0, 5)), 1, 12, (64, 64)
        ).astype(int)[0]
        for phase in (0.0, 0.25)
    )
    moved = np.abs(at_border - between).sum(-1)
    shapes = [slice(0, 5), slice(14, 18), slice(30, 34), slice(46, 50), slice(59, 64)]
    for columns in shapes:  # two at the border are halves of one shape
        assert moved[30:34, columns].mean() > 60
    assert moved[10:20].max() == 0  # the ground behind is the same


@pytest.mark.parametrize("number", range(6))
def test_beats_sound_at_quarters_of_the_cycle(number: int) -> None:
    scene = SCENES[number]
    times = beat_times(scene, 2.0)
    inside = times[(times > 0.02) & (times < 1.95)]
    by_hand = [
        (quarter / 4 - scene.start) * scene.cycle_seconds
        for quarter in range(-10, 40)
        if 0.02 < (quarter / 4 - scene.start) * scene.cycle_seconds < 1.95
    ]
    assert np.allclose(inside, by_hand, atol=1e-9)
    loud = render_sound(scene, 2.0) ** 2
    for time in inside:
        at = round(time * AUDIO_RATE)
        assert loud[at : at + 250].mean() > 3 * loud[at - 300 : at].mean()


def test_the_first_beat_of_a_cycle_is_an_octave_higher() -> None:
    scene = Scene("right", 0, 0, 0.5, 1.6, (0.5, 0.5, 0.0, 0.5), (0, 0, 0))
    waveform = render_sound(scene, 2.0)  # quarters at 0, 0.4, 0.8 (the border), 1.2, 1.6 s

    def pitch(time: float) -> float:
        at = round(time * AUDIO_RATE)
        spectrum = np.abs(np.fft.rfft(waveform[at : at + 3200], 16_000))
        return float(spectrum.argmax())

    assert pitch(0.8) / pitch(0.4) == pytest.approx(2.0, rel=0.03)
    assert pitch(1.2) / pitch(0.4) == pytest.approx(1.0, rel=0.03)


def test_short_videos_may_have_no_beat() -> None:
    assert all(len(render_sound(scene, 1 / 12)) == round(AUDIO_RATE / 12) for scene in SCENES[:50])


def test_progress_counts_every_video(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    synthesise(tmp_path / "v", 3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_size_rate_and_length_are_as_requested(tmp_path: Path) -> None:
    labels = synthesise(tmp_path / "v", 1, video=VideoFormat((96, 48), 15, 1.0))
    row = pq.read_table(labels).to_pylist()[0]
    found = probe(str(tmp_path / "v" / row["path"]))
    assert (found.width, found.height, found.fps, found.num_frames) == (96, 48, 15, 15)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"num_videos": 0}, "--videos"),
        ({"num_classes": 0}, "--classes"),
        ({"num_classes": 25}, "1 to 24"),
        ({"video": VideoFormat(size=(63, 64))}, "even"),
        ({"video": VideoFormat(fps=0)}, "no frame"),
        ({"video": VideoFormat(seconds=0.0)}, "no frame"),
    ],
)
def test_invalid_arguments_are_named(tmp_path: Path, wrong: dict[str, object], word: str) -> None:
    options = {"num_videos": 1} | wrong
    with pytest.raises(UserError, match=word):
        synthesise(tmp_path / "v", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "v").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        synthesise(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_scene_depends_only_on_its_arguments() -> None:
    assert list(inspect.signature(sample_scene).parameters) == ["seed", "number", "num_classes"]
    assert sample_scene(5, 17, 8) == sample_scene(5, 17, 8)


def test_a_failed_write_names_the_video_and_leaves_no_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        with pytest.raises(RunError, match=r"000000\.mp4: cannot be written: File too large"):
            synthesise(tmp_path / "v", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
