"""The rules of CONTRIBUTING.md that a machine can check."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from evossl.io.yaml_file import parse_yaml

ROOT = Path(__file__).parent.parent
CODE = ("evossl", "tasks", "benchmarks", "examples")
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
MAX_TEST_NAME = 59
MIN_TEST_WORDS = 3

CATCH_ALL_FILES = {
    "evossl/cluster/actor.py",
    "evossl/cluster/job.py",
    "evossl/data/loader.py",
    "evossl/data/workers/worker_main.py",
}
"""Where a trial, a process or a thread ends. Any exception is caught there and passed on."""

OLD_NAMES = """
Asked Cut Finished Judged Made Opened Room Seen SeenView Sides Site Told Weighing
Workbench _Book _Halt _Steps _Workshop arrows claim clips_of_a_video cross_correlation
dense_predictive goes_on happens head_lr one_of_many passing rehearse run_kept
seen_slowly segments_come_apart settled standing why_not yes_or_no
"""
"""Identifiers that were renamed; none of them may come back."""
OLD_KEYS = {"head_lr", "alone", "keep", "after"}
"""Keys of a search space before they were renamed."""

FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked() -> tuple[Path, ...]:
    """Files that git tracks; in a tree without git, all files but what tools generate."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        folders = (*CODE, "tests", "docs", "search_spaces", ".ci", ".github")
        names = [*ROOT.glob("*"), *(path for f in folders for path in ROOT.joinpath(f).rglob("*"))]
    return tuple(path for path in names if path.is_file() and "__pycache__" not in path.parts)


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """(path from the root, text) of each tracked text file."""
    found = []
    for path in tracked():
        raw = path.read_bytes()
        if b"\0" not in raw:
            found.append((path.relative_to(ROOT).as_posix(), raw.decode(errors="replace")))
    return tuple(found)


@cache
def sources(*folders: str) -> tuple[tuple[str, ast.Module], ...]:
    """(path from the root, syntax tree) of each Python file of the folders."""
    return tuple(
        (name, ast.parse(text))
        for name, text in texts()
        if name.endswith(".py") and name.split("/")[0] in folders
    )


def nodes(*folders: str) -> Iterator[tuple[str, Any]]:
    """(path from the root, node) of every syntax node of the folders."""
    for name, tree in sources(*folders):
        for node in ast.walk(tree):
            yield name, node


def expect_none(violations: Iterable[object]) -> None:
    """Fail with one violation a line, if there is any."""
    found = sorted(map(str, violations))
    assert not found, "\n" + "\n".join(found)


def functions(*folders: str) -> Iterator[tuple[str, FunctionDef]]:
    """("path:line function", node) of every function of the folders."""
    for name, node in nodes(*folders):
        if isinstance(node, FunctionDef):
            yield f"{name}:{node.lineno} {node.name}", node


def named_tests() -> Iterator[tuple[str, str]]:
    """("path:line function", name) of every test."""
    for place, node in functions("tests"):
        if node.name.startswith("test_"):
            yield place, node.name


def too_large(size: Callable[[FunctionDef], int], limit: int) -> list[str]:
    """Functions of the library whose size exceeds the limit."""
    sizes = {place: size(node) for place, node in functions(*CODE)}
    return [f"{place}: {found}" for place, found in sizes.items() if found > limit]


def num_lines(node: FunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def num_parameters(node: FunctionDef) -> int:
    """Parameters of a function; `self` and `cls` are not counted."""
    found = node.args
    named = [*found.posonlyargs, *found.args, *found.kwonlyargs, found.vararg, found.kwarg]
    return sum(one is not None and one.arg not in ("self", "cls") for one in named)


def test_the_rules_are_applied_to_existing_files() -> None:
    assert set(CODE) <= {name.split("/")[0] for name, _ in sources(*CODE)}
    assert len(texts()) > 100
    assert sum(1 for _ in named_tests()) > 100


def test_no_file_has_more_than_350_lines() -> None:
    lengths = {name: text.count("\n") for name, text in texts() if name.split("/")[0] in CODE}
    expect_none(
        f"{name}: {lines}"
        for name, lines in lengths.items()
        if name.endswith(".py") and lines > MAX_FILE_LINES
    )


def test_no_function_has_more_than_60_lines() -> None:
    expect_none(too_large(num_lines, MAX_FUNCTION_LINES))


def test_no_function_has_more_than_6_parameters() -> None:
    expect_none(too_large(num_parameters, MAX_PARAMETERS))


@pytest.mark.parametrize(
    ("code", "lines", "parameters"),
    [
        ("def f(): ...", 1, 0),
        ("def f(self, a, /, b, *c, d=1, **e):\n    pass", 2, 5),
        ("async def f(cls, *, a):\n    x = 1\n    return x", 3, 1),
    ],
)
def test_lines_and_parameters_are_counted(code: str, lines: int, parameters: int) -> None:
    (node,) = ast.parse(code).body
    assert isinstance(node, FunctionDef)
    assert (num_lines(node), num_parameters(node)) == (lines, parameters)


def test_only_the_end_of_a_process_catches_every_error() -> None:
    found = {
        name
        for name, node in nodes("evossl", "tasks")
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
    }
    assert found <= CATCH_ALL_FILES


def catches_everything(handler: ast.ExceptHandler) -> bool:
    """Whether it is `except:`, `except Exception` or `BaseException` without a bare `raise`."""
    if any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)):
        return False
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {"Exception", "BaseException"})


