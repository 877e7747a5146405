"""The wheel contains the catalogue, and an installed evossl runs from any folder.

Only evossl is installed from the wheel here; its libraries come from the environment of the tests,
because downloading torch and ray again would take minutes.
"""

import ast
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def files_of(folder: str, pattern: str) -> set[str]:
    return {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob(pattern)}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel that was built from this tree."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_library_catalogue_and_template(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for inside, folder, pattern in (
        ("evossl", "evossl", "*.py"),
        ("evossl/report", "evossl/report", "*.j2"),
        ("evossl/report", "evossl/report", "*.css"),
        ("evossl/report", "evossl/report", "*.js"),
        ("evossl/catalogue/tasks", "tasks", "*.py"),
        ("evossl/catalogue/search_spaces", "search_spaces", "*.yaml"),
    ):
        wanted = {f"{inside}/{file}" for file in files_of(folder, pattern)}
        assert wanted
        assert wanted <= names
    assert "evossl/py.typed" in names


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"evossl", next(top for top in tops if top.endswith(".dist-info"))}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_wheel_requires_what_pyproject_says(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (name,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("METADATA"))
    metadata = zipfile.ZipFile(wheel).read(name).decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert len([line for line in required if "extra ==" not in line]) == len(
        project["dependencies"]
    )
    assert f"Version: {project['version']}" in metadata


def test_every_imported_library_is_required_and_pinned() -> None:
    """A library that only comes with another one may disappear with its next version."""
    files = [*(ROOT / "evossl").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in named} - sys.stdlib_module_names - {"evossl"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = {bare_name(line) for line in project["dependencies"]}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {bare_name(line) for line in pins if not line.startswith("#")}
    brought_by = packages_distributions()
    by = {top: {bare_name(name) for name in brought_by.get(top, [top])} for top in tops}
    assert {"torch", "numpy"} <= tops
    assert not {top for top in tops if not by[top] & required}
    assert not {top for top in tops if not by[top] & pinned}


def bare_name(requirement: str) -> str:
    """Return the normalised name of a package: `Scikit_Learn>=1` is `scikit-learn`."""
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_version_is_the_same_in_every_file() -> None:
    import evossl

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert evossl.__version__ == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` folder of a venv in which evossl is installed from the wheel."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    install += ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    libraries = sysconfig.get_paths()["purelib"]  # its own .pth files, the editable one, stay off
    (site / "libraries.pth").write_text(f"{libraries}\n", encoding="utf-8")
    return folder / "bin"


def run(installed: Path, where: Path, *argv: str, timeout: int = 120) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "EVOSSL"))}
    command = [str(installed / argv[0]), *argv[1:]]
    done = subprocess.run(
        command, cwd=where, env=clean, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_installed_wheel_finds_its_catalogue_anywhere(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "python", "-c", "import evossl; print(evossl.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent), (
        "evossl was imported from the repository"
    )
    tasks = json.loads(run(installed, tmp_path, "evossl", "tasks", "--json"))["tasks"]
    spaces = json.loads(run(installed, tmp_path, "evossl", "spaces", "--json"))["spaces"]
    assert {f"{row['task']}.py" for row in tasks} == files_of("tasks", "[!_]*.py")
    assert {f"{name}.yaml" for name in spaces} == files_of("search_spaces", "*.yaml")


@pytest.mark.slow
def test_installed_wheel_runs_the_demo_anywhere(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "evossl", "demo", "--out", "demo", timeout=1800)
    assert (tmp_path / "demo/run/winner/encoder/model.safetensors").is_file()
    assert (tmp_path / "demo/run/report.html").stat().st_size > 10_000
