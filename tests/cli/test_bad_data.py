"""Wrong folders and files: each verb exits with one message that names the path."""

import re
import shutil
from pathlib import Path

import av
import pytest

from evossl.data.synth.dataset import VideoFormat, synthesise
from tests.helpers.cli_runner import SPACE, RunCli


def refused(run_cli: RunCli, *argv: str | Path, code: int = 2) -> str:
    """Run a verb that must fail with `code` and print nothing on stdout; return its message."""
    output = run_cli(*argv)
    assert output.code == code, output
    assert output.out == ""
    return output.err


@pytest.fixture
def junk(run_cli: RunCli) -> None:
    """Make an empty folder, one without videos, one with unreadable videos, and a file."""
    Path("empty").mkdir()
    Path("texts").mkdir()
    Path("texts/readme.txt").write_text("text")
    Path("broken").mkdir()
    Path("broken/text.mp4").write_text("text")
    Path("broken/empty.mp4").touch()
    Path("file").write_text("text")


@pytest.mark.parametrize("where", ["nowhere", "empty", "texts", "*.mp4", "nowhere.parquet"])
@pytest.mark.parametrize("verb", ["index", "cache"])
@pytest.mark.usefixtures("junk")
def test_a_source_without_videos_is_refused(run_cli: RunCli, verb: str, where: str) -> None:
    assert where in refused(run_cli, verb, where, "--out", "made")
    assert not Path("made").exists()


@pytest.mark.usefixtures("junk")
def test_index_fails_if_no_video_is_readable(
    run_cli: RunCli,
) -> None:
    found = refused(run_cli, "index", "broken", code=1)
    assert "failed: broken: no video can be read" in found
    assert "2 set aside" in found


def test_a_table_without_paths_is_refused(run_cli: RunCli) -> None:
    Path("table.csv").write_text("a,b\n1,2\n")
    assert "no column 'path'; its columns are: a, b" in refused(run_cli, "index", "table.csv")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("empty", "--out empty: is a folder; name a file in it, empty/manifest.parquet"),
        ("file/x.parquet", "is a file, not a folder"),
    ],
)
@pytest.mark.usefixtures("junk")
def test_an_unwritable_manifest_is_refused_before_probing(
    run_cli: RunCli, videos: Path, out: str, message: str
) -> None:
    found = refused(run_cli, "index", videos, "--out", out)
    assert message in found
    assert "indexing" not in found


@pytest.mark.parametrize("out", ["file", "file/below"])
@pytest.mark.usefixtures("junk")
def test_an_out_that_is_a_file_is_refused(
    run_cli: RunCli, videos: Path, trained: Path, out: str
) -> None:
    Path("space.yaml").write_text(SPACE)
    space = ("--space", "space.yaml")
    for argv in (
        ("search", "--data", videos, *space),
        ("train", "--data", videos, *space),
        ("cache", videos),
        ("finetune", trained, "--data", videos),
        ("export", trained),
    ):
        assert f"--out {out}: " in refused(run_cli, *argv, "--out", out)
    assert Path("file").read_text() == "text"


def test_a_folder_with_other_files_is_refused(run_cli: RunCli, videos: Path) -> None:
    Path("space.yaml").write_text(SPACE)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("text")
    for verb in ("search", "train"):
        argv = ("--data", videos, "--space", "space.yaml", "--out", "mine")
        assert "--out mine: holds other files" in refused(run_cli, verb, *argv)
    assert "demo" not in [path.name for path in Path().iterdir()]
    assert "--out mine: is not empty" in refused(run_cli, "demo", "--out", "mine")
    assert "mine is not empty" in refused(run_cli, "synth", "mine", "--videos", "3")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("verb", ["evaluate", "finetune", "export", "audit", "report"])
@pytest.mark.parametrize("where", ["nowhere", "empty", "texts", "file"])
@pytest.mark.usefixtures("junk")
def test_a_path_without_run_or_encoder_is_refused(
    run_cli: RunCli, videos: Path, verb: str, where: str
) -> None:
    argv: dict[str, tuple[str | Path, ...]] = {
        "evaluate": ("--data", videos),
        "finetune": ("--data", videos, "--out", "made"),
        "export": ("--out", "made"),
        "audit": ("--data", videos),
        "report": (),
    }
    assert f"error: {where}: " in refused(run_cli, verb, where, *argv[verb])
    assert not Path("made").exists()


