"""The loss weights that the winner was trained with, by task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evossl.report.svg import Layout, both, drawing, line, shortened, tag, text

ROW, HEADING = 19, 22  # px


@dataclass(frozen=True)
class Group:
    """A task, and (place, term) of each of its terms."""

    task: str
    terms: tuple[tuple[str, str], ...]


def effective(
    weights: Mapping[str, float], prune_below: float, rescale: bool, trained: set[str] | None
) -> dict[str, float]:
    """Return the weights as the training used them: 0 where pruned, else rescaled to sum 1.

    Args:
        weights: as proposed.
        prune_below: smallest that counts.
        rescale: False for the paper's raw sum.
        trained: terms that its history holds, or None if unknown: a distillation whose teacher
            has no task of its own is off whatever its weight.
    """
    kept = {
        name: value
        for name, value in weights.items()
        if value > 0 and value >= prune_below and (trained is None or name in trained)
    }
    total = sum(kept.values()) if rescale else 1.0
    return {name: kept[name] / total if name in kept else 0.0 for name in weights}


def grouped(key: Mapping[str, float]) -> list[Group]:
    """Return the terms by task, both in order of falling `key` (a task's is its terms' sum)."""
    tasks: dict[str, list[str]] = {}
    for term in key:
        tasks.setdefault(term.partition(".")[0], []).append(term)
    order = sorted(tasks, key=lambda task: (-sum(key[t] for t in tasks[task]), task))
    return [
        Group(
            task,
            tuple(
                (term.partition(".")[2] or term, term)
                for term in sorted(tasks[task], key=lambda term: (-key[term], term))
            ),
        )
        for task in order
    ]


def weight_bars(proposed: Mapping[str, float], used: Mapping[str, float]) -> Markup:
    """Return a bar a term: its weight as used; those that were pruned in grey, as proposed."""
    return both(lambda narrow: _bars(proposed, used, narrow))


def _bars(proposed: Mapping[str, float], used: Mapping[str, float], narrow: bool) -> Markup:
    groups = grouped(used)
    left, right, width = (118, 50, 360) if narrow else (190, 90, 960)
    layout = Layout(width, 26 + groups_height(groups), left, right, 22, 4)
    most = max(used.values(), default=1.0) or 1.0
    room = layout.plot[1] - left
    parts = [text(4, 13, "share of the objective" if not narrow else "share", "name")]
    for place, term, at in group_rows(groups, layout.top, parts):
        parts.append(text(left - 8, at + 13, shortened(place, left - 14), "tick", "end"))
        parts.append(line(left, at, left, at + ROW, "axis"))
        value, was = used[term], proposed[term]
        if value > 0:
            words = f"{term}: {value:.3f} (proposed {was:.3f})"
            bar = {"x": float(left), "y": at + 3, "width": room * value / most, "height": ROW - 6.0}
            parts.append(tag("rect", tag("title", words), class_="bar", **bar))
            parts.append(text(left + room * value / most + 6, at + 13, f"{value:.3f}", "value"))
        else:
            words = f"{term}: off (proposed {was:.3f})"
            stub = {"x": float(left), "y": at + 3, "width": 3.0, "height": ROW - 6.0}
            parts.append(tag("rect", tag("title", words), class_="bar off", **stub))
            parts.append(text(left + 9, at + 13, f"off (was {was:.2f})", "value off"))
    ranked = sorted(used, key=lambda term: -used[term])
    label = "Weights of the terms: " + ", ".join(
        f"{term} {used[term]:.3f}" if used[term] else f"{term} off" for term in ranked
    )
    return drawing(layout, label, parts, "weights")


def groups_height(groups: Sequence[Group]) -> float:
    """Return the px that `group_rows` needs."""
    return sum(HEADING + ROW * len(group.terms) for group in groups)


def group_rows(
    groups: Sequence[Group], top: float, parts: list[Markup]
) -> Iterator[tuple[str, str, float]]:
    """Write each task's name into `parts`; yield (place, term, top of its row)."""
    for group in groups:
        parts.append(text(4, top + 16, group.task, "task"))
        top += HEADING
        for place, term in group.terms:
            yield place, term, top
            top += ROW
