"""Wrong folders and files, verb by verb: exit code, what is named, no trace of Python."""

import re
import shutil
from pathlib import Path

import av
import pytest

from evossl.data.synth.dataset import synthesise
from tests.helpers.cli_runner import SPACE, Run


def refused(run_cli: Run, *argv: str | Path, code: int = 2) -> str:
    """Run; assert the exit code and one message on stderr; return it."""
    answer = run_cli(*argv)
    assert answer.code == code, answer
    assert answer.out == ""
    return answer.err


@pytest.fixture
def junk(run_cli: Run) -> None:
    """In the current folder: an empty folder, one without videos, one with unreadable ones."""
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
def test_a_source_without_videos_is_refused_by_its_path(
    run_cli: Run, verb: str, where: str
) -> None:
    assert where in refused(run_cli, verb, where, "--out", "made")
    assert not Path("made").exists()


@pytest.mark.usefixtures("junk")
def test_unreadable_videos_are_counted_with_reasons_and_fail_when_none_is_left(
    run_cli: Run,
) -> None:
    said = refused(run_cli, "index", "broken", code=1)
    assert "failed: broken: no video can be read" in said
    assert "2 set aside" in said


def test_a_table_without_paths_is_refused_with_its_columns(run_cli: Run) -> None:
    Path("table.csv").write_text("a,b\n1,2\n")
    assert "no column 'path'; it has a, b" in refused(run_cli, "index", "table.csv")


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("empty", "--out empty: is a folder; name a file in it, empty/manifest.parquet"),
        ("file/x.parquet", "is a file, not a folder"),
    ],
)
@pytest.mark.usefixtures("junk")
def test_a_manifest_that_cannot_be_written_is_refused_before_probing(
    run_cli: Run, videos: Path, out: str, said: str
) -> None:
    message = refused(run_cli, "index", videos, "--out", out)
    assert said in message
    assert "indexing" not in message


@pytest.mark.parametrize("out", ["file", "file/below"])
@pytest.mark.usefixtures("junk")
def test_an_out_that_is_a_file_is_refused_by_every_verb(
    run_cli: Run, videos: Path, trained: Path, out: str
) -> None:
    Path("space.yaml").write_text(SPACE)
    space = ("--space", "space.yaml")
    for words in (
        ("search", "--data", videos, *space),
        ("train", "--data", videos, *space),
        ("cache", videos),
        ("finetune", trained, "--data", videos),
        ("export", trained),
    ):
        assert f"--out {out}: " in refused(run_cli, *words, "--out", out)
    assert Path("file").read_text() == "text"


def test_a_folder_that_holds_other_things_is_not_taken(run_cli: Run, videos: Path) -> None:
    Path("space.yaml").write_text(SPACE)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("text")
    for verb in ("search", "train"):
        words = ("--data", videos, "--space", "space.yaml", "--out", "mine")
        assert "--out mine: holds other files" in refused(run_cli, verb, *words)
    assert "demo" not in [path.name for path in Path().iterdir()]
    assert "--out mine: holds something" in refused(run_cli, "demo", "--out", "mine")
    assert "mine is not empty" in refused(run_cli, "synth", "mine", "--videos", "3")
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("verb", ["evaluate", "finetune", "export", "audit", "report"])
@pytest.mark.parametrize("where", ["nowhere", "empty", "texts", "file"])
@pytest.mark.usefixtures("junk")
def test_what_is_no_run_and_no_encoder_is_refused_by_its_path(
    run_cli: Run, videos: Path, verb: str, where: str
) -> None:
    words: dict[str, tuple[str | Path, ...]] = {
        "evaluate": ("--data", videos),
        "finetune": ("--data", videos, "--out", "made"),
        "export": ("--out", "made"),
        "audit": ("--data", videos),
        "report": (),
    }
    assert f"error: {where}: " in refused(run_cli, verb, where, *words[verb])
    assert not Path("made").exists()


