"""A matrix of the cosines between the gradients of terms, averaged over a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from evossl.report.records import Step
from evossl.report.svg import Layout, drawing, shorten, tag, text, wide_and_narrow
from evossl.report.weight_bars import ROW_HEIGHT

HEAD_HEIGHT = 34  # px above the rows
MAX_CELL_WIDTH = 54  # px
MIN_WIDTH_WITH_COSINE = 34  # px; narrower cells show no cosine
MIN_WIDTH_WITH_NUMBER = 15  # px; of narrower columns only every fifth has its number
MAX_OPACITY = 0.6  # of the largest cosine, so that the text on it stays readable
MIN_SCALE = 0.1  # if all cosines are smaller, all cells are pale

Pair = tuple[str, str]


@dataclass(frozen=True)
class Conflicts:
    """The cosine of each pair of terms, over the steps that measured both.

    Attributes:
        terms: those that agree most with the others first, those that conflict most last.
        mean: the mean cosine of each pair, in both orders.
        first: (step, cosine) of the first measurement of each pair.
        last: (step, cosine) of the last one.
        mean_of_term: the mean over all pairs of a term.
        num_steps: number of steps with a measurement.
    """

    terms: Sequence[str]
    mean: Mapping[Pair, float]
    first: Mapping[Pair, tuple[int, float]]
    last: Mapping[Pair, tuple[int, float]]
    mean_of_term: Mapping[str, float]
    num_steps: int

    @property
    def strongest(self) -> Pair:
        """The pair with the lowest cosine."""
        return min(self.mean, key=lambda pair: self.mean[pair])

    @property
    def scale(self) -> float:
        """The absolute cosine that gets the strongest colour."""
        return max(MIN_SCALE, *(abs(value) for value in self.mean.values()))


def mean_conflicts(history: Sequence[Step]) -> Conflicts | None:
    """Return the mean cosines of a training; None if no pair of terms was measured."""
    found: dict[Pair, list[tuple[int, float]]] = {}
    measured = [(step.step, step.conflict) for step in history if step.conflict]
    for step, matrix in measured:
        for term, row in zip(matrix.terms, matrix.cosine, strict=True):
            for other, cosine in zip(matrix.terms, row, strict=True):
                if other != term:
                    found.setdefault((term, other), []).append((step, cosine))
    if not found:
        return None
    mean = {pair: fmean(cosine for _, cosine in at) for pair, at in found.items()}
    terms = dict.fromkeys(term for term, _ in mean)
    others = {
        term: fmean(value for (one, _), value in mean.items() if one == term) for term in terms
    }
    return Conflicts(
        terms=sorted(terms, key=lambda term: (-others[term], term)),
        mean=mean,
        first={pair: at[0] for pair, at in found.items()},
        last={pair: at[-1] for pair, at in found.items()},
        mean_of_term=others,
        num_steps=len(measured),
    )


def conflict_map(found: Conflicts) -> Markup:
    """Return the matrix: blue for agreement, orange for conflict, and means at the right."""
    return wide_and_narrow(lambda narrow: _map(found, narrow))


def _map(found: Conflicts, narrow: bool) -> Markup:
    left, right, width = (140, 46, 360) if narrow else (250, 60, 960)
    count = len(found.terms)
    cell = min((width - left - right) / count, MAX_CELL_WIDTH)
    layout = Layout(width, HEAD_HEIGHT + ROW_HEIGHT * count + 4, left, right, HEAD_HEIGHT, 4)
    end = left + cell * count + right - 4
    parts = [text(4, 13, "term", "name"), text(end, 13, "mean", "name", "end")]
    for row, term in enumerate(found.terms):
        top, number = HEAD_HEIGHT + ROW_HEIGHT * row, str(row + 1)
        if cell >= MIN_WIDTH_WITH_NUMBER or (row + 1) % 5 == 0:
            parts.append(text(left + cell * (row + 0.5), 29, number, "tick", "middle"))
        parts.append(text(20, top + 13, number, "tick", "end"))
        parts.append(text(26, top + 13, shorten(term, left - 32), "value"))
        parts.append(text(end, top + 13, f"{found.mean_of_term[term]:+.2f}", "value", "end"))
        for column, other in enumerate(found.terms):
            parts += _cell(found, (term, other), left + cell * column, top, cell)
    return drawing(layout, _label(found), parts, "conflicts")


def _cell(found: Conflicts, pair: Pair, left: float, top: float, width: float) -> list[Markup]:
    """The square of a pair: grey on the diagonal, none if the pair was never measured."""
    box = {"x": left + 0.5, "y": top + 0.5, "width": width - 1, "height": ROW_HEIGHT - 1.0}
    if pair[0] == pair[1]:
        return [tag("rect", class_="self", **box)]
    if pair not in found.mean:
        return []
    mean, first, last = found.mean[pair], found.first[pair], found.last[pair]
    words = f"{pair[0]} and {pair[1]}: {mean:+.2f}"
    if first != last:
        words += f"; {first[1]:+.2f} at step {first[0]:,}, {last[1]:+.2f} at step {last[0]:,}"
    kind = "agreement" if mean > 0 else "conflict"
    strength = MAX_OPACITY * abs(mean) / found.scale
    parts = [tag("rect", tag("title", words), class_=kind, fill_opacity=strength, **box)]
    if width >= MIN_WIDTH_WITH_COSINE:
        parts.append(text(left + width / 2, top + 13, f"{mean:+.2f}", "value", "middle"))
    return parts


def _label(found: Conflicts) -> str:
    (one, other), most = found.strongest, max(found.mean, key=lambda pair: found.mean[pair])
    return (
        f"Cosines between the gradients of {len(found.terms)} terms. Lowest: {one} and {other} "
        f"({found.mean[found.strongest]:+.2f}). Highest: {most[0]} and {most[1]} "
        f"({found.mean[most]:+.2f})."
    )
