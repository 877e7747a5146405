"""A page as html.parser sees it: an independent reading of what the report wrote."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from evossl.search.table import TrialRow

VOID = {"meta", "img", "br", "link", "hr", "input"}


@dataclass
class Node:
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
        """The wide drawing of a chart."""
        return self.all("svg", class_)[0]


Page = Node


@dataclass(frozen=True)
class Written:
    """A run folder, its table, its report."""

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
        if tag not in VOID:
            self.stack.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.stack[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack[-1].name == tag, f"</{tag}> closes <{self.stack[-1].name}>"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].pieces.append(data)


def parse(html: str) -> Page:
    """Parse; fails where tags are not nested well."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder.stack == [builder.root]
    return builder.root
