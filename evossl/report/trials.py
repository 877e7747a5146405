"""The search itself: every trial's fitness in order, the best so far, and what it must beat."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evossl.report.read import fitness_of, is_scored
from evossl.report.svg import (
    Layout,
    Scale,
    axes,
    both,
    drawing,
    line,
    padded,
    path,
    spread,
    tag,
    text,
    ticks,
    whole_ticks,
)
from evossl.search.table import TrialRow

RANDOM_INIT = "random init"
CROWD = 150  # trials; more get smaller dots
STRIP = 16  # px above the plot, for trials without a fitness


@dataclass(frozen=True)
class RandomInits:
    """Fitness of the random inits: mean, and standard deviation (0 for a single one)."""

    mean: float
    sd: float
    count: int


def running_best(trials: Sequence[TrialRow]) -> list[tuple[int, float]]:
    """Return (trial, lowest fitness of the complete ones up to it), a pair a complete trial."""
    best: list[tuple[int, float]] = []
    for row in sorted(trials, key=lambda row: row.trial):
        if row.status == "complete" and is_scored(row):
            lowest = min(fitness_of(row), best[-1][1]) if best else fitness_of(row)
            best.append((row.trial, lowest))
    return best


def random_inits(controls: Sequence[TrialRow]) -> RandomInits | None:
    """Return the mean and sd of the random inits, or None if none has a fitness."""
    found = [
        fitness_of(row) for row in controls if row.name.startswith(RANDOM_INIT) and is_scored(row)
    ]
    if not found:
        return None
    sd = statistics.stdev(found) if len(found) > 1 else 0.0
    return RandomInits(statistics.fmean(found), sd, len(found))


def other_controls(controls: Sequence[TrialRow]) -> list[tuple[str, float]]:
    """Return (name, fitness) of the controls that are no random init."""
    return [
        (row.name, fitness_of(row))
        for row in controls
        if not row.name.startswith(RANDOM_INIT) and is_scored(row)
    ]


def fitness_chart(trials: Sequence[TrialRow], controls: Sequence[TrialRow]) -> Markup | None:
    """Return the chart, or None while neither a trial nor a control has a fitness."""
    ended = [row for row in trials if row.status != "running"]
    if not any(map(is_scored, [*ended, *controls])):
        return None
    return both(lambda narrow: _chart(ended, controls, narrow))


def _chart(trials: Sequence[TrialRow], controls: Sequence[TrialRow], narrow: bool) -> Markup:
    layout = (
        Layout(360, 300, 42, 100, 26 + STRIP) if narrow else Layout(960, 380, 48, 150, 26 + STRIP)
    )
    left, right, top, bottom = layout.plot
    inits, others = random_inits(controls), other_controls(controls)
    y = Scale(padded(_shown_values(trials, inits, others)), (bottom, top))
    last = max([row.trial for row in trials], default=0)
    x = Scale((0, max(last, 1)), (left + 8, right - 8))
    y_label = "fitness (nats, lower is better)"
    x_ticks = whole_ticks(0, max(last, 1), 4 if narrow else 8)
    parts = axes(
        layout, x, y, x_ticks, ticks(*y.domain), "trial, in the order of proposal", y_label
    )
    parts += _control_lines(inits, others, trials, y, layout, narrow)
    radius = 3.5 if len(trials) <= CROWD else 2.2
    parts += [_mark(row, x, y, top, radius) for row in trials if row.trial > 0]
    parts += _best_line(trials, x, y)
    parts += [_mark(row, x, y, top, radius) for row in trials if row.trial == 0]
    return drawing(layout, _in_words(trials, inits, others), parts, "fitness")


def _shown_values(
    trials: Sequence[TrialRow], inits: RandomInits | None, others: Sequence[tuple[str, float]]
) -> list[float]:
    """What the axis must hold: trials, random inits, the lowest other control.

    Noise lies far above; it would press the trials together, so it is named at the upper edge.
    """
    values = [fitness_of(row) for row in trials if is_scored(row)]
    if inits:
        values += [inits.mean - inits.sd, inits.mean + inits.sd]
    return values + sorted(value for _, value in others)[:1]


def _control_lines(
    inits: RandomInits | None,
    others: Sequence[tuple[str, float]],
    trials: Sequence[TrialRow],
    y: Scale,
    layout: Layout,
    narrow: bool,
) -> list[Markup]:
    """The band of the random inits, a line for each other control, their names on the right."""
    left, right, top, bottom = layout.plot
    parts: list[Markup] = []
    labels = [(name, value, "control") for name, value in others]
    if inits:
        high, low = y(inits.mean + inits.sd), y(inits.mean - inits.sd)
        band = {"x": float(left), "y": high, "width": right - left, "height": max(low - high, 1.0)}
        parts.append(tag("rect", class_="band", **band))
        labels.append(("random inits", inits.mean, "inits"))
    equal = next((row for row in trials if row.trial == 0 and is_scored(row)), None)
    if equal is not None and equal.status == "complete":
        labels.append(("equal weights", fitness_of(equal), "equal"))
    best = running_best(trials)
    if best:
        labels.append(("best so far", best[-1][1], "best"))
    places = spread([max(y(value), top) for _, value, _ in labels], 13, top, bottom)
    for (name, value, class_), place in zip(labels, places, strict=True):
        is_above = value > y.domain[1]
        if class_ != "best" and not is_above:
            parts.append(line(left, y(value), right, y(value), f"level {class_}"))
        if not is_above:
            parts.append(line(right, y(value), right + 8, place, f"leader {class_}"))
        arrow = "\N{UPWARDS ARROW}" if is_above else ""
        words = f"{name} {arrow}{value:.2f}" if is_above or not narrow else name
        parts.append(text(right + 11, place + 4, words, f"label {class_}"))
    return parts


def _best_line(trials: Sequence[TrialRow], x: Scale, y: Scale) -> list[Markup]:
    """The running best as steps, to the last trial that ended."""
    points: list[tuple[float, float]] = []
    for trial, value in running_best(trials):
        if points:
            points.append((x(trial), points[-1][1]))
        points.append((x(trial), y(value)))
    if points:
        points.append((x.span[1] + 8, points[-1][1]))
    return [path(points, "best-line")] if points else []


def _mark(row: TrialRow, x: Scale, y: Scale, top: float, radius: float) -> Markup:
    """A dot; a diamond for equal weights; a triangle for pruned; a cross at the top for failed."""
    at = x(row.trial)
    named = f"trial {row.trial}" + (f" ({row.name})" if row.name else "")
    if not is_scored(row):
        note = tag("title", f"{named}: {row.status}: {row.reason or 'no reason given'}")
        return _cross(at, top - 10, note, row.status)
    value = fitness_of(row)
    note = tag(
        "title", f"{named}: {value:.3f} nats{'' if row.status == 'complete' else ', pruned'}"
    )
    if row.trial == 0:
        return _polygon(at, y(value), ((0, -7), (7, 0), (0, 7), (-7, 0)), "dot equal", note)
    if row.status != "complete":
        return _polygon(at, y(value), ((-4, -3), (4, -3), (0, 5)), "dot pruned", note)
    return tag("circle", note, cx=at, cy=y(value), r=radius, class_="dot trial")


def _cross(at_x: float, at_y: float, note: Markup, status: str) -> Markup:
    arms = f"M{at_x - 4:.1f} {at_y - 4:.1f}l8 8m0-8l-8 8"
    return tag("path", note, d=arms, class_=f"cross {status}")


def _polygon(
    at_x: float, at_y: float, corners: Sequence[tuple[float, float]], class_: str, note: Markup
) -> Markup:
    points = " ".join(f"{at_x + dx:.1f},{at_y + dy:.1f}" for dx, dy in corners)
    return tag("polygon", note, points=points, class_=class_)


def _in_words(
    trials: Sequence[TrialRow],
    inits: RandomInits | None,
    others: Sequence[tuple[str, float]],
) -> str:
    """What the chart shows, for those who cannot see it."""
    best = running_best(trials)
    failed = sum(row.status == "failed" for row in trials)
    count = f"{len(trials)} trials" if len(trials) != 1 else "1 trial"
    words = [f"Fitness of {count} in nats, lower is better"]
    if best:
        words.append(f"the first complete one has {best[0][1]:.3f}, the best {best[-1][1]:.3f}")
    if failed:
        words.append(f"{failed} failed")
    if inits:
        words.append(f"random inits: mean {inits.mean:.3f}, standard deviation {inits.sd:.3f}")
    words += [f"{name}: {value:.3f}" for name, value in others]
    return "; ".join(words) + "."
