"""How the loss weights moved over the search: terms x trials, those that rose most above.

Shapes: R term, N trial, C channel.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from numpy.typing import NDArray

from evossl.report.sheets import data_uri
from evossl.report.svg import Layout, both, drawing, shortened, tag, text, whole_ticks
from evossl.report.weights import ROW, Group, group_rows, grouped, groups_height
from evossl.search.table import TrialRow

MIN_FOR_DRIFT = 8  # trials; a quarter of fewer says nothing
MAP = "viridis"  # even in lightness, and for the colour-blind

Floats = NDArray[np.float64]


def drift(weight_NR: Floats) -> Floats:
    """Return mean of the last quarter of the trials minus that of the first, for each term (R,).

    Zero with fewer than `MIN_FOR_DRIFT` trials.
    """
    if len(weight_NR) < MIN_FOR_DRIFT:
        return np.zeros(weight_NR.shape[1])
    quarter = len(weight_NR) // 4
    moved: Floats = weight_NR[-quarter:].mean(axis=0) - weight_NR[:quarter].mean(axis=0)
    return moved


def heat_map(trials: Sequence[TrialRow]) -> Markup | None:
    """Return the map of all weights as proposed; None before two trials have ended."""
    shown, order = ended(trials)
    if len(shown) < 2:
        return None
    terms = sorted({term for row in shown for term in row.weights})
    weight_NR = np.array([[row.weights.get(term, 0.0) for term in terms] for row in shown])
    moved_R = drift(weight_NR)
    key_R = moved_R if moved_R.any() else weight_NR.mean(axis=0)
    groups = grouped(dict(zip(terms, key_R.tolist(), strict=True)))
    moved = dict(zip(terms, moved_R.tolist(), strict=True))
    column = {term: weight_NR[:, i] for i, term in enumerate(terms)}
    label = _in_words(moved, len(shown))
    return both(lambda narrow: _map(groups, column, moved, order, label, narrow))


def ended(trials: Sequence[TrialRow]) -> tuple[list[TrialRow], str]:
    """Return those that have ended, as the search learned of them, and that order in words.

    By order of proposal in a table that does not say in which they ended.
    """
    found = [row for row in trials if row.weights and row.status != "running"]
    if any(row.completed is None for row in found):
        return sorted(found, key=lambda row: row.trial), "trials in the order of proposal"
    return sorted(found, key=lambda row: row.completed or 0), "trials in the order they ended"


def _map(
    groups: Sequence[Group],
    column: Mapping[str, Floats],
    moved: Mapping[str, float],
    order: str,
    label: str,
    narrow: bool,
) -> Markup:
    left, right, width = (118, 48, 360) if narrow else (190, 70, 960)
    layout = Layout(width, 28 + groups_height(groups) + 40, left, right, 28, 40)
    parts = [text(4, 13, "weight as proposed", "name")]
    drifts = any(moved.values())
    if drifts:
        parts.append(text(width - 4, 13, "drift", "name", "end"))
    tops: dict[str, float] = {}
    for place, term, at in group_rows(groups, layout.top, parts):
        tops[term] = at
        parts.append(text(left - 8, at + 13, shortened(place, left - 14), "tick", "end"))
        if drifts:
            parts.append(text(width - 4, at + 13, f"{moved[term]:+.2f}", "value", "end"))
    plot_width = layout.plot[1] - left
    for group in groups:
        weight_RN = np.stack([column[term] for _, term in group.terms])
        box = {
            "x": float(left),
            "y": tops[group.terms[0][1]] + 1,
            "width": float(plot_width),
            "height": ROW * len(group.terms) - 2.0,
        }
        parts.append(_image(weight_RN, box))
    parts += _trial_axis(layout, len(next(iter(column.values()))), order, 4 if narrow else 10)
    return drawing(layout, label, parts, "map")


def _image(weight_RN: Floats, place: Mapping[str, float]) -> Markup:
    """A pixel a weight, stretched over its place."""
    rgba_RNC = colormaps[MAP](np.clip(weight_RN, 0, 1), bytes=True)
    uri = data_uri(rgba_RNC[:, :, :3], "png")
    return tag("image", href=uri, preserveAspectRatio="none", class_="pixels", **place)


def _trial_axis(layout: Layout, num_trials: int, order: str, num_ticks: int) -> list[Markup]:
    left, right, _, bottom = layout.plot
    width = (right - left) / num_trials
    parts = [text((left + right) / 2, layout.height - 6, order, "name", "middle")]
    for nth in whole_ticks(1, num_trials, num_ticks):
        at = left + width * (nth - 0.5)
        parts.append(text(at, bottom + 16, f"{nth:.0f}", "tick", "middle"))
    return parts


def legend() -> Markup:
    """Return the colours of weights 0 to 1."""
    layout = Layout(220, 34, 10, 10, 0, 0)
    parts = [
        _image(np.linspace(0, 1, 64)[None], {"x": 10.0, "y": 2.0, "width": 200.0, "height": 12.0})
    ]
    parts += [text(10 + 200 * v, 28, f"{v:g}", "tick", "middle") for v in (0, 0.5, 1)]
    return drawing(layout, "Colours: dark is weight 0, yellow is weight 1.", parts, "legend")


def _in_words(moved: Mapping[str, float], num_trials: int) -> str:
    words = f"Weights of {len(moved)} terms in {num_trials} trials."
    ranked = sorted(moved, key=lambda term: moved[term])
    if not any(moved.values()):
        return words
    most, least = ranked[-1], ranked[0]
    return (
        f"{words} From the first to the last quarter of the trials {most} rose most "
        f"({moved[most]:+.2f}), {least} fell most ({moved[least]:+.2f})."
    )
