"""docs/adding-a-task.md: what it shows is the example, and what it tells a reader to type works."""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_runner import Run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
TASK = ROOT / "examples" / "tasks" / "slow_and_steady.py"
SPACE = ROOT / "examples" / "slow_and_steady.yaml"
ORACLE = ROOT / "tests" / "oracles" / "test_slow_and_steady.py"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def shown(start: str) -> list[str]:
    """The words of the one command of the page that begins so."""
    (line,) = re.findall(rf"^    ({re.escape(start)} .*)$", PAGE, re.MULTILINE)
    return shlex.split(line)


def copied(folder: Path) -> None:
    (folder / "my_tasks").mkdir()
    shutil.copy(TASK, folder / "my_tasks")


def test_the_page_shows_the_files_as_they_are() -> None:
    task, oracle = blocks("python")
    assert task == TASK.read_text(encoding="utf-8")
    assert oracle.count("def test_") == 1
    assert oracle in ORACLE.read_text(encoding="utf-8")
    assert blocks("yaml") == [SPACE.read_text(encoding="utf-8")]


def test_every_task_that_the_page_points_to_is_there() -> None:
    named = re.findall(r"\| ([^|]*)\|$", PAGE[PAGE.index("| a method wants") :], re.MULTILINE)
    tasks = {word for cell in named for word in re.findall(r"`(\w+)`", cell)}
    assert len(tasks) > 10
    assert not [name for name in tasks if not (ROOT / "tasks" / f"{name}.py").is_file()]


def test_a_file_in_a_folder_of_one_s_own_is_listed_and_trained(
    run_cli: Run, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOSSL_CACHE", str(tmp_path / "cache"))
    copied(tmp_path)
    (tmp_path / "videos").symlink_to(videos)
    shutil.copy(SPACE, tmp_path / "space.yaml")
    listed = run_cli(*shown("evossl tasks")[1:])
    assert listed.code == 0
    assert "slow_and_steady: Slow and steady: what a video shows" in listed.out
    train = shown("evossl train")[1:]
    trained = run_cli(*train)
    assert trained.code == 0, trained.err
    history = (tmp_path / "trained" / "history.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in history.splitlines()]
    assert lines
    assert all(math.isfinite(line["loss"]["slow_and_steady.rgb"]) for line in lines)
    assert (tmp_path / "trained" / "encoder" / "model.safetensors").is_file()
    space = (tmp_path / "space.yaml").read_text(encoding="utf-8")
    (tmp_path / "space.yaml").write_text(space.replace("margin: 0.8", "margin: 0.0"))
    refused = run_cli(*train[:-4], "--out", "other")
    assert refused.code == 2
    assert "the margin is above 0, got 0.0" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("breaks", [False, True])
def test_the_contract_tests_run_over_a_folder_of_one_s_own(tmp_path: Path, breaks: bool) -> None:
    copied(tmp_path)
    if breaks:
        file = tmp_path / "my_tasks" / TASK.name
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("slow = max", "slow = first.new_empty(1).normal_()[0] + max"))
    (line,) = re.findall(r"^    EVOSSL_TASKS=my_tasks \S+python (.*)$", PAGE, re.MULTILINE)
    words = [str(ROOT / word) if word == "tests/contract" else word for word in shlex.split(line)]
    env = os.environ | {"EVOSSL_TASKS": str(tmp_path / "my_tasks")}
    done = subprocess.run(
        [sys.executable, *words, "-q"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == int(breaks), done.stdout
    assert ("draws_nothing[slow_and_steady.rgb]" in done.stdout) == breaks
