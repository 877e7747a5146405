"""A chart of the exported encoder's scores and those of a random init, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evossl.report.records import Scores
from evossl.report.svg import Layout, Scale, drawing, line, tag, text, ticks, wide_and_narrow

BAR_HEIGHT = 15  # px

Metrics = Mapping[str, float | list[float]]


@dataclass(frozen=True)
class Bar:
    """The mean of a metric and its 95 % interval (None if the file has none)."""

    value: float
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """One metric of one protocol, for the encoder and for the random init (None if not scored)."""

    protocol: str
    metric: str
    encoder: Bar
    random_init: Bar | None


def comparisons(scores: Scores) -> list[Comparison]:
    """Return every metric, in the order of the file."""
    return [
        Comparison(protocol, metric, bar, _bar(scores.random_init.get(protocol, {}), metric))
        for protocol, metrics in scores.encoder.items()
        for metric in metrics
        if (bar := _bar(metrics, metric)) is not None
    ]


def _bar(metrics: Metrics, metric: str) -> Bar | None:
    value = metrics.get(metric)
    if not isinstance(value, float):
        return None
    interval = metrics.get(f"{metric}_interval")
    if isinstance(interval, list) and len(interval) == 2:
        return Bar(value, (interval[0], interval[1]))
    return Bar(value, None)


def evaluation_chart(found: Sequence[Comparison]) -> Markup:
    """Return two bars per metric on an axis from 0 to 1, or wider if a value lies outside."""
    return wide_and_narrow(lambda narrow: _chart(found, narrow))


def _chart(found: Sequence[Comparison], narrow: bool) -> Markup:
    block = 2 * BAR_HEIGHT + 12 + (16 if narrow else 0)
    left, right, width = (14, 52, 360) if narrow else (220, 170, 960)
    layout = Layout(width, 26 + block * len(found) + 36, left, right, 26, 36)
    values = [v for c in found for bar in (c.encoder, c.random_init) if bar for v in _extent(bar)]
    x = Scale((min([0.0, *values]), max([1.0, *values])), (left, layout.plot[1]))
    parts = [text(4, 13, "score (fraction, higher is better)", "name")]
    for value in ticks(*x.domain):
        parts.append(line(x(value), layout.top, x(value), layout.plot[3], "grid"))
        parts.append(text(x(value), layout.plot[3] + 16, f"{value:g}", "tick", "middle"))
    at = layout.top + 4
    for one in found:
        name = f"{one.protocol} {one.metric.replace('_', ' ')}"
        if narrow:
            parts.append(text(left, at + 11, name, "task"))
            at += 16
        else:
            parts.append(text(left - 10, at + 19, name, "task", "end"))
        for row, (class_, bar) in enumerate((("ours", one.encoder), ("random", one.random_init))):
            if bar:
                parts += _draw_bar(bar, class_, x, at + row * BAR_HEIGHT, layout, narrow)
        at += block - (16 if narrow else 0)
    label = "; ".join(
        f"{c.protocol} {c.metric}: encoder {c.encoder}, random init {c.random_init or 'not scored'}"
        for c in found
    )
    return drawing(layout, label + ".", parts, "evaluation")


def _extent(bar: Bar) -> list[float]:
    return [bar.value, *(bar.interval or ())]


def _draw_bar(
    bar: Bar, class_: str, x: Scale, at: float, layout: Layout, narrow: bool
) -> list[Markup]:
    """A bar, its interval, and its number at the right."""
    begin, end = sorted((x(0), x(bar.value)))
    who = "encoder" if class_ == "ours" else "random init"
    note = tag("title", f"{who}: {bar}")
    box = {"x": begin, "y": at + 1, "width": end - begin, "height": BAR_HEIGHT - 3.0}
    parts = [tag("rect", note, class_=f"bar {class_}", **box)]
    if bar.interval:
        (low, high), middle = bar.interval, at + BAR_HEIGHT / 2
        parts.append(line(x(low), middle, x(high), middle, "whisker"))
        parts += [line(x(v), middle - 3, x(v), middle + 3, "whisker") for v in (low, high)]
    words = f"{bar.value:.3f}" if narrow else str(bar)
    parts.append(text(layout.plot[1] + 8, at + 11, words, "value"))
    return parts
