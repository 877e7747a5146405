"""Proposal: what a study returns for the next trial to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evossl.genes import GeneValue


@dataclass(frozen=True)
class Proposal:
    """The trial to run next.

    Attributes:
        number: of the trial.
        weights: all its weights by name, fixed ones included.
        genes: the values of the other genes.
        parent: the trial whose checkpoint it starts from, or None.
    """

    number: int
    weights: Mapping[str, float]
    genes: Mapping[str, GeneValue] = field(default_factory=dict)
    parent: int | None = None
