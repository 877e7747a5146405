"""`--json` prints one JSON object on stdout and nothing else there; people's words go to stderr."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evossl.io.files import write_json
from evossl.io.spaces import shipped_spaces
from evossl.task_loader import load_catalogue
from tests.helpers.cli_runner import SPACE, Run


def one_object(run_cli: Run, *argv: str | Path) -> dict[str, Any]:
    answer = run_cli(*argv, "--json")
    assert answer.code == 0, answer
    assert answer.out.count("\n") == 1
    found = json.loads(answer.out)
    assert isinstance(found, dict)
    return found


def test_index_lists_what_was_set_aside(run_cli: Run, videos: Path) -> None:
    Path("mixed").mkdir()
    Path("mixed/text.mp4").write_text("text")
    good = next(videos.rglob("*.mp4"))
    Path("mixed/good.mp4").write_bytes(good.read_bytes())
    found = one_object(run_cli, "index", "mixed")
    assert found["videos"] == 1
    (aside,) = found["quarantined"]
    assert aside["path"].endswith("text.mp4")
    assert aside["reason"]


def test_a_single_video_is_a_source(run_cli: Run, videos: Path) -> None:
    video = min(videos.rglob("*.mp4"))
    assert one_object(run_cli, "index", video) == {"videos": 1, "quarantined": []}
    assert run_cli("cache", video, "--out", "cache").out == "1 video in cache\n"


def test_tasks_are_those_of_the_catalogue(run_cli: Run) -> None:
    found = one_object(run_cli, "tasks")["tasks"]
    assert {row["task"] for row in found} == set(load_catalogue())


def test_spaces_are_the_shipped_ones(run_cli: Run) -> None:
    assert set(one_object(run_cli, "spaces")["spaces"]) == set(shipped_spaces())


def test_doctor_says_what_is_there(run_cli: Run) -> None:
    checks = {row["what"]: row for row in one_object(run_cli, "doctor")["checks"]}
    assert checks["Python"]["ok"]
    assert checks["decoder"]["note"] in ("decord", "pyav")


def test_evaluate_prints_the_object_of_the_plan(run_cli: Run, videos: Path, trained: Path) -> None:
    words = ("--data", videos, "--protocols", "knn", "--folds", "2")
    found = one_object(run_cli, "evaluate", trained, *words, "--cache", trained.parent / "cache")
    assert found["n_videos"] == 24
    assert found["classes"] == sorted(folder.name for folder in videos.iterdir() if folder.is_dir())
    for side in ("encoder", "random_init"):
        assert 0 <= found[side]["knn"]["accuracy"] <= 1


def test_without_json_the_table_goes_to_stdout(run_cli: Run, videos: Path, trained: Path) -> None:
    words = ("--data", videos, "--protocols", "knn", "--folds", "2")
    answer = run_cli("evaluate", trained, *words, "--cache", trained.parent / "cache")
    assert answer.code == 0
    assert "random init" in answer.out
    (row,) = (line for line in answer.out.splitlines() if " accuracy " in line)
    assert row.count("[") == row.count("]") == 3, "intervals are not broken over lines"


def test_an_encoders_warning_is_a_line_for_the_person_who_typed_the_command(
    run_cli: Run, videos: Path, trained: Path
) -> None:
    shutil.copytree(trained / "encoder", "doubtful")
    config = json.loads(Path("doubtful/config.json").read_text(encoding="utf-8"))
    write_json(Path("doubtful/config.json"), config | {"warning": "no better than noise"})
    words = ("--data", videos, "--protocols", "knn", "--folds", "2")
    answer = run_cli("evaluate", "doubtful", *words, "--cache", trained.parent / "cache")
    assert answer.code == 0
    assert "warning: doubtful: no better than noise\n" in answer.err
    assert "EncoderWarning" not in answer.err


@pytest.mark.slow
def test_search_and_audit_print_one_object_each(run_cli: Run, videos: Path) -> None:
    Path("space.yaml").write_text(SPACE)
    words = ("--data", videos, "--space", "space.yaml", "--cache", "cache", "--out", "run")
    found = one_object(
        run_cli, "search", *words, "--trials", "3", "--steps", "2", "--final-steps", "2"
    )
    assert Path(found["encoder"], "model.safetensors").is_file()
    assert found["verdict"]["line"]
    rows = [f"{file},{'ab'[i % 2]}" for i, file in enumerate(sorted(videos.rglob("*.mp4")))]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]))
    scores = one_object(run_cli, "audit", "run", "--data", "labels.csv", "--folds", "2")["scores"]
    assert {"score", "better", "spearman"} <= set(scores[0])
