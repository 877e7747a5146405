"""An mkdocs hook that adds the pages which are generated from the code, and mends links.

The pages of tasks, search spaces and the command line are written at each build, so they cannot
disagree with the code and none of them is committed. The README becomes the site's first page.
Other files of the repository that a page links to are copied into the site.
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from evossl.cli import VERBS, cli
from evossl.config import SearchSpace
from evossl.io.spaces import load_space, shipped_spaces
from evossl.task import Task
from evossl.task_loader import load_catalogue

ROOT = Path(__file__).parent.parent
ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
HELP_WIDTH = 96
TASKS_INTRO = """\
Each task is one file in `tasks/`. A search space names the tasks it uses, the places (streams) it
uses them on, and their options. `evossl tasks` prints this list."""
SPACES_INTRO = """\
`--space` takes one of these names, or a YAML file. `evossl spaces` prints this list with the path
of each file, which you can copy and change."""
CLI_INTRO = """\
Each verb exits with 0 when it is done, 1 when it failed, 2 when it was used wrongly and 130 when it
was stopped."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the files that pages link to. Called by mkdocs."""
    for name, text in generated_pages().items():
        files.append(File.generated(config, name, content=text))
    for name in sorted(linked_files()):
        files.append(File.generated(config, site_path(name), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Return the page with links that lead to the site's own files. Called by mkdocs."""
    return relink(markdown, repository_path(page.file.src_uri))


def generated_pages() -> dict[str, str]:
    """Return the text of each page that is written from the code, by its path in the site."""
    return {
        "reference/tasks.md": tasks_page(),
        "reference/spaces.md": spaces_page(),
        "reference/cli.md": cli_page(),
    }


def tasks_page() -> str:
    """Return the catalogue of tasks as Markdown."""
    parts = [
        "# Tasks",
        TASKS_INTRO,
    ]
    for name, task in load_catalogue().items():
        parts += _task_section(name, task)
    return "\n\n".join(parts) + "\n"


def _task_section(name: str, task: type[Task]) -> Iterator[str]:
    first, _, rest = (sys.modules[task.__module__].__doc__ or "").strip().partition("\n")
    yield f"## {name}"
    yield f"**{_escape(first)}**"
    yield from (_escape(part) for part in rest.strip().split("\n\n") if "Shapes:" not in part)
    places = ", ".join(f"`{place.name}`" for place in task.places)
    yield f"Places: {places}."
    if task.variants:
        variants = ", ".join(f"`{variant}`" for variant in task.variants)
        yield f"Variants at each place: {variants}."
    if rows := list(_option_rows(task)):
        yield "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _option_rows(task: type[Task]) -> Iterator[str]:
    described = dict(ARGUMENT.findall(inspect.getdoc(task) or ""))
    for name, parameter in list(inspect.signature(task).parameters.items())[1:]:
        meaning = " ".join(described.get(name, "").split())
        yield f"| `{name}` | `{parameter.default!r}` | {_escape(meaning)} |"


def spaces_page() -> str:
    """Return the shipped search spaces as Markdown."""
    rows = [_space_row(name, load_space(name)) for name in shipped_spaces()]
    head = "| space | what it is | ignores | tasks |"
    return "\n".join(
        [
            "# Search spaces",
            "",
            SPACES_INTRO,
            "",
            head,
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _space_row(name: str, space: SearchSpace) -> str:
    ignored = ", ".join(space.ignores)
    tasks = ", ".join(f"`{task}`" for task in space.tasks)
    return f"| `{name}` | {_escape(space.about)} | {ignored} | {tasks} |"


def cli_page() -> str:
    """Return the help text of each verb as Markdown."""
    context = click.Context(cli, info_name="evossl", max_content_width=HELP_WIDTH)
    parts = [
        "# Command line",
        CLI_INTRO,
        _code(cli.get_help(context)),
    ]
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        inner = click.Context(command, info_name=verb, parent=context, max_content_width=HELP_WIDTH)
        parts += [f"## {verb}", _code(command.get_help(inner))]
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    return f"```text\n{text}\n```"


def _escape(text: str) -> str:
    """Return the text with the characters of Markdown escaped, except between backquotes."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([|<>*_\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def linked_files() -> set[str]:
    """Return the files outside `docs/` that the site needs: root pages, and what pages link to."""
    found: set[str] = set()
    waiting = [*ROOT_PAGES, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name.endswith(".md"):
            text = (ROOT / name).read_text(encoding="utf-8")
            targets = [link[0] for link in LINK.findall(text) if "://" not in link[0]]
            paths = [os.path.normpath(Path(name).parent / target) for target in targets]
            waiting += [path for path in paths if (ROOT / path).is_file()]
    return {name for name in found if not name.startswith("docs/")}


def site_path(name: str) -> str:
    """Return the path in the site of a file of the repository."""
    if name == "README.md":
        return "index.md"
    return name.removeprefix("docs/")


def repository_path(name: str) -> str:
    """Return the path in the repository of a file of the site."""
    if name == "index.md":
        return "README.md"
    return f"docs/{name}" if (ROOT / "docs" / name).is_file() else name


def relink(text: str, name: str) -> str:
    """Return a page's text with its links leading to the same files inside the site.

    Args:
        text: Markdown, with links as they are right in the repository.
        name: the page's path in the repository.
    """

    def mend(match: re.Match[str]) -> str:
        target, anchor = match.groups()
        path = os.path.normpath(Path(name).parent / target)
        if "://" in target or not (ROOT / path).is_file():
            return match[0]
        inside = os.path.relpath(site_path(path), Path(site_path(name)).parent)
        return f"]({Path(inside).as_posix()}{anchor or ''})"

    return LINK.sub(mend, text)
