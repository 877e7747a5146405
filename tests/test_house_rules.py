"""The rules of CONTRIBUTING.md that a machine can hold."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_FILE = 350
MAX_FUNCTION = 60
CODE = ("evossl", "tasks", "benchmarks", "examples")
OUTERMOST = {"evossl/cluster/actor.py", "evossl/cluster/job.py"}
OUTERMOST |= {"evossl/data/loader.py", "evossl/data/workers/worker.py"}
"""Where a trial, a process or a thread ends: all that can be raised is handed over."""


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the tree as git has them; in a tree without git, all but what tools make."""
    asked = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        names = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = (*CODE, "tests", "docs", "search_spaces", ".ci")
        names = [*ROOT.glob("*"), *(path for f in folders for path in ROOT.joinpath(f).rglob("*"))]
    return tuple(path for path in names if path.is_file() and "__pycache__" not in path.parts)


def texts() -> Iterator[tuple[str, str]]:
    """(path from the root, text) of each tracked text file."""
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw:
            yield path.relative_to(ROOT).as_posix(), raw.decode(errors="replace")


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """(path from the root, syntax tree) of each Python file of the folders."""
    for name, text in texts():
        if name.endswith(".py") and name.split("/")[0] in folders:
            yield name, ast.parse(text)


def test_the_rules_look_at_files_that_are_there() -> None:
    assert {"evossl", "tasks"} <= {name.split("/")[0] for name, _ in sources(*CODE)}
    assert len(list(texts())) > 100


def test_no_file_of_the_library_is_longer_than_350_lines() -> None:
    lengths = {name: text.count("\n") for name, text in texts() if name.split("/")[0] in CODE}
    assert not {n: lines for n, lines in lengths.items() if n.endswith(".py") and lines > MAX_FILE}


def test_no_function_of_the_library_is_longer_than_60_lines() -> None:
    long = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in sources(*CODE)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION
    ]
    assert not long


def test_only_the_outermost_frame_of_a_process_catches_everything() -> None:
    found = {
        name
        for name, tree in sources("evossl", "tasks")
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and swallows_everything(node)
    }
    assert found <= OUTERMOST


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    """`except:`, `except Exception`, `except BaseException`, unless what is not known goes on."""
    if any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)):
        return False
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def test_the_library_prints_nothing() -> None:
    found = [
        f"{name}:{node.lineno}"
        for name, tree in sources("evossl", "tasks")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not found


def test_nothing_shared_between_people_is_unpickled() -> None:
    """torch.load says weights_only, numpy.load says no pickle, nobody imports pickle."""
    found = []
    for name, tree in sources("evossl", "tasks"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                found += [f"{name}:{node.lineno}" for m in modules if "pickle" in m]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load"):
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if not (safe.get("weights_only") == "True" or safe.get("allow_pickle") == "False"):
                    found.append(f"{name}:{node.lineno}")
    assert not found


HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "conda" + ".io")
OPTIONS = ("--index" + "-url", "--extra-index" + "-url", "--trusted" + "-host", "--find" + "-links")


@pytest.mark.parametrize("word", [*HOSTS, *OPTIONS])
def test_no_file_names_a_package_registry(word: str) -> None:
    assert not [name for name, text in texts() if word in text]


def test_no_file_holds_a_path_of_somebody_s_machine() -> None:
    ours = re.compile(r"(?<![\w.])/(home|Users|root|work|mnt)/\w+")
    found = {
        name: match[0]
        for name, text in texts()
        if (match := ours.search(text)) and not name.startswith("tests/")
    }
    assert not found


def test_nothing_is_left_to_do() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    assert not [name for name, text in texts() if words.search(text)]


def test_every_test_has_a_name_that_says_something() -> None:
    short = [
        f"{name}:{node.name}"
        for name, tree in sources("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and node.name.count("_") < 3
    ]
    assert not short


def test_a_task_s_oracle_is_there() -> None:
    tasks = {path.stem for path in (ROOT / "tasks").glob("[!_]*.py")}
    oracles = {p.stem.removeprefix("test_") for p in (ROOT / "tests/oracles").glob("test_*.py")}
    assert tasks <= oracles


def test_every_folder_of_the_library_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "evossl").rglob("*.py")}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
