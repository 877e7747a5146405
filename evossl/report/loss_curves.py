"""Loss curves: one small chart for the objective and for each term, each with its own scale."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from evossl.report.records import Step
from evossl.report.svg import (
    Layout,
    Scale,
    drawing,
    format_number,
    line,
    padded_range,
    polyline,
    shorten,
    tag,
    text,
    ticks,
)

MAX_POINTS = 240  # per curve
LAYOUT = Layout(300, 166, 48, 10, 44, 26)

Curve = Sequence[tuple[int, float]]


def curves(history: Sequence[Step]) -> dict[str, Curve]:
    """Return the finite (step, value) pairs of the objective and of each term."""
    found: dict[str, list[tuple[int, float]]] = {"objective": []}
    for step in history:
        for name, value in (("objective", step.total), *step.loss.items()):
            if math.isfinite(value):
                found.setdefault(name, []).append((step.step, value))
    return {name: thinned(curve) for name, curve in found.items() if curve}


def thinned(curve: Curve) -> Curve:
    """Return at most `MAX_POINTS` evenly spaced points, including the first and the last."""
    if len(curve) <= MAX_POINTS:
        return curve
    last = len(curve) - 1
    return [curve[round(i * last / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]


def loss_charts(history: Sequence[Step]) -> list[Markup]:
    """Return one chart for the objective, then one for each term."""
    return [_chart(name, curve) for name, curve in curves(history).items()]


def _chart(name: str, curve: Curve) -> Markup:
    left, right, top, bottom = LAYOUT.plot
    steps, values = zip(*curve, strict=True)
    x = Scale((0, steps[-1]), (left, right))
    y = Scale(padded_range(values, 0.08), (bottom, top))
    unit = "weighted sum" if name == "objective" else "raw loss"
    parts = [
        text(4, 13, shorten(name, LAYOUT.width - 8), "task"),
        text(4, 28, unit, "tick"),
        text(
            LAYOUT.width - 10,
            28,
            f"{format_number(values[0])} to {format_number(values[-1])}",
            "value",
            "end",
        ),
        text(right, LAYOUT.height - 4, f"step {steps[-1]:,}", "tick", "end"),
        text(left, LAYOUT.height - 4, "0", "tick", "middle"),
    ]
    for value in ticks(*y.domain, 4):
        parts.append(line(left, y(value), right, y(value), "grid"))
        parts.append(text(left - 5, y(value) + 4, format_number(value), "tick", "end"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    points = [(x(step), y(value)) for step, value in curve]
    kind = "objective" if name == "objective" else "loss"
    parts.append(polyline(points, f"curve {kind}"))
    parts.append(tag("circle", cx=points[-1][0], cy=points[-1][1], r=2.5, class_=f"end {kind}"))
    label = (
        f"{name}, {unit}: {format_number(values[0])} at step {steps[0]}, "
        f"{format_number(values[-1])} at step {steps[-1]}."
    )
    return drawing(LAYOUT, label, parts, "small")
