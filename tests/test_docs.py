"""What the documents promise: their Python compiles, their commands parse, their links lead on."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from evossl.cli import VERBS, cli
from evossl.io.yaml_file import parse_yaml

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^(?: {4,}|\$ )(?:\.venv/bin/)?evossl +(\S.*)$", re.MULTILINE)
INLINE = re.compile(r"`evossl ([a-z][^`\n]*)`")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def fault(words: list[str], *, strict: bool) -> str:
    """What is wrong with a command, as a person would be told, or ""; nothing runs.

    Not strict: it may be a part of a command, but what is there must exist.
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
        verb.make_context(words[0], words[1:], resilient_parsing=not strict)
    except click.ClickException as error:
        return f"{' '.join(words)}: {error.format_message()}"
    return ""


def compiles(block: str) -> bool:
    """Whether Python can read it."""
    try:
        compile(block, "page", "exec")
    except SyntaxError:
        return False
    return True


def shown_commands(text: str) -> Iterator[list[str]]:
    for line in LINE.findall(text):
        yield shlex.split(line, comments=True)


def test_the_pages_show_commands_and_python() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(list(shown_commands(readme))) >= 4
    assert PYTHON.search(readme)


@every_page
def test_every_python_block_compiles(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = PYTHON.findall(text)
    assert len(blocks) == text.count("```python"), "a block that is not closed, or indented"
    assert [block for block in blocks if not compiles(block)] == []


@every_page
def test_every_command_shown_parses(page: Path) -> None:
    commands = list(shown_commands(page.read_text(encoding="utf-8")))
    assert [found for words in commands if (found := fault(words, strict=True))] == []


@every_page
def test_every_command_named_in_a_sentence_has_a_verb_and_options_that_exist(page: Path) -> None:
    mentions = [shlex.split(text) for text in INLINE.findall(page.read_text(encoding="utf-8"))]
    named = [[word for word in words if word not in ("...", "|")] for words in mentions]
    assert [found for words in named if (found := fault(words, strict=False))] == []


def test_these_checks_find_what_is_wrong() -> None:
    (words,) = shown_commands("    evossl report run --wide\n")
    assert "--wide" in fault(words, strict=True)
    assert "--wide" in fault(words, strict=False)
    assert "RUN" in fault(["report"], strict=True)
    assert fault(["report"], strict=False) == ""
    assert "repot" in fault(["repot", "run"], strict=True)
    assert fault(["report", "run"], strict=True) == ""
    assert not compiles("encoder = (")


@every_page
def test_every_make_target_shown_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    shown = re.findall(r"(?:^ {4,}|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.M)
    assert set(shown) <= set(targets)


@every_page
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


def test_the_table_of_layers_names_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    _, table = page.split("| layer | modules | knows |")
    rows = [row.split("|")[2] for row in table.split("\n\n")[0].splitlines()[2:]]
    named = re.findall(r"`(\w+)`", " ".join(rows))
    files = [path.stem for path in (ROOT / "evossl").glob("[!_]*.py")]
    folders = [path.parent.name for path in (ROOT / "evossl").glob("*/__init__.py")]
    assert sorted(named) == sorted(files + folders)


def test_the_readme_s_two_commands_are_the_makefile_s() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^ +make (\w+)", readme, re.MULTILINE)[:2] == ["demo", "test"]


def test_the_readme_s_python_runs_on_an_encoder_in_a_run_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from evossl.export.encoder_folder import EncoderConfig, export_encoder
    from evossl.io.spaces import load_space
    from evossl.models.encoder import build_encoder
    from evossl.types import Stream

    (block, *_) = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    space = load_space("tiny")
    encoder = build_encoder(Stream.RGB, space.backbone, 0)
    names = {"frames": torch.zeros(40, 48, 64, 3, dtype=torch.uint8)}
    monkeypatch.chdir(tmp_path)
    config = EncoderConfig.of(space, encoder, provenance={})
    export_encoder(encoder, Path("run/winner/encoder"), config)
    exec(block, names)
    assert names["embedding"].shape == (1, config.width)
    assert names["maps"]["stage1"].shape[0] == 1


def launcher() -> dict[str, object]:
    found = parse_yaml((ROOT / "ray_cluster.yaml").read_text(encoding="utf-8"), "ray_cluster.yaml")
    assert isinstance(found, dict)
    return found


def test_the_cluster_launcher_passes_ray_s_schema() -> None:
    import jsonschema
    import ray.autoscaler

    file = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(launcher(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(launcher() | {"max_worker": 3}, schema)


def test_the_cluster_launcher_passes_what_ray_up_checks() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(launcher())
    prepared["cluster_synced_files"] = prepared.get("cluster_synced_files", [])
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_the_cluster_launcher_keeps_the_dashboard_off_the_network() -> None:
    start = [line for line in launcher()["head_start_ray_commands"] if "ray start" in line]
    assert all("--dashboard-host=127.0.0.1" in line for line in start)
