"""A heat map of the loss weights over the search: one row per term, one column per trial.

Shapes: R term, N trial, C channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from evossl.report.contact_sheets import data_uri
from evossl.report.svg import (
    Layout,
    drawing,
    integer_ticks,
    shorten,
    tag,
    text,
    wide_and_narrow,
)
from evossl.report.weight_bars import (
    ROW_HEIGHT,
    TaskGroup,
    group_by_task,
    group_rows,
    groups_height,
)
from evossl.search.table import TrialRow

MIN_TRIALS_FOR_DRIFT = 8  # a quarter of fewer trials is less than two
VIRIDIS = """
    440154 471669 472a79 433c84 3c4d8a 355d8c 2e6c8e 287a8e 23898d
    1e978a 20a585 2eb27c 45bf6f 64cb5d 88d547 afdc2e d7e219 fde724
"""
"""Evenly spaced colours of matplotlib's viridis: even in lightness, safe for the colour-blind."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _MapData:
    """The weights of each term over the trials, their drift, and the name of the trial axis."""

    weights_of_term: Mapping[str, Floats]
    drift_of_term: Mapping[str, float]
    groups: Sequence[TaskGroup]
    num_trials: int
    axis_label: str

    @property
    def has_drift(self) -> bool:
        return any(self.drift_of_term.values())


def drift(weight_NR: Floats) -> Floats:
    """Return the mean over the last quarter of the trials minus that over the first, (R,).

    It is zero with fewer than `MIN_TRIALS_FOR_DRIFT` trials.
    """
    if len(weight_NR) < MIN_TRIALS_FOR_DRIFT:
        return np.zeros(weight_NR.shape[1])
    quarter = len(weight_NR) // 4
    moved: Floats = weight_NR[-quarter:].mean(axis=0) - weight_NR[:quarter].mean(axis=0)
    return moved


def weight_map(trials: Sequence[TrialRow]) -> Markup | None:
    """Return the heat map of all proposed weights; None before two trials have ended.

    The terms whose weights rose most are at the top.
    """
    ended, axis_label = ended_trials(trials)
    if len(ended) < 2:
        return None
    terms = sorted({term for row in ended for term in row.weights})
    weight_NR = np.array([[row.weights.get(term, 0.0) for term in terms] for row in ended])
    drift_R = drift(weight_NR)
    order_R = drift_R if drift_R.any() else weight_NR.mean(axis=0)
    data = _MapData(
        weights_of_term={term: weight_NR[:, i] for i, term in enumerate(terms)},
        drift_of_term=dict(zip(terms, drift_R.tolist(), strict=True)),
        groups=group_by_task(dict(zip(terms, order_R.tolist(), strict=True))),
        num_trials=len(ended),
        axis_label=axis_label,
    )
    return wide_and_narrow(lambda narrow: _map(data, narrow))


def ended_trials(trials: Sequence[TrialRow]) -> tuple[list[TrialRow], str]:
    """Return the trials that have ended, in order of completion, and the name of that order.

    In a table that does not record completion, they are in the order of proposal.
    """
    found = [row for row in trials if row.weights and row.status != "running"]
    if any(row.completed is None for row in found):
        return sorted(found, key=lambda row: row.trial), "trials, in the order of proposal"
    return sorted(found, key=lambda row: row.completed or 0), "trials, in the order of completion"


def _map(data: _MapData, narrow: bool) -> Markup:
    left, right, width = (118, 48, 360) if narrow else (190, 70, 960)
    layout = Layout(width, 28 + groups_height(data.groups) + 40, left, right, 28, 40)
    parts = [text(4, 13, "loss weight as proposed", "name")]
    if data.has_drift:
        parts.append(text(width - 4, 13, "drift", "name", "end"))
    top_of_term: dict[str, float] = {}
    for place, term, top in group_rows(data.groups, layout.top, parts):
        top_of_term[term] = top
        parts.append(text(left - 8, top + 13, shorten(place, left - 14), "tick", "end"))
        if data.has_drift:
            drift_text = f"{data.drift_of_term[term]:+.2f}"
            parts.append(text(width - 4, top + 13, drift_text, "value", "end"))
    for group in data.groups:
        weight_RN = np.stack([data.weights_of_term[term] for _, term in group.terms])
        box = {
            "x": float(left),
            "y": top_of_term[group.terms[0][1]] + 1,
            "width": float(layout.plot[1] - left),
            "height": ROW_HEIGHT * len(group.terms) - 2.0,
        }
        parts.append(_image(weight_RN, box))
    parts += _trial_axis(data, layout, 4 if narrow else 10)
    return drawing(layout, _label(data), parts, "map")


def _image(weight_RN: Floats, box: Mapping[str, float]) -> Markup:
    """One pixel per weight, stretched over the box."""
    uri = data_uri(viridis(np.clip(weight_RN, 0, 1)), "png")
    return tag("image", href=uri, preserveAspectRatio="none", class_="pixels", **box)


def viridis(weight_RN: Floats) -> NDArray[np.uint8]:
    """Return the colour of each weight in [0, 1], uint8 (R, N, C)."""
    anchor_AC = np.array([list(bytes.fromhex(colour)) for colour in VIRIDIS.split()])
    position_A = np.linspace(0, 1, len(anchor_AC))
    channels = [np.interp(weight_RN, position_A, anchor_A) for anchor_A in anchor_AC.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _trial_axis(data: _MapData, layout: Layout, num_ticks: int) -> list[Markup]:
    left, right, _, bottom = layout.plot
    width = (right - left) / data.num_trials
    parts = [text((left + right) / 2, layout.height - 6, data.axis_label, "name", "middle")]
    for nth in integer_ticks(1, data.num_trials, num_ticks):
        at = left + width * (nth - 0.5)
        parts.append(text(at, bottom + 16, f"{nth:.0f}", "tick", "middle"))
    return parts


def colour_key() -> Markup:
    """Return the colours of the weights from 0 to 1."""
    layout = Layout(220, 34, 10, 10, 0, 0)
    box = {"x": 10.0, "y": 2.0, "width": 200.0, "height": 12.0}
    parts = [_image(np.linspace(0, 1, 64)[None], box)]
    parts += [text(10 + 200 * v, 28, f"{v:g}", "tick", "middle") for v in (0, 0.5, 1)]
    return drawing(layout, "Colours: dark is weight 0, yellow is weight 1.", parts, "legend")


def _label(data: _MapData) -> str:
    words = f"Loss weights of {len(data.drift_of_term)} terms in {data.num_trials} trials."
    if not data.has_drift:
        return words
    ranked = sorted(data.drift_of_term, key=lambda term: data.drift_of_term[term])
    most, least = ranked[-1], ranked[0]
    return (
        f"{words} From the first to the last quarter of the trials, {most} rose most "
        f"({data.drift_of_term[most]:+.2f}) and {least} fell most "
        f"({data.drift_of_term[least]:+.2f})."
    )
