"""A chart of cluster sizes and Zipf's law."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from evossl.report.records import Clusters
from evossl.report.svg import (
    Axis,
    Layout,
    Scale,
    axes,
    drawing,
    integer_ticks,
    log_ticks,
    polyline,
    tag,
    ticks,
    wide_and_narrow,
)

MAX_BARS = 48  # clusters; more of them are drawn as dots on logarithmic axes


def divergence(clusters: Clusters) -> float:
    """Return KL(shares || Zipf) in nats, with 0 ln 0 = 0."""
    pairs = zip(clusters.shares, clusters.zipf, strict=False)
    return sum(p * math.log(p / q) for p, q in pairs if p > 0 and q > 0)


def cluster_chart(clusters: Clusters) -> Markup:
    """Return the sorted shares of the clusters, and Zipf's law as a line."""
    shares = [share for share in clusters.shares if math.isfinite(share)]
    draw = _bars if len(shares) <= MAX_BARS else _dots
    return wide_and_narrow(lambda narrow: draw(shares, clusters.zipf, _label(clusters), narrow))


def _label(clusters: Clusters) -> str:
    empty = sum(share == 0 for share in clusters.shares)
    return (
        f"Shares of the clips in {len(clusters.shares)} clusters, largest first, and Zipf's law. "
        f"The largest has {max(clusters.shares, default=0):.1%} (Zipf: "
        f"{max(clusters.zipf, default=0):.1%}), {empty} are empty; "
        f"KL divergence {divergence(clusters):.3f} nats."
    )


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _layout(narrow: bool) -> Layout:
    return Layout(360, 240, 48, 12) if narrow else Layout(960, 300, 56, 16)


def _bars(shares: Sequence[float], zipf: Sequence[float], label: str, narrow: bool) -> Markup:
    layout = _layout(narrow)
    left, right, top, bottom = layout.plot
    count = len(shares)
    x = Scale((0.5, count + 0.5), (left, right))
    y = Scale((0, 1.05 * max([*shares, *zipf, 1e-9])), (bottom, top))
    x_ticks = integer_ticks(1, max(count, 1), 5 if narrow else 10)
    y_axis = Axis(y, ticks(*y.domain), "share of the selection clips", _percent)
    parts = axes(layout, Axis(x, x_ticks, "cluster, largest first"), y_axis)
    width = (right - left) / max(count, 1)
    for rank, share in enumerate(shares, 1):
        note = tag("title", f"cluster {rank}: {share:.1%} of the clips")
        bar = {"x": x(rank - 0.4), "y": y(share), "width": 0.8 * width, "height": bottom - y(share)}
        parts.append(tag("rect", note, class_="bar", **bar))
    parts.append(polyline([(x(rank), y(q)) for rank, q in enumerate(zipf, 1)], "zipf"))
    parts += [
        tag("circle", cx=x(r), cy=y(q), r=2.5, class_="zipf-dot") for r, q in enumerate(zipf, 1)
    ]
    return drawing(layout, label, parts, "clusters")


def _dots(shares: Sequence[float], zipf: Sequence[float], label: str, narrow: bool) -> Markup:
    layout = _layout(narrow)
    left, right, top, bottom = layout.plot
    positive = [value for value in (*shares, *zipf) if value > 0]
    x = Scale((1, len(shares)), (left + 4, right - 4), log=True)
    y = Scale((min(positive) / 1.2, max(positive) * 1.2), (bottom, top), log=True)
    x_axis = Axis(x, log_ticks(*x.domain), "cluster, largest first (logarithmic)")
    y_label = "share of the selection clips (logarithmic)"
    parts = axes(layout, x_axis, Axis(y, log_ticks(*y.domain), y_label, _percent))
    parts += [
        tag("circle", cx=x(rank), cy=y(share), r=2.5, class_="dot trial")
        for rank, share in enumerate(shares, 1)
        if share > 0
    ]
    parts.append(polyline([(x(rank), y(q)) for rank, q in enumerate(zipf, 1) if q > 0], "zipf"))
    return drawing(layout, label, parts, "clusters")
