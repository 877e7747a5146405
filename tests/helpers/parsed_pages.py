"""Report pages parsed by `html.parser`, independently of the code that writes them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from evossl.report import write_report
from evossl.search.table import TrialRow

VOID_TAGS = {"meta", "img", "br", "link", "hr", "input"}


@dataclass
class Node:
    """An element, its attributes, its children, and its pieces of text."""

    name: str
    attributes: dict[str, str]
    children: list["Node"] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces) + "".join(child.text for child in self.children)

    def walk(self) -> list["Node"]:
        return [self, *(node for child in self.children for node in child.walk())]

    def all(self, name: str, class_: str | None = None) -> list["Node"]:
        return [
            node
            for node in self.walk()
            if node.name == name
            and (class_ is None or class_.split() == node.attributes.get("class", "").split())
        ]

    def one(self, name: str, class_: str | None = None) -> "Node":
        (found,) = self.all(name, class_)
        return found

    def by_id(self, name: str) -> "Node":
        (found,) = [node for node in self.walk() if node.attributes.get("id") == name]
        return found

    def drawing(self, class_: str) -> "Node":
        """The drawing of a chart for wide screens."""
        return self.all("svg", class_)[0]


Page = Node


@dataclass(frozen=True)
class WrittenReport:
    """A run folder, the rows of its table, and its report as text and parsed."""

    folder: Path
    rows: Sequence[TrialRow]
    html: str
    page: Page


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("root", {})
        self.stack = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].children.append(node)
        if tag not in VOID_TAGS:
            self.stack.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].name == tag, f"</{tag}> closes <{self.stack[-1].name}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].pieces.append(data)


def parse(html: str) -> Page:
    """Return the root of a page; fail if its tags are not nested correctly."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.stack == [builder.root]
    return builder.root


def report_page(folder: Path) -> Page:
    """Write the report of a run folder and return it parsed."""
    return parse(write_report(folder).read_text(encoding="utf-8"))


def numbers_in(words: str) -> list[float]:
    """Return the decimal numbers of a text."""
    return [float(found) for found in re.findall(r"-?\d+\.\d+", words)]


def points_of(node: Node) -> np.ndarray:
    """Return the points (N, 2) of a polyline."""
    return np.array([pair.split(",") for pair in node.attributes["points"].split()], float)
