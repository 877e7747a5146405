"""The fitness of every trial in the order of proposal, the best so far, and the controls."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evossl.report.svg import (
    Axis,
    Layout,
    Scale,
    axes,
    drawing,
    integer_ticks,
    line,
    padded_range,
    polyline,
    spread_labels,
    tag,
    text,
    ticks,
    wide_and_narrow,
)
from evossl.report.trial_ranking import (
    RandomInits,
    fitness_of,
    is_scored,
    other_controls,
    random_inits,
    running_best,
)
from evossl.search.table import TrialRow

MAX_LARGE_DOTS = 150  # trials; more of them get smaller dots
CROSS_STRIP_HEIGHT = 16  # px above the plot, for trials without a fitness
LABEL_GAP = 13  # px between labels at the right edge


@dataclass(frozen=True)
class _ChartData:
    """What the chart shows: the trials that have ended, and the controls."""

    trials: Sequence[TrialRow]
    inits: RandomInits | None
    others: Sequence[tuple[str, float]]

    @property
    def best(self) -> list[tuple[int, float]]:
        return running_best(self.trials)

    @property
    def equal_weights(self) -> TrialRow | None:
        """Trial 0, if it is complete."""
        found = (row for row in self.trials if row.trial == 0 and is_scored(row))
        return next((row for row in found if row.status == "complete"), None)


def fitness_chart(trials: Sequence[TrialRow], controls: Sequence[TrialRow]) -> Markup | None:
    """Return the chart; None while neither a trial nor a control has a fitness."""
    ended = [row for row in trials if row.status != "running"]
    if not any(map(is_scored, [*ended, *controls])):
        return None
    data = _ChartData(ended, random_inits(controls), other_controls(controls))
    return wide_and_narrow(lambda narrow: _chart(data, narrow))


def _chart(data: _ChartData, narrow: bool) -> Markup:
    top_margin = 26 + CROSS_STRIP_HEIGHT
    layout = (
        Layout(360, 300, 42, 100, top_margin) if narrow else Layout(960, 380, 48, 150, top_margin)
    )
    left, right, top, bottom = layout.plot
    y = Scale(padded_range(_shown_values(data)), (bottom, top))
    last = max([1, *(row.trial for row in data.trials)])
    x = Scale((0, last), (left + 8, right - 8))
    x_ticks = integer_ticks(0, last, 4 if narrow else 8)
    parts = axes(
        layout,
        Axis(x, x_ticks, "trial, in the order of proposal"),
        Axis(y, ticks(*y.domain), "fitness (nats, lower is better)"),
    )
    parts += _control_lines(data, y, layout, narrow)
    radius = 3.5 if len(data.trials) <= MAX_LARGE_DOTS else 2.2
    parts += [_mark(row, x, y, radius) for row in data.trials if row.trial > 0]
    parts += _best_line(data, x, y)
    parts += [_mark(row, x, y, radius) for row in data.trials if row.trial == 0]
    return drawing(layout, _label(data), parts, "fitness")


def _shown_values(data: _ChartData) -> list[float]:
    """Values that must lie within the y axis: trials, random inits, the lowest other control.

    The noise control is far above and would squeeze the trials together, so controls above the
    axis are only named at its upper edge.
    """
    values = [fitness_of(row) for row in data.trials if is_scored(row)]
    if data.inits:
        values += [data.inits.mean - data.inits.sd, data.inits.mean + data.inits.sd]
    return values + sorted(value for _, value in data.others)[:1]


def _control_lines(data: _ChartData, y: Scale, layout: Layout, narrow: bool) -> list[Markup]:
    """The band of the random inits, a line for each other control, and labels at the right."""
    left, right, top, bottom = layout.plot
    parts: list[Markup] = []
    if inits := data.inits:
        high, low = y(inits.mean + inits.sd), y(inits.mean - inits.sd)
        band = {"x": float(left), "y": high, "width": right - left, "height": max(low - high, 1.0)}
        parts.append(tag("rect", class_="band", **band))
    labels = _line_labels(data)
    places = spread_labels([max(y(value), top) for _, value, _ in labels], LABEL_GAP, top, bottom)
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


def _line_labels(data: _ChartData) -> list[tuple[str, float, str]]:
    """(name, fitness, CSS class) of each line that is labelled."""
    labels = [(name, value, "control") for name, value in data.others]
    if data.inits:
        labels.append(("random inits", data.inits.mean, "inits"))
    if data.equal_weights:
        labels.append(("equal weights", fitness_of(data.equal_weights), "equal"))
    if data.best:
        labels.append(("best so far", data.best[-1][1], "best"))
    return labels


def _best_line(data: _ChartData, x: Scale, y: Scale) -> list[Markup]:
    """The best fitness so far as a step function, up to the last trial that ended."""
    points: list[tuple[float, float]] = []
    for trial, value in data.best:
        if points:
            points.append((x(trial), points[-1][1]))
        points.append((x(trial), y(value)))
    if points:
        points.append((x.span[1] + 8, points[-1][1]))
    return [polyline(points, "best-line")] if points else []


def _mark(row: TrialRow, x: Scale, y: Scale, radius: float) -> Markup:
    """A dot; a diamond for equal weights, a triangle if stopped early, a cross if failed."""
    at = x(row.trial)
    name = f"trial {row.trial}" + (f" ({row.name})" if row.name else "")
    if not is_scored(row):
        note = tag("title", f"{name}: {row.status}: {row.reason or 'no reason given'}")
        return _cross(at, y.span[1] - 10, note, row.status)
    value = fitness_of(row)
    ending = "" if row.status == "complete" else ", stopped early"
    note = tag("title", f"{name}: {value:.3f} nats{ending}")
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


def _label(data: _ChartData) -> str:
    """What the chart shows, for readers who cannot see it."""
    failed = sum(row.status == "failed" for row in data.trials)
    count = f"{len(data.trials)} trials" if len(data.trials) != 1 else "1 trial"
    words = [f"Fitness of {count} in nats (lower is better)"]
    if best := data.best:
        words.append(f"The first complete trial has {best[0][1]:.3f}, the best {best[-1][1]:.3f}")
    if failed:
        words.append(f"{failed} failed")
    if inits := data.inits:
        words.append(f"Random inits: mean {inits.mean:.3f}, standard deviation {inits.sd:.3f}")
    words += [f"{name}: {value:.3f}" for name, value in data.others]
    return ". ".join(words) + "."