VALID_RUN = "space: {}\nseed: 0\ndata: videos\ncommand: evossl\ncache: cache\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not YAML"),
        (bytes(range(256)), "not YAML"),
        (b"", "it has no keys"),
        (b"[1]", "it has no keys"),
        (b"sed: 1", "unknown key 'sed': did you mean 'seed'?"),
        (b"seed: 1", "space is missing; data is missing; command is missing; cache is missing"),
        (VALID_RUN.replace("seed: 0", "seed: zero").encode(), "seed has the wrong type"),
        (VALID_RUN.replace("space: {}", "space: 3").encode(), "space has the wrong type"),
        (
            (VALID_RUN + "gradient_scales: {simclr.rgb: [1]}").encode(),
            "gradient_scales.simclr.rgb has the wrong type",
        ),
    ],
)
def test_a_damaged_run_yaml_is_refused(run_cli: RunCli, text: bytes, message: str) -> None:
    Path("run").mkdir()
    Path("run/run.yaml").write_bytes(text)
    found = refused(run_cli, "report", "run")
    assert found.startswith("error: run/run.yaml: damaged")
    assert message in found
    assert "Restore the file from a copy" in found
    assert not any(word in found for word in ("RunInfo", "__init__", "codec", "NoneType"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("model.safetensors", None),
        ("model.safetensors", b"xx"),
    ],
)
def test_a_damaged_encoder_is_refused(
    run_cli: RunCli, videos: Path, trained: Path, file: str, content: bytes | None
) -> None:
    shutil.copytree(trained / "encoder", "encoder")
    Path("encoder", file).unlink() if content is None else Path("encoder", file).write_bytes(
        content
    )
    assert f"encoder/{file}: " in refused(run_cli, "evaluate", "encoder", "--data", videos)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--folds", "1"), "'--folds': 1 is not in the range"),
        (("--folds", "9"), "fewer groups than folds: pass --folds"),
        (("--protocols", "knnn"), "unknown protocol 'knnn': did you mean 'knn'"),
        (("--protocols", ""), "--protocols: the list is empty"),
        (("--label", "colour"), "unknown label column 'colour'"),
        (("--split", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--split", "."), ".: is a folder; name a .csv or .parquet file"),
    ],
)
def test_wrong_evaluations_are_refused_before_decoding(
    run_cli: RunCli, videos: Path, trained: Path, argv: tuple[str, ...], message: str
) -> None:
    cache = trained.parent / "cache"
    found = refused(run_cli, "evaluate", trained, "--data", videos, "--cache", cache, *argv)
    assert message in found
    assert "decoding" not in found


def test_a_class_with_too_few_clips_is_named_in_the_error(
    run_cli: RunCli, videos: Path, trained: Path
) -> None:
    rare = min(videos.glob("*/"), key=lambda folder: len(list(folder.glob("*.mp4"))))
    found = refused(run_cli, "evaluate", trained, "--data", videos, "--folds", "9")
    assert f"class {rare.name!r} has" in found


def test_unusable_labels_are_refused_before_a_search(run_cli: RunCli, videos: Path) -> None:
    one_class = next(folder for folder in sorted(videos.iterdir()) if folder.is_dir())
    Path("space.yaml").write_text(SPACE)
    argv = ("--data", videos, "--space", "space.yaml", "--out", "run")
    for labels, message in (
        (one_class, "class"),
        (videos, "fewer groups than folds"),
        ("nowhere", "nowhere"),
    ):
        assert message in refused(run_cli, "search", *argv, "--evaluate", labels)
    assert not Path("run").exists()


def without_sound(videos: Path, folder: Path) -> Path:
    """Copy the videos without their sound tracks into a folder."""
    folder.mkdir()
    for path in videos.rglob("*.mp4"):
        copy = str(folder / f"{path.parent.name}-{path.name}")
        with av.open(str(path)) as source, av.open(copy, "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    return folder


def test_a_sound_task_on_silent_videos_leaves_no_run(run_cli: RunCli, videos: Path) -> None:
    """It fails when gradients are measured; the same --out can then be used again."""
    argv = ["train", "--data", without_sound(videos, Path("silent")), "--steps", "2"]
    argv += ["--space", "space.yaml", "--cache", "cache", "--out", "run"]
    heard = "  multimodal_contrast: {places: [rgb+audio]}\nstreams: [rgb, audio]"
    Path("space.yaml").write_text(SPACE.replace("  simclr: {places: [rgb]}", heard))
    found = refused(run_cli, *argv)
    assert "error: multimodal_contrast.rgb+audio: no batch had two clips with sound" in found
    assert not Path("run").exists()
    Path("space.yaml").write_text(SPACE)
    assert run_cli(*argv).code == 0


def test_an_existing_training_is_not_changed(run_cli: RunCli, videos: Path, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    argv = ["train", "--data", videos, "--space", trained.parent / "space.yaml"]
    argv += ["--cache", trained.parent / "cache", "--out", trained]
    assert "add --resume to continue it" in refused(run_cli, *argv, "--steps", "2")
    found = refused(run_cli, *argv, "--steps", "2", "--seed", "3", "--resume")
    assert "seed: 0 in the folder, 3 given" in found
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_a_term_that_skipped_batches_is_reported(run_cli: RunCli) -> None:
    synthesise(Path("videos/short"), 20, 3, 1, video=VideoFormat(seconds=1.0))
    synthesise(Path("videos/long"), 8, 3, 2)
    # BraVe's broad view spans 16 frames; the videos have 12 or 24.
    brave = "tasks:\n  brave: {places: [rgb], options: {broad_stride: 4}}\n"
    Path("space.yaml").write_text(SPACE.replace("tasks:\n", brave))
    argv = ("--data", "videos", "--space", "space.yaml", "--steps", "4", "--out", "run")
    output = run_cli("train", *argv)
    assert output.code == 0, output.err
    assert re.search(r"brave\.rgb: was skipped in [1-4] of 4 batches", output.err)
    assert "simclr.rgb: was skipped" not in output.err
