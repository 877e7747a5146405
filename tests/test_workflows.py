"""The files that GitHub and pre-commit read: they parse, and name commands that exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
TEMPLATES = sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = ROOT / ".github/workflows/ci.yml"


def parsed(file: Path) -> Any:
    return YAML(typ="safe").load(file.read_text(encoding="utf-8"))


def commands(workflow: Path) -> list[str]:
    jobs = parsed(workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def make_targets(workflow: Path) -> set[str]:
    return {match[1] for line in commands(workflow) if (match := re.match(r"make (\w+)", line))}


@pytest.mark.parametrize("file", [*WORKFLOWS, *TEMPLATES], ids=lambda file: file.name)
def test_yaml_file_of_github_parses(file: Path) -> None:
    assert parsed(file)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_workflow_uses_make_targets_that_exist(workflow: Path) -> None:
    assert make_targets(workflow)
    assert make_targets(workflow) <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_ci_runs_all_parts_of_make_check() -> None:
    (parts,) = re.findall(r"^check: (.*)", MAKEFILE, re.MULTILINE)
    assert {"lint", "types", "imports", "docs", "test"} == set(parts.split())
    assert set(parts.split()) <= make_targets(CI)


def test_ci_tests_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [re.search(r"3\.\d+$", line) for line in project["classifiers"]]
    supported = [match[0] for match in named if match]
    assert parsed(CI)["jobs"]["tests"]["strategy"]["matrix"]["python"] == supported


def test_release_uses_trusted_publishing() -> None:
    publish = parsed(ROOT / ".github/workflows/release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "pypa/gh-action-pypi-publish" in publish["steps"][-1]["uses"]
    assert "with" not in publish["steps"][-1], "no password"


def test_pre_commit_hooks_are_tools_of_the_dev_extra() -> None:
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    tools = {Path(hook["entry"].split()[0]).name for hook in repository["hooks"]}
    assert tools == {"ruff", "mypy", "lint-imports"}
