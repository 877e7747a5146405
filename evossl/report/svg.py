"""Small pieces of SVG: elements, scales, ticks, axes. Whatever comes from files is escaped here.

A chart is drawn twice, for wide and for narrow screens, and the style sheet shows one of the two:
one drawing scaled down to a phone would have letters of five pixels.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

LETTER = 6.4  # px, a letter's mean width at the charts' 11 px, on the generous side


@dataclass(frozen=True)
class Layout:
    """A drawing's size in px, and the margins around its plot."""

    width: float
    height: float
    left: float
    right: float
    top: float = 26
    bottom: float = 40

    @property
    def plot(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of the plot."""
        return self.left, self.width - self.right, self.top, self.height - self.bottom


@dataclass(frozen=True)
class Scale:
    """Linear or logarithmic: values of `domain` to px of `span`."""

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


def whole_ticks(low: int, high: int, count: int = 5) -> list[float]:
    """Return round whole numbers within [low, high]."""
    found = [value for value in ticks(low, high, count) if float(value).is_integer()]
    return found or [float(low)]


def decades(low: float, high: float) -> list[float]:
    """Return the 1, 2, 5, 10, ... within [low, high], for a logarithmic axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]


def padded(values: Iterable[float], share: float = 0.05) -> tuple[float, float]:
    """Return the range of the values, a little wider; of width 1 where all are equal."""
    found = list(values)
    low, high = min(found), max(found)
    gap = share * (high - low) or 0.5
    return low - gap, high + gap


def number(value: float) -> str:
    """Return a number for an axis: "0.25", "12,000", "3e-05"."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.3g}"


def tag(name: str, *children: str, **attributes: str | float) -> Markup:
    """Return an element; `class_` and `font_size` become "class" and "font-size".

    Children that are not markup and all values are escaped; numbers have two decimals at most.
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


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a line through points."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", points=steps, class_=class_)


def drawing(layout: Layout, label: str, parts: Iterable[str], class_: str = "") -> Markup:
    """Return the whole drawing; `label` says in words what it shows."""
    box = f"0 0 {layout.width:g} {layout.height:g}"
    return tag("svg", *parts, viewBox=box, role="img", aria_label=label, class_=class_)


def both(draw: Callable[[bool], Markup]) -> Markup:
    """Return a drawing for wide screens and one for narrow ones: `draw(narrow)`."""
    wide = tag("div", draw(False), class_="wide")
    return wide + tag("div", draw(True), class_="narrow")


def axes(
    layout: Layout,
    x: Scale,
    y: Scale,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
    y_label: str,
    y_format: Callable[[float], str] = number,
) -> list[Markup]:
    """Return grid lines, tick labels and the axes' names."""
    left, right, _, bottom = layout.plot
    parts = [text(4, 13, y_label, "name")]
    for value in y_ticks:
        parts.append(line(left, y(value), right, y(value), "grid"))
        parts.append(text(left - 6, y(value) + 4, y_format(value), "tick", "end"))
    for value in x_ticks:
        parts.append(line(x(value), bottom, x(value), bottom + 4, "axis"))
        parts.append(text(x(value), bottom + 16, number(value), "tick", "middle"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    parts.append(text((left + right) / 2, layout.height - 6, x_label, "name", "middle"))
    return parts


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return places near the wanted ones, in [low, high], at least `gap` apart where they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    placed: list[float] = []
    for rank, i in enumerate(order):
        least = placed[-1] + gap if placed else low
        most = high - gap * (len(wanted) - 1 - rank)
        placed.append(min(max(wanted[i], least), most))
    found = [0.0] * len(wanted)
    for i, place in zip(order, placed, strict=True):
        found[i] = place
    return found


def shortened(words: str, room: float) -> str:
    """Return the words, their middle left out if they are wider than `room` px."""
    most = max(int(room / LETTER), 4)
    if len(words) <= most:
        return words
    head = (most - 1) // 2
    return f"{words[:head]}\N{HORIZONTAL ELLIPSIS}{words[len(words) - (most - 1 - head) :]}"
