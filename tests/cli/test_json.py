"""`--json` prints one JSON object on stdout; messages for people go to stderr."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evossl.io.files import write_json
from evossl.io.spaces import shipped_spaces
from evossl.task_loader import load_catalogue
from tests.helpers.cli_runner import SPACE, RunCli

QUICK = ("--protocols", "knn", "--folds", "2")


def json_of(run_cli: RunCli, *argv: str | Path) -> dict[str, Any]:
    """Run a verb with --json; return the one object that it prints."""
    output = run_cli(*argv, "--json")
    assert output.code == 0, output
    assert output.out.count("\n") == 1
    found = json.loads(output.out)
    assert isinstance(found, dict)
    return found


def test_index_lists_the_files_that_were_set_aside(run_cli: RunCli, videos: Path) -> None:
    Path("mixed").mkdir()
    Path("mixed/text.mp4").write_text("text")
    good = next(videos.rglob("*.mp4"))
    Path("mixed/good.mp4").write_bytes(good.read_bytes())
    found = json_of(run_cli, "index", "mixed")
    assert found["videos"] == 1
    (aside,) = found["quarantined"]
    assert aside["path"].endswith("text.mp4")
    assert aside["reason"]


def test_a_single_video_is_a_valid_source(run_cli: RunCli, videos: Path) -> None:
    video = min(videos.rglob("*.mp4"))
    assert json_of(run_cli, "index", video) == {"videos": 1, "quarantined": []}
    assert run_cli("cache", video, "--out", "cache").out == "1 video in cache\n"


def test_tasks_lists_the_catalogue(run_cli: RunCli) -> None:
    found = json_of(run_cli, "tasks")["tasks"]
    assert {row["task"] for row in found} == set(load_catalogue())


def test_spaces_lists_the_shipped_spaces(run_cli: RunCli) -> None:
    assert set(json_of(run_cli, "spaces")["spaces"]) == set(shipped_spaces())


def test_doctor_reports_python_and_the_decoder(run_cli: RunCli) -> None:
    checks = {row["what"]: row for row in json_of(run_cli, "doctor")["checks"]}
    assert checks["Python"]["ok"]
    assert checks["decoder"]["note"] in ("decord", "pyav")


def test_evaluate_prints_scores_of_both_encoders(
    run_cli: RunCli, videos: Path, trained: Path
) -> None:
    argv = ("--data", videos, *QUICK, "--cache", trained.parent / "cache")
    found = json_of(run_cli, "evaluate", trained, *argv)
    assert found["n_videos"] == 24
    assert found["classes"] == sorted(folder.name for folder in videos.iterdir() if folder.is_dir())
    for side in ("encoder", "random_init"):
        assert 0 <= found[side]["knn"]["accuracy"] <= 1


def test_evaluate_prints_a_table_and_the_encoders_warning(
    run_cli: RunCli, videos: Path, trained: Path
) -> None:
    shutil.copytree(trained / "encoder", "doubtful")
    config = json.loads(Path("doubtful/config.json").read_text(encoding="utf-8"))
    write_json(Path("doubtful/config.json"), config | {"warning": "no better than noise"})
    argv = ("--data", videos, *QUICK, "--cache", trained.parent / "cache")
    output = run_cli("evaluate", "doubtful", *argv)
    assert output.code == 0
    assert "random init" in output.out
    (row,) = (line for line in output.out.splitlines() if " accuracy " in line)
    assert row.count("[") == row.count("]") == 3, "intervals are not broken over lines"
    assert "warning: doubtful: no better than noise\n" in output.err
    assert "EncoderWarning" not in output.err


@pytest.mark.slow
def test_search_and_audit_print_one_object_each(run_cli: RunCli, videos: Path) -> None:
    Path("space.yaml").write_text(SPACE)
    argv = ("--data", videos, "--space", "space.yaml", "--cache", "cache", "--out", "run")
    budget = ("--trials", "3", "--steps", "2", "--final-steps", "2")
    found = json_of(run_cli, "search", *argv, *budget)
    assert Path(found["encoder"], "model.safetensors").is_file()
    assert found["verdict"]["line"]
    rows = [f"{file},{'ab'[i % 2]}" for i, file in enumerate(sorted(videos.rglob("*.mp4")))]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]))
    scores = json_of(run_cli, "audit", "run", "--data", "labels.csv", "--folds", "2")["scores"]
    assert {"score", "better", "spearman"} <= set(scores[0])