WHOLE = "space: {}\nseed: 0\ndata: videos\ncommand: evossl\ncache: cache\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not YAML"),
        (bytes(range(256)), "not YAML"),
        (b"", "it holds no keys"),
        (b"[1]", "it holds no keys"),
        (b"sed: 1", "unknown key 'sed': did you mean 'seed'?"),
        (b"seed: 1", "space is missing; data is missing; command is missing; cache is missing"),
        (WHOLE.replace("seed: 0", "seed: zero").encode(), "seed is of the wrong kind"),
        (WHOLE.replace("space: {}", "space: 3").encode(), "space is of the wrong kind"),
        ((WHOLE + "scales: {simclr.rgb: [1]}").encode(), "scales.simclr.rgb is of the wrong kind"),
    ],
)
def test_a_damaged_run_is_refused_by_its_file_in_plain_words(
    run_cli: Run, text: bytes, said: str
) -> None:
    Path("run").mkdir()
    Path("run/run.yaml").write_bytes(text)
    message = refused(run_cli, "report", "run")
    assert message.startswith("error: run/run.yaml: is damaged")
    assert said in message
    assert "Bring the file back from a copy" in message
    assert not any(word in message for word in ("RunInfo", "__init__", "codec", "NoneType"))


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
def test_a_damaged_encoder_is_refused_by_its_file(
    run_cli: Run, videos: Path, trained: Path, file: str, content: bytes | None
) -> None:
    shutil.copytree(trained / "encoder", "encoder")
    Path("encoder", file).unlink() if content is None else Path("encoder", file).write_bytes(
        content
    )
    assert f"encoder/{file}: " in refused(run_cli, "evaluate", "encoder", "--data", videos)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--folds", "1"), "'--folds': 1 is not in the range"),
        (("--folds", "9"), "fewer than folds: pass --folds"),
        (("--protocols", "knnn"), "unknown protocol 'knnn': did you mean 'knn'"),
        (("--protocols", ""), "--protocols: none given"),
        (("--label", "colour"), "unknown label column 'colour'"),
        (("--split", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--split", "."), ".: is a folder; name a .csv or .parquet file"),
    ],
)
def test_wrong_evaluations_are_refused_before_a_video_is_decoded(
    run_cli: Run, videos: Path, trained: Path, words: tuple[str, ...], said: str
) -> None:
    cache = trained.parent / "cache"
    message = refused(run_cli, "evaluate", trained, "--data", videos, "--cache", cache, *words)
    assert said in message
    assert "decoding" not in message


def test_a_class_with_too_few_clips_is_named(run_cli: Run, videos: Path, trained: Path) -> None:
    rare = min(videos.glob("*/"), key=lambda folder: len(list(folder.glob("*.mp4"))))
    said = refused(run_cli, "evaluate", trained, "--data", videos, "--folds", "9")
    assert f"class {rare.name!r} has" in said


def test_labels_that_could_not_score_the_winner_are_refused_before_the_search(
    run_cli: Run, videos: Path
) -> None:
    one_class = next(folder for folder in sorted(videos.iterdir()) if folder.is_dir())
    Path("space.yaml").write_text(SPACE)
    words = ("--data", videos, "--space", "space.yaml", "--out", "run")
    for labels, said in (
        (one_class, "class"),
        (videos, "fewer than folds"),
        ("nowhere", "nowhere"),
    ):
        assert said in refused(run_cli, "search", *words, "--evaluate", labels)
    assert not Path("run").exists()


def without_sound(videos: Path, folder: Path) -> Path:
    """The same pictures, not decoded, in files that have no sound track."""
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


def test_a_task_of_sound_on_silent_videos_is_refused_by_its_name_and_the_folder_stays_free(
    run_cli: Run, videos: Path
) -> None:
    """It shows when its gradient is measured; then the same --out can be used again."""
    words = ["train", "--data", without_sound(videos, Path("silent")), "--steps", "2"]
    words += ["--space", "space.yaml", "--cache", "cache", "--out", "run"]
    heard = "  multimodal_contrast: {places: [rgb+audio]}\nstreams: [rgb, audio]"
    Path("space.yaml").write_text(SPACE.replace("  simclr: {places: [rgb]}", heard))
    said = refused(run_cli, *words)
    assert "error: multimodal_contrast.rgb+audio: no batch had two clips with sound" in said
    assert not Path("run").exists()
    Path("space.yaml").write_text(SPACE)
    assert run_cli(*words).code == 0


def test_a_training_that_is_there_is_not_overwritten_nor_resumed_as_another(
    run_cli: Run, videos: Path, trained: Path
) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    words = ["train", "--data", videos, "--space", trained.parent / "space.yaml"]
    words += ["--cache", trained.parent / "cache", "--out", trained]
    assert "add --resume to go on" in refused(run_cli, *words, "--steps", "2")
    said = refused(run_cli, *words, "--steps", "2", "--seed", "3", "--resume")
    assert "seed: 0 there, 3 given" in said
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_a_term_whose_clips_are_mostly_too_short_is_named_at_the_end(run_cli: Run) -> None:
    synthesise(Path("videos/short"), 20, 3, 1, seconds=1.0)
    synthesise(Path("videos/long"), 8, 3, 2)
    brave = "tasks:\n  brave: {places: [rgb], options: {reach: 4}}\n"  # 16 frames, of 12 or 24
    Path("space.yaml").write_text(SPACE.replace("tasks:\n", brave))
    words = ("--data", "videos", "--space", "space.yaml", "--steps", "4", "--out", "run")
    answer = run_cli("train", *words)
    assert answer.code == 0, answer.err
    assert re.search(r"brave\.rgb: nothing to learn from in [1-4] batches of 4: ", answer.err)
    assert "simclr.rgb: nothing" not in answer.err
