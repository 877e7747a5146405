"""Builds SVG: elements, scales, ticks and axes. All text from files is escaped here.

Every chart is drawn twice, for wide and for narrow screens, and the style sheet shows one of them.
A single drawing scaled down to a phone would have letters five pixels high.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LETTER_WIDTH = 6.4  # px; a generous mean for text of 11 px


@dataclass(frozen=True)
class Layout:
    """Size of a drawing in px, and the margins around its plot."""

    width: float
    height: float
    left: float
    right: float
    top: float = 26
    bottom: float = 40

    @property
    def plot(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom edge of the plot."""
        return self.left, self.width - self.right, self.top, self.height - self.bottom


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic map from values in `domain` to px in `span`."""

    domain: tuple[float, float]
    span: tuple[float, float]
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the px of a value."""
        low, high = (math.log(v) if self.log else v for v in self.domain)
        at = math.log(value) if self.log else value
        begin, end = self.span
        return begin + (end - begin) * ((at - low) / (high - low) if high != low else 0.5)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers (steps of 1, 2 or 5) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def integer_ticks(low: int, high: int, count: int = 5) -> list[float]:
    """Return about `count` round integers within [low, high]."""
    found = [value for value in ticks(low, high, count) if float(value).is_integer()]
    return found or [float(low)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, 20, ... within [low, high], for a logarithmic axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]


def padded_range(values: Iterable[float], share: float = 0.05) -> tuple[float, float]:
    """Return the range of the values, widened by `share`; a range of 1 if all are equal."""
    found = list(values)
    low, high = min(found), max(found)
    gap = share * (high - low) or 0.5
    return low - gap, high + gap


def format_number(value: float) -> str:
    """Return a number for an axis: "0.25", "12,000" or "3e-05"."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.3g}"


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element; `class_` and `font_size` become "class" and "font-size".

    Values, and children that are not markup, are escaped. Numbers have at most two decimals.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    inside = "".join(escape(child) for child in children)
    return Markup("".join(parts) + (f">{inside}</{name}>" if inside else "/>"))


def text(at_x: float, at_y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """Return a line of text."""
    return tag("text", words, x=float(at_x), y=float(at_y), class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def polyline(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a line through points."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", points=steps, class_=class_)


def drawing(layout: Layout, label: str, parts: Iterable[str], class_: str = "") -> Markup:
    """Return the whole SVG; `label` says in words what it shows."""
    box = f"0 0 {layout.width:g} {layout.height:g}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=label, class_=class_)


def wide_and_narrow(draw: Callable[[bool], Markup]) -> Markup:
    """Return a drawing for wide screens and one for narrow screens: `draw(narrow)`."""
    wide = tag("div", draw(False), class_="wide")
    return wide + tag("div", draw(True), class_="narrow")


@dataclass(frozen=True)
class Axis:
    """An axis: its scale, the values of its ticks, its label, and how a value is printed."""

    scale: Scale
    ticks: Sequence[float]
    label: str
    format: Callable[[float], str] = format_number


def axes(layout: Layout, x: Axis, y: Axis) -> list[Markup]:
    """Return the grid lines, tick labels and labels of both axes."""
    left, right, _, bottom = layout.plot
    parts = [text(4, 13, y.label, "name")]
    for value in y.ticks:
        at_y = y.scale(value)
        parts.append(line(left, at_y, right, at_y, "grid"))
        parts.append(text(left - 6, at_y + 4, y.format(value), "tick", "end"))
    for value in x.ticks:
        at_x = x.scale(value)
        parts.append(line(at_x, bottom, at_x, bottom + 4, "axis"))
        parts.append(text(at_x, bottom + 16, x.format(value), "tick", "middle"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    parts.append(text((left + right) / 2, layout.height - 6, x.label, "name", "middle"))
    return parts


def spread_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, within [low, high] and `gap` apart if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for rank, i in enumerate(order):
        least = placed[-1] + gap if placed else low
        most = high - gap * (len(wanted) - 1 - rank)
        placed.append(min(max(wanted[i], least), most))
    found = [0.0] * len(wanted)
    for i, position in zip(order, placed, strict=True):
        found[i] = position
    return found


def shorten(words: str, width: float) -> str:
    """Return the words; their middle becomes an ellipsis if they are wider than `width` px."""
    most = max(int(width / LETTER_WIDTH), 4)
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}\N{HORIZONTAL ELLIPSIS}{words[len(words) - (most - 1 - head) :]}"
