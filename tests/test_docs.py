"""What the documentation shows is real: Python, commands, make targets, links and names."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from docs.generate import generated_pages, linked_files, relink
from evossl.cli import VERBS, cli
from evossl.search.table import TrialRow
from evossl.training.history import StepReport

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?: {4,}|\$ )(?:\.venv/bin/)?evossl +(\S.*)$", re.MULTILINE)
INLINE_COMMAND = re.compile(r"`evossl ([a-z][^`\n]*)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
IDENTIFIER = re.compile(r"\b(?:[a-z]\w*_\w+|[A-Z][a-z]+[A-Z]\w+)\b")
OUR_FILE = re.compile(
    r"(?<![\w/.])((?:benchmarks|evossl|examples|search_spaces|tasks|tests)/[\w./-]+\.\w+)"
)
MAX_WIDTH = 100
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def command_error(words: list[str], *, is_complete: bool) -> str:
    """Return what is wrong with a command, or "". Nothing runs.

    A command that is not complete may lack arguments, but its verb and options must exist.
    """
    if words[0] not in VERBS:
        return f"no verb {words[0]}"
    verb = cli.get_command(click.Context(cli), words[0])
    assert verb is not None
    known = {option for parameter in verb.params for option in parameter.opts}
    unknown = [w for w in words[1:] if w.startswith("--") and w.split("=")[0] not in known]
    if unknown:
        return f"{words[0]}: no option {', '.join(unknown)}"
    try:
        verb.make_context(words[0], words[1:], resilient_parsing=not is_complete)
    except click.ClickException as error:
        return f"{' '.join(words)}: {error.format_message()}"
    return ""


def compiles(block: str) -> bool:
    try:
        compile(block, "page", "exec")
    except SyntaxError:
        return False
    return True


def shown_commands(text: str) -> Iterator[list[str]]:
    for line in COMMAND.findall(text):
        yield shlex.split(line, comments=True)


@cache
def words_of_the_repository() -> frozenset[str]:
    """Return every word of the code, the tests, and the files that configure them."""
    folders = ("evossl", "tasks", "search_spaces", "benchmarks", "tests", "examples")
    files = [path for folder in folders for path in ROOT.joinpath(folder).rglob("*.*")]
    texts = [p.read_text(encoding="utf-8") for p in files if p.suffix in (".py", ".yaml", ".j2")]
    texts += [(ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "pyproject.toml")]
    named = [path.stem for path in files]
    return frozenset(re.findall(r"\w+", "\n".join([*texts, *named])))


@every_page
def test_python_blocks_compile(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = PYTHON.findall(text)
    assert len(blocks) == text.count("```python"), "a block that is not closed, or indented"
    assert [block for block in blocks if not compiles(block)] == []


@every_page
def test_shown_commands_parse(page: Path) -> None:
    commands = list(shown_commands(page.read_text(encoding="utf-8")))
    errors = [command_error(words, is_complete=True) for words in commands]
    assert [error for error in errors if error] == []


@every_page
def test_inline_commands_name_real_verbs_and_options(page: Path) -> None:
    mentions = [shlex.split(c) for c in INLINE_COMMAND.findall(page.read_text(encoding="utf-8"))]
    commands = [[word for word in words if word not in ("...", "|")] for words in mentions]
    errors = [command_error(words, is_complete=False) for words in commands]
    assert [error for error in errors if error] == []


def test_command_check_finds_errors() -> None:
    (words,) = shown_commands("    evossl report run --wide\n")
    assert "--wide" in command_error(words, is_complete=True)
    assert "--wide" in command_error(words, is_complete=False)
    assert "RUN" in command_error(["report"], is_complete=True)
    assert command_error(["report"], is_complete=False) == ""
    assert "repot" in command_error(["repot", "run"], is_complete=True)
    assert command_error(["report", "run"], is_complete=True) == ""
    assert not compiles("encoder = (")


@every_page
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    shown = re.findall(r"(?:^ {4,}|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)
    assert set(shown) <= set(targets)


@every_page
def test_links_to_files_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name
)
def test_names_in_code_style_exist(page: Path) -> None:
    """The changelog is left out, because it lists names that are gone; paths are checked below."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    spans = [span for span in INLINE_CODE.findall(text) if "/" not in span]
    named = {name for span in spans for name in IDENTIFIER.findall(span)}
    unknown = named - words_of_the_repository()
    assert not [name for name in unknown if not name.startswith("test_")]


@every_page
def test_named_files_of_the_repository_exist(page: Path) -> None:
    named = OUR_FILE.findall(page.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]


