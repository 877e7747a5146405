"""The loss weights of the winner, grouped by task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evossl.report.svg import Layout, drawing, line, shorten, tag, text, wide_and_narrow

ROW_HEIGHT, HEADING_HEIGHT = 19, 22  # px


@dataclass(frozen=True)
class TaskGroup:
    """A task, and (place, term) of each of its terms."""

    task: str
    terms: tuple[tuple[str, str], ...]


def weights_in_use(
    weights: Mapping[str, float], prune_below: float, rescale: bool, trained: set[str] | None
) -> dict[str, float]:
    """Return the loss weights as the training used them: zero if pruned, the others rescaled.

    Args:
        weights: as proposed.
        prune_below: weights below it become zero.
        rescale: whether the remaining weights sum to 1; False for the raw sum of the paper.
        trained: the terms in the training's history, or None if unknown. A distillation term whose
            teacher stream no other term trains is off whatever its weight.
    """
    active = {
        name: value
        for name, value in weights.items()
        if value > 0 and value >= prune_below and (trained is None or name in trained)
    }
    total = sum(active.values()) if rescale else 1.0
    return {name: active[name] / total if name in active else 0.0 for name in weights}


def group_by_task(value_of_term: Mapping[str, float]) -> list[TaskGroup]:
    """Return the tasks by falling sum of their values, and their terms by falling value."""
    tasks: dict[str, list[str]] = {}
    for term in value_of_term:
        tasks.setdefault(term.partition(".")[0], []).append(term)

    def total(task: str) -> float:
        return sum(value_of_term[term] for term in tasks[task])

    return [
        TaskGroup(
            task,
            tuple(
                (term.partition(".")[2] or term, term)
                for term in sorted(tasks[task], key=lambda term: (-value_of_term[term], term))
            ),
        )
        for task in sorted(tasks, key=lambda task: (-total(task), task))
    ]


def weight_bars(proposed: Mapping[str, float], used: Mapping[str, float]) -> Markup:
    """Return one bar per term: its weight in use, or a grey stub if the term is off."""
    return wide_and_narrow(lambda narrow: _bars(proposed, used, narrow))


def _bars(proposed: Mapping[str, float], used: Mapping[str, float], narrow: bool) -> Markup:
    groups = group_by_task(used)
    left, right, width = (118, 50, 360) if narrow else (190, 90, 960)
    layout = Layout(width, 26 + groups_height(groups), left, right, 22, 4)
    largest = max(used.values(), default=1.0) or 1.0
    px_per_weight = (layout.plot[1] - left) / largest
    parts = [text(4, 13, "share of the objective" if not narrow else "share", "name")]
    for place, term, top in group_rows(groups, layout.top, parts):
        parts.append(text(left - 8, top + 13, shorten(place, left - 14), "tick", "end"))
        parts.append(line(left, top, left, top + ROW_HEIGHT, "axis"))
        box = {"x": float(left), "y": top + 3, "height": ROW_HEIGHT - 6.0}
        value, was = used[term], proposed[term]
        if value > 0:
            note = tag("title", f"{term}: {value:.3f} (proposed {was:.3f})")
            length = px_per_weight * value
            parts.append(tag("rect", note, class_="bar", width=length, **box))
            parts.append(text(left + length + 6, top + 13, f"{value:.3f}", "value"))
        else:
            note = tag("title", f"{term}: off (proposed {was:.3f})")
            parts.append(tag("rect", note, class_="bar off", width=3.0, **box))
            parts.append(text(left + 9, top + 13, f"off (proposed {was:.2f})", "value off"))
    return drawing(layout, _label(used), parts, "weights")


def _label(used: Mapping[str, float]) -> str:
    ranked = sorted(used, key=lambda term: -used[term])
    return "Loss weights of the terms: " + ", ".join(
        f"{term} {used[term]:.3f}" if used[term] else f"{term} off" for term in ranked
    )


def groups_height(groups: Sequence[TaskGroup]) -> float:
    """Return the height in px of the rows that `group_rows` yields."""
    return sum(HEADING_HEIGHT + ROW_HEIGHT * len(group.terms) for group in groups)


def group_rows(
    groups: Sequence[TaskGroup], top: float, parts: list[Markup]
) -> Iterator[tuple[str, str, float]]:
    """Append each task's name to `parts`; yield (place, term, top of its row)."""
    for group in groups:
        parts.append(text(4, top + 16, group.task, "task"))
        top += HEADING_HEIGHT
        for place, term in group.terms:
            yield place, term, top
            top += ROW_HEIGHT
