"""Do the terms pull the encoder the same way? A matrix of cosines, averaged over the training.

Shapes: T term.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from evossl.report.records import Step
from evossl.report.svg import Layout, both, drawing, shortened, tag, text
from evossl.report.weights import ROW

HEAD = 34  # px above the rows
WIDEST, LEGIBLE, NUMBERED = 54, 34, 15  # px: of a cell, of one with its cosine, with its number
STRONGEST = 0.6  # opacity of the largest cosine: what is written on it stays readable
LEAST_SCALE = 0.1  # if all cosines are smaller, all are pale

Pair = tuple[str, str]


@dataclass(frozen=True)
class Conflicts:
    """Cosines by pair of terms, over the steps that measured both.

    Attributes:
        terms: those that pull with the others first, those that pull against them last.
        mean: of both orders of each pair. first, last: (step, cosine).
        others: by term, the mean over its pairs.
        num_steps: that measured any.
    """

    terms: Sequence[str]
    mean: Mapping[Pair, float]
    first: Mapping[Pair, tuple[int, float]]
    last: Mapping[Pair, tuple[int, float]]
    others: Mapping[str, float]
    num_steps: int

    @property
    def apart(self) -> Pair:
        """The pair of lowest cosine."""
        return min(self.mean, key=lambda pair: self.mean[pair])

    @property
    def scale(self) -> float:
        """The cosine, of either sign, of the strongest colour."""
        return max(LEAST_SCALE, *(abs(value) for value in self.mean.values()))


def conflicts(history: Sequence[Step]) -> Conflicts | None:
    """Return what a training has measured; None where no two terms met."""
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
        others=others,
        num_steps=len(measured),
    )


def conflict_map(found: Conflicts) -> Markup:
    """Return the matrix: blue pulls together, orange apart, and each term's mean at the side."""
    return both(lambda narrow: _map(found, narrow))


def _map(found: Conflicts, narrow: bool) -> Markup:
    left, right, width = (140, 46, 360) if narrow else (250, 60, 960)
    count = len(found.terms)
    cell = min((width - left - right) / count, WIDEST)
    layout = Layout(width, HEAD + ROW * count + 4, left, right, HEAD, 4)
    end = left + cell * count + right - 4
    parts = [text(4, 13, "term", "name"), text(end, 13, "mean", "name", "end")]
    for row, term in enumerate(found.terms):
        top, number = HEAD + ROW * row, str(row + 1)
        if cell >= NUMBERED or (row + 1) % 5 == 0:
            parts.append(text(left + cell * (row + 0.5), 29, number, "tick", "middle"))
        parts.append(text(20, top + 13, number, "tick", "end"))
        parts.append(text(26, top + 13, shortened(term, left - 32), "value"))
        parts.append(text(end, top + 13, f"{found.others[term]:+.2f}", "value", "end"))
        for column, other in enumerate(found.terms):
            parts += _cell(found, (term, other), left + cell * column, top, cell)
    return drawing(layout, _in_words(found), parts, "conflicts")


def _cell(found: Conflicts, pair: Pair, left: float, top: float, width: float) -> list[Markup]:
    """The square of a pair; a grey one for a term and itself, none where the two never met."""
    box = {"x": left + 0.5, "y": top + 0.5, "width": width - 1, "height": ROW - 1.0}
    if pair[0] == pair[1]:
        return [tag("rect", class_="self", **box)]
    if pair not in found.mean:
        return []
    mean, first, last = found.mean[pair], found.first[pair], found.last[pair]
    words = f"{pair[0]} and {pair[1]}: {mean:+.2f}"
    if first != last:
        words += f"; {first[1]:+.2f} at step {first[0]:,}, {last[1]:+.2f} at step {last[0]:,}"
    kind = "together" if mean > 0 else "apart"
    strength = STRONGEST * abs(mean) / found.scale
    parts = [tag("rect", tag("title", words), class_=kind, fill_opacity=strength, **box)]
    if width >= LEGIBLE:
        parts.append(text(left + width / 2, top + 13, f"{mean:+.2f}", "value", "middle"))
    return parts


def _in_words(found: Conflicts) -> str:
    (one, other), most = found.apart, max(found.mean, key=lambda pair: found.mean[pair])
    return (
        f"Cosines between the gradients of {len(found.terms)} terms. Lowest: {one} and {other} "
        f"({found.mean[found.apart]:+.2f}). Highest: {most[0]} and {most[1]} "
        f"({found.mean[most]:+.2f})."
    )