@every_page
def test_lines_fit_100_columns(page: Path) -> None:
    """A row of a table cannot be wrapped."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > MAX_WIDTH and not line.startswith("|")]


def test_architecture_lists_every_module_in_layer_order() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, table = page.split("| layer | modules | what it does |")
    rows = [row.split("|")[2] for row in table.split("\n\n")[0].splitlines()[2:]]
    named = re.findall(r"`(\w+)`", " ".join(rows))
    files = [path.stem for path in (ROOT / "evossl").glob("[!_]*.py")]
    folders = [path.parent.name for path in (ROOT / "evossl").glob("*/__init__.py")]
    assert sorted(named) == sorted(files + folders)
    layers = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1]
    order = [name for name in re.findall(r"\b[a-z]\w+", layers.split("]")[0]) if name != "_version"]
    assert named == order


def test_architecture_lists_every_column_and_history_key() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    columns = re.findall(r"^\| `(\w+)` \| (?:int|str|float) \|", page, re.MULTILINE)
    parts = {"indicators", "weights", "genes"}  # columns such as `weight.<term>`
    assert set(columns) == {field.name for field in fields(TrialRow)} - parts
    (line,) = re.findall(r"^ {4}(\{.*?null\})$", page, re.MULTILINE | re.DOTALL)
    assert set(json.loads(line)) == {field.name for field in fields(StepReport)}


def test_readme_shows_demo_and_test_first() -> None:
    assert re.findall(r"^ +make (\w+)", README, re.MULTILINE)[:2] == ["demo", "test"]
    assert len(list(shown_commands(README))) >= 4


def test_readme_python_runs_on_an_exported_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from evossl.export.encoder_folder import EncoderConfig, export_encoder
    from evossl.io.spaces import load_space
    from evossl.models.encoder import build_encoder
    from evossl.types import Stream

    (block, *_) = PYTHON.findall(README)
    space = load_space("tiny")
    encoder = build_encoder(Stream.RGB, space.backbone, 0)
    names = {"frames": torch.zeros(40, 48, 64, 3, dtype=torch.uint8)}
    monkeypatch.chdir(tmp_path)
    config = EncoderConfig.from_space(space, encoder, provenance={})
    export_encoder(encoder, Path("run/winner/encoder"), config)
    exec(block, names)
    assert names["embedding"].shape == (1, config.width)
    assert names["maps"]["stage1"].shape[0] == 1


def test_generated_pages_name_tasks_spaces_and_verbs() -> None:
    """`make docs` builds the whole site; here, only what is generated from the code."""
    pages = generated_pages()
    tasks = {path.stem for path in ROOT.glob("tasks/[!_]*.py")}
    assert set(re.findall(r"^## (\w+)", pages["reference/tasks.md"], re.MULTILINE)) == tasks
    assert "| `temperature` |" in pages["reference/tasks.md"]
    spaces = {path.stem for path in ROOT.glob("search_spaces/**/*.yaml")}
    rows = re.findall(r"^\| `(?:\w+/)?(\w+)` \|", pages["reference/spaces.md"], re.MULTILINE)
    assert set(rows) == spaces
    assert re.findall(r"^## (\w+)", pages["reference/cli.md"], re.MULTILINE) == list(VERBS)
    assert "--ignores WORDS" in pages["reference/cli.md"]


def test_site_links_lead_inside_the_site() -> None:
    assert {"README.md", "CHANGELOG.md", "examples/slow_and_steady.yaml"} <= linked_files()
    assert relink("[a](docs/fitness.md#guards)", "README.md") == "[a](fitness.md#guards)"
    assert relink("[a](../README.md)", "docs/fitness.md") == "[a](index.md)"
    assert relink("[a](https://arxiv.org)", "README.md") == "[a](https://arxiv.org)"


def cluster_launcher() -> dict[str, object]:
    launcher = YAML(typ="safe").load((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"))
    assert isinstance(launcher, dict)
    return launcher


SPACES_IN_DOCS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(YAML_BLOCK.findall(page.read_text(encoding="utf-8")))
    if block.startswith("ignores:")
]


def test_a_page_shows_a_search_space() -> None:
    assert SPACES_IN_DOCS


@pytest.mark.parametrize("block", SPACES_IN_DOCS)
def test_search_spaces_in_docs_can_be_trained(block: str) -> None:
    from evossl.cli.checks import check_space
    from evossl.io.spaces import parse_space

    space = parse_space(YAML(typ="safe").load(block), "docs")
    check_space(space, None, "docs")


def test_cluster_launcher_matches_the_schema_of_ray() -> None:
    import jsonschema
    import ray.autoscaler

    file = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(cluster_launcher(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(cluster_launcher() | {"max_worker": 3}, schema)


def test_cluster_launcher_passes_the_checks_of_ray_up() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster_launcher())
    prepared["cluster_synced_files"] = prepared.get("cluster_synced_files", [])
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_cluster_launcher_hides_the_dashboard() -> None:
    commands = cluster_launcher()["head_start_ray_commands"]
    start = [line for line in commands if "ray start" in line]
    assert all("--dashboard-host=127.0.0.1" in line for line in start)