def test_the_library_never_calls_print() -> None:
    expect_none(
        [
            f"{name}:{node.lineno}"
            for name, node in nodes("evossl", "tasks")
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ]
    )


def imports(node: Any) -> list[str]:
    """Modules that an import statement names; empty for any other node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return []


def test_no_file_shared_between_people_is_unpickled() -> None:
    """`torch.load` sets weights_only, `np.load` forbids pickles, and nobody imports pickle."""
    found = []
    for name, node in nodes("evossl", "tasks"):
        found += [f"{name}:{node.lineno}" for module in imports(node) if "pickle" in module]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load"):
            given = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if not (given.get("weights_only") == "True" or given.get("allow_pickle") == "False"):
                found.append(f"{name}:{node.lineno}")
    expect_none(found)


def names_from_package(node: Any) -> set[str]:
    """Names that a statement takes from `evossl/__init__.py`; submodules are not among them."""
    if isinstance(node, ast.ImportFrom) and node.module == "evossl":
        modules = {path.stem for path in (ROOT / "evossl").iterdir()}
        return {alias.name for alias in node.names} - modules
    return {"evossl"} & set(imports(node))


def test_no_module_imports_the_package_itself() -> None:
    """`evossl/__init__.py` is for users; the library imports `evossl._version` and the like."""
    expect_none(
        f"{name}:{node.lineno} {found}"
        for name, node in nodes("evossl")
        for found in names_from_package(node)
    )


def test_test_helpers_are_imported_by_their_full_name() -> None:
    helpers = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    expect_none(
        f"{name}:{node.lineno} {module}"
        for name, node in nodes("tests")
        for module in imports(node)
        if module in helpers
    )


def identifiers(node: ast.AST) -> set[str]:
    """Names that a syntax node defines or uses."""
    fields = ("id", "attr", "arg", "name", "asname")
    found = {name for field in fields if isinstance(name := getattr(node, field, None), str)}
    return found | {part for module in imports(node) for part in module.split(".")}


def test_no_old_name_is_left_in_the_code() -> None:
    old_names = set(OLD_NAMES.split())
    expect_none(
        {
            f"{name}:{getattr(node, 'lineno', '')} {old}"
            for name, node in nodes(*CODE, "tests")
            for old in identifiers(node) & old_names
        }
    )


def keys(value: Any) -> Iterator[str]:
    """Every key of nested mappings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_no_old_key_is_left_in_a_search_space() -> None:
    spaces = [(name, text) for name, text in texts() if name.startswith("search_spaces/")]
    assert spaces
    expect_none({name for name, text in spaces if OLD_KEYS & set(keys(parse_yaml(text, name)))})


HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "conda" + ".io")
OPTIONS = ("--index" + "-url", "--extra-index" + "-url", "--trusted" + "-host", "--find" + "-links")


@pytest.mark.parametrize("word", [*HOSTS, *OPTIONS])
def test_no_file_names_a_package_registry(word: str) -> None:
    expect_none([name for name, text in texts() if word in text])


def test_no_file_holds_a_path_of_one_machine() -> None:
    local = re.compile(r"(?<![\w.])/(home|Users|root|work|mnt)/\w+")
    expect_none(
        f"{name}: {match[0]}"
        for name, text in texts()
        if (match := local.search(text)) and not name.startswith("tests/")
    )


def test_no_file_holds_a_note_of_unfinished_work() -> None:
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    expect_none([name for name, text in texts() if words.search(text)])


def test_every_test_name_has_at_least_three_words() -> None:
    expect_none([place for place, name in named_tests() if name.count("_") < MIN_TEST_WORDS])


def test_every_test_name_has_fewer_than_60_characters() -> None:
    expect_none([place for place, name in named_tests() if len(name) > MAX_TEST_NAME])


def test_no_file_defines_a_test_name_twice() -> None:
    counts = Counter((place.split(":")[0], name) for place, name in named_tests())
    expect_none([found for found, count in counts.items() if count > 1])


def test_every_task_has_an_oracle() -> None:
    tasks = {path.stem for path in (ROOT / "tasks").glob("[!_]*.py")}
    oracles = {p.stem.removeprefix("test_") for p in (ROOT / "tests/oracles").glob("test_*.py")}
    assert tasks <= oracles


def test_every_folder_of_the_library_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "evossl").rglob("*.py")}
    expect_none([folder for folder in folders if not (folder / "__init__.py").is_file()])
