"""docs/adding-a-task.md: the files it shows are the example's, and its commands work."""

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

from tests.helpers.cli_runner import RunCli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
TASK = ROOT / "examples" / "tasks" / "slow_and_steady.py"
SPACE = ROOT / "examples" / "slow_and_steady.yaml"
ORACLE = ROOT / "tests" / "oracles" / "test_slow_and_steady.py"


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def shown_command(start: str) -> list[str]:
    """Return the words of the page's only command that begins with `start`."""
    (line,) = re.findall(rf"^    ({re.escape(start)} .*)$", PAGE, re.MULTILINE)
    return shlex.split(line)


def copy_task(folder: Path) -> None:
    (folder / "my_tasks").mkdir()
    shutil.copy(TASK, folder / "my_tasks")


def test_page_shows_the_example_files_as_they_are() -> None:
    task, oracle = code_blocks("python")
    assert task == TASK.read_text(encoding="utf-8")
    assert oracle.count("def test_") == 1
    assert oracle in ORACLE.read_text(encoding="utf-8")
    assert code_blocks("yaml") == [SPACE.read_text(encoding="utf-8")]


def test_page_names_example_tasks_that_exist() -> None:
    table = PAGE.split("| a method wants")[1].split("\n\n")[0]
    cells = re.findall(r"\| ([^|]*)\|$", table, re.MULTILINE)
    tasks = {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}
    assert len(tasks) > 10
    assert not [name for name in tasks if not (ROOT / "tasks" / f"{name}.py").is_file()]


def test_task_in_own_folder_is_listed_and_trained(
    run_cli: RunCli, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOSSL_CACHE", str(tmp_path / "cache"))
    copy_task(tmp_path)
    (tmp_path / "videos").symlink_to(videos)
    shutil.copy(SPACE, tmp_path / "space.yaml")
    listed = run_cli(*shown_command("evossl tasks")[1:])
    assert listed.code == 0
    first_line = TASK.read_text(encoding="utf-8").splitlines()[0].strip('"')
    assert f"slow_and_steady: {first_line}" in listed.out
    train = shown_command("evossl train")[1:]
    trained = run_cli(*train)
    assert trained.code == 0, trained.err
    history = (tmp_path / "trained" / "history.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in history.splitlines()]
    assert lines
    assert all(math.isfinite(line["loss"]["slow_and_steady.rgb"]) for line in lines)
    assert (tmp_path / "trained" / "encoder" / "model.safetensors").is_file()


def test_error_of_own_task_is_shown_to_the_user(
    run_cli: RunCli, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOSSL_CACHE", str(tmp_path / "cache"))
    copy_task(tmp_path)
    (tmp_path / "videos").symlink_to(videos)
    text = SPACE.read_text(encoding="utf-8")
    assert "margin: 0.8" in text
    (tmp_path / "space.yaml").write_text(text.replace("margin: 0.8", "margin: 0.0"))
    refused = run_cli(*shown_command("evossl train")[1:])
    assert refused.code == 2
    assert re.search(r"margin .*got 0\.0", refused.err)


@pytest.mark.slow
@pytest.mark.parametrize("is_broken", [False, True])
def test_contract_tests_run_over_own_folder(tmp_path: Path, is_broken: bool) -> None:
    copy_task(tmp_path)
    if is_broken:
        file = tmp_path / "my_tasks" / TASK.name
        text = file.read_text(encoding="utf-8")
        assert "slow = max" in text
        file.write_text(text.replace("slow = max", "slow = first.new_empty(1).normal_()[0] + max"))
    (line,) = re.findall(r"^    EVOSSL_TASKS=my_tasks \S+python (.*)$", PAGE, re.MULTILINE)
    words = [str(ROOT / word) if word == "tests/contract" else word for word in shlex.split(line)]
    env = os.environ | {"EVOSSL_TASKS": str(tmp_path / "my_tasks")}
    done = subprocess.run(
        [sys.executable, *words, "-q"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == int(is_broken), done.stdout
    failed = re.findall(
        r"^FAILED .*(?:draws_nothing|no_random).*slow_and_steady", done.stdout, re.M
    )
    assert bool(failed) == is_broken
