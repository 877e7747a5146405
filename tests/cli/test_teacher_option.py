"""--teacher: an encoder, or the run it came from; said by name where it is none or not wanted."""

from pathlib import Path

import pytest

from evossl.cli.teacher import with_teacher
from evossl.io.spaces import parse_space
from evossl.io.yaml_file import parse_yaml
from tests.helpers.cli_runner import SPACE, Run

PUPIL = SPACE.replace("simclr: {places: [rgb]}", "knowledge_distillation: {weight: 1.0}")


def test_a_run_teaches_and_the_run_yaml_says_where_its_encoder_lies(
    run_cli: Run, videos: Path, trained: Path
) -> None:
    Path("space.yaml").write_text(PUPIL)
    words = ("--data", videos, "--space", "space.yaml", "--steps", "1", "--cache", "cache")
    assert run_cli("train", *words, "--out", "run", "--teacher", trained).code == 0
    stored = parse_yaml(Path("run/run.yaml").read_text(), "run.yaml")
    teacher = stored["space"]["tasks"]["knowledge_distillation"]["teacher"]
    assert teacher == str((trained / "encoder").resolve())


def test_a_teacher_that_the_space_names_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run/winner/encoder").mkdir(parents=True)
    Path("run/winner/encoder/config.json").touch()
    tasks = {"knowledge_distillation": {"teacher": "run"}, "simclr": {}}
    space = parse_space({"ignores": ["crop"], "tasks": tasks}, "space.yaml")
    found = with_teacher(space, None, None)
    encoder = (tmp_path / "run/winner/encoder").resolve()
    assert found.tasks["knowledge_distillation"].teacher == str(encoder)
    assert found.tasks["simclr"] == space.tasks["simclr"]
    assert with_teacher(space, None, Path("run/winner/encoder")) == found


@pytest.mark.parametrize("verb", ["train", "search"])
@pytest.mark.parametrize(
    ("space", "words", "said"),
    [
        (PUPIL, (), "space.yaml: tasks.knowledge_distillation: needs a teacher"),
        (PUPIL, ("--teacher", "nowhere"), "--teacher nowhere: no encoder there"),
        (PUPIL.replace("1.0", "1.0, teacher: nope"), (), "distillation.teacher: nope: no encoder"),
        (SPACE, ("--teacher", "nowhere"), "--teacher: no task of the space has one; add knowledge"),
    ],
)
def test_a_teacher_that_is_none_is_refused_before_anything_is_touched(
    run_cli: Run, verb: str, space: str, words: tuple[str, ...], said: str
) -> None:
    Path("space.yaml").write_text(space)
    answer = run_cli(verb, "--data", ".", "--space", "space.yaml", "--out", "run", *words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert not Path("run").exists()
