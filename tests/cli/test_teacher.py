"""`--teacher`: an encoder folder or a run, recorded in run.yaml as an absolute path."""

from pathlib import Path

import pytest

from evossl.cli.teacher import with_teacher
from evossl.io.spaces import parse_space
from evossl.io.yaml_file import parse_yaml
from tests.helpers.cli_runner import SPACE, RunCli

STUDENT = SPACE.replace("simclr: {places: [rgb]}", "knowledge_distillation: {weight: 1.0}")


def test_a_run_can_be_a_teacher_and_is_recorded(
    run_cli: RunCli, videos: Path, trained: Path
) -> None:
    Path("space.yaml").write_text(STUDENT)
    argv = ("--data", videos, "--space", "space.yaml", "--steps", "1", "--out", "run")
    cache = trained.parent / "cache"
    assert run_cli("train", *argv, "--cache", cache, "--teacher", trained).code == 0
    stored = parse_yaml(Path("run/run.yaml").read_text(), "run.yaml")
    teacher = stored["space"]["tasks"]["knowledge_distillation"]["teacher"]
    assert teacher == str((trained / "encoder").resolve())


def test_a_teacher_in_the_space_becomes_an_absolute_path(
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
    ("space", "argv", "message"),
    [
        (STUDENT, (), "space.yaml: tasks.knowledge_distillation: needs a pretrained encoder"),
        (STUDENT, ("--teacher", "nowhere"), "--teacher nowhere: has no encoder"),
        (
            STUDENT.replace("1.0", "1.0, teacher: nope"),
            (),
            "distillation.teacher: nope: has no encoder",
        ),
        (
            SPACE,
            ("--teacher", "nowhere"),
            "--teacher: no task of the space needs a teacher; add kno",
        ),
    ],
)
def test_a_wrong_teacher_is_refused_before_training(
    run_cli: RunCli, verb: str, space: str, argv: tuple[str, ...], message: str
) -> None:
    Path("space.yaml").write_text(space)
    output = run_cli(verb, "--data", ".", "--space", "space.yaml", "--out", "run", *argv)
    assert (output.code, output.out) == (2, "")
    assert message in output.err
    assert not Path("run").exists()
