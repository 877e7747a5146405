"""The genotype: which loss weights and other genes evolve, and which weights are fixed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from evossl.errors import UserError
from evossl.genes import Gene, GeneValue

EQUAL_WEIGHTS = "equal weights"


@dataclass(frozen=True)
class Genotype:
    """What a search evolves: loss weights by the names of their terms, and other genes.

    A term is called "distill.flow->rgb.stage3" for example, and another gene "optimiser.lr".

    Attributes:
        bounds: (low, high) of each evolving weight, 0 <= low < high <= 1.
        fixed: the value of each weight that does not evolve, in [0, 1].
        single_task_sets: sets of evolving weights; each is the only one of a single-task trial
            before the sampler proposes any. Scheffe's designs too begin with the corners and the
            centre (Experiments with Mixtures, J. Royal Statistical Society B 20, 1958).
        genes: what else evolves, by the full keys of the space.
        starter: weights of a fast starter in the single-task trials of other tasks.

    Raises:
        UserError: a weight outside [0, 1], bounds in the wrong order, or a name in both.
    """

    bounds: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, float]
    single_task_sets: tuple[frozenset[str], ...] = ()
    genes: Mapping[str, Gene] = field(default_factory=dict)
    starter: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in self.bounds.items():
            if not 0 <= low < high <= 1:
                raise UserError(
                    f"weight {name}: bounds ({low}, {high}) must lie in [0, 1], with the lower "
                    "bound first; write a single number to fix the weight"
                )
            if name in self.fixed:
                raise UserError(
                    f"weight {name}: is listed both as evolving and as fixed; remove one"
                )
        for name, value in self.fixed.items():
            if not 0 <= value <= 1:
                raise UserError(f"weight {name}: {value} must lie in [0, 1]")

    @classmethod
    def from_weights(
        cls,
        weights: Mapping[str, float | tuple[float, float]],
        single_task_sets: Iterable[Iterable[str]] = (),
        genes: Mapping[str, Gene] | None = None,
    ) -> "Genotype":
        """Return the genotype of weights that are numbers or pairs of bounds, as in a space.

        A pair of equal bounds is a fixed weight. A set without an evolving weight is left out.
        """
        pairs = {n: w if isinstance(w, tuple) else (w, w) for n, w in weights.items()}
        bounds = {n: (float(low), float(high)) for n, (low, high) in pairs.items() if low != high}
        sets = (frozenset(names) & bounds.keys() for names in single_task_sets)
        return cls(
            bounds=bounds,
            fixed={n: float(low) for n, (low, high) in pairs.items() if low == high},
            single_task_sets=tuple(frozenset(names) for names in sets if names),
            genes=genes or {},
        )

    @property
    def evolves(self) -> bool:
        """Whether any weight or other gene evolves; if not, trial 0 is the whole search."""
        return bool(self.bounds or self.genes)

    def equal_weights(self) -> dict[str, float]:
        """Return the weights of trial 0: 0.5 clipped into the bounds, and the fixed weights."""
        return self.complete(
            {n: min(max(0.5, low), high) for n, (low, high) in self.bounds.items()}
        )

    def initial_weights(self, number: int) -> dict[str, float] | None:
        """Return the evolving weights of an initial trial, or None if the sampler proposes it.

        Trial 0 has equal weights. Then comes a trial for each of `single_task_sets`, with these
        weights at their upper bounds, those of the starter as given, and the others at their lower
        bounds.
        """
        if number == 0:
            equal = self.equal_weights()
            return {name: equal[name] for name in self.bounds}
        if number > len(self.single_task_sets):
            return None
        active = self.single_task_sets[number - 1]
        return {
            name: high if name in active else self.starter.get(name, low)
            for name, (low, high) in self.bounds.items()
        }

    def initial_values(self, number: int) -> dict[str, GeneValue] | None:
        """Return the evolving weights and genes of an initial trial; the genes have defaults."""
        weights = self.initial_weights(number)
        if weights is None:
            return None
        return {**weights, **{name: gene.default for name, gene in self.genes.items()}}

    def trial_name(self, number: int) -> str:
        """Return the name of an initial trial, or "" for any other."""
        if number == 0:
            return EQUAL_WEIGHTS
        if number > len(self.single_task_sets):
            return ""
        tasks = {term.partition(".")[0] for term in self.single_task_sets[number - 1]}
        beside = {term.partition(".")[0] for term in self.starter} - tasks
        suffix = f"with some {', '.join(sorted(beside))}" if beside else "alone"
        return f"{', '.join(sorted(tasks))} {suffix}"

    def complete(self, evolving: Mapping[str, GeneValue]) -> dict[str, float]:
        """Return all weights, sorted by name, given the evolving values."""
        assert evolving.keys() >= self.bounds.keys()
        found = {name: float(evolving[name]) for name in self.bounds}
        return dict(sorted({**self.fixed, **found}.items()))

    def gene_values(self, evolving: Mapping[str, GeneValue]) -> dict[str, GeneValue]:
        """Return the genes other than weights, in the order of the space."""
        return {name: evolving[name] for name in self.genes}
