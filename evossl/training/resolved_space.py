"""A search space with its task classes and terms: resolved once per process, and passed on."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from evossl.config import SearchSpace, TaskChoice
from evossl.errors import UserError, unknown
from evossl.genes import Gene, GeneValue
from evossl.io.task_options import read_option_genes
from evossl.task import Task, Term
from evossl.task_loader import find_task, load_catalogue
from evossl.types import Stream


@dataclass(frozen=True)
class ResolvedSpace:
    """A search space and what its task names refer to.

    Attributes:
        space: the validated search space, in which each gene has its default.
        tasks: the class of each task, by the task's name in the space.
        terms: all terms of the space in the order of its tasks, or the selected ones.
        genes: all genes by their full keys.
    """

    space: SearchSpace
    tasks: Mapping[str, type[Task]]
    terms: tuple[Term, ...]
    genes: Mapping[str, Gene] = field(default_factory=dict)

    @cached_property
    def terms_by_name(self) -> Mapping[str, Term]:
        """The terms by their names."""
        return {term.name: term for term in self.terms}

    def task_class(self, term: Term) -> type[Task]:
        """Return the class of a term's task."""
        return self.tasks[term.task]

    def terms_of(self, task: str) -> tuple[Term, ...]:
        """Return the terms of a task, given by its name in the space."""
        return tuple(term for term in self.terms if term.task == task)

    def with_genes(self, values: Mapping[str, GeneValue]) -> "ResolvedSpace":
        """Return the space of one trial: the named genes have the given values.

        Raises:
            UserError: a gene that the space does not have, or a value that it does not allow.
        """
        for name, value in values.items():
            if name not in self.genes:
                raise UserError(f"{unknown('gene', name, self.genes)}; declare a range for it")
            if not self.genes[name].contains(value):
                raise UserError(f"gene {name}: {value!r} must be {self.genes[name]}")
        return replace(self, space=self.space.with_genes(values)) if values else self

    def select(self, names: Collection[str]) -> "ResolvedSpace":
        """Return the same space with only the named terms, in the same order."""
        return replace(self, terms=tuple(term for term in self.terms if term.name in names))


def resolve_space(space: SearchSpace, tasks_folder: Path | None = None) -> ResolvedSpace:
    """Return the space with its task classes and terms.

    Args:
        space: the validated search space.
        tasks_folder: a folder of the user's own tasks, or None.

    Raises:
        UserError: a task file that cannot be loaded, an unknown task or place, or a task that
            supports none of the space's streams.
    """
    return resolve_with(space, load_catalogue(tasks_folder))


def resolve_with(space: SearchSpace, catalogue: Mapping[str, type[Task]]) -> ResolvedSpace:
    """Return the space resolved with a catalogue that is already loaded; see `resolve_space`."""
    tasks = {name: find_task(c.task or name, catalogue) for name, c in space.tasks.items()}
    terms = [
        term
        for name, choice in space.tasks.items()
        for term in _terms_of(name, choice, tasks[name], space.streams)
    ]
    genes = dict(space.genes)
    for name, choice in space.tasks.items():
        genes |= read_option_genes(f"tasks.{name}.options", choice.options, tasks[name])
    defaults = {name: gene.default for name, gene in genes.items()}
    return ResolvedSpace(space.with_genes(defaults), tasks, tuple(terms), genes)


def _terms_of(
    name: str, choice: TaskChoice, task: type[Task], streams: Sequence[Stream]
) -> list[Term]:
    """The terms of one task: on the places that the space lists, or on all that its streams allow.

    Raises:
        UserError: an unknown place, or no place that the streams allow.
    """
    supported = {
        place.name: Term(name, place)
        for bare in task.places
        for variant in (task.variants or (None,))
        for place in (replace(bare, variant=variant),)
    }
    available = {p: term for p, term in supported.items() if set(term.streams) <= set(streams)}
    if choice.places is None:
        if not available:
            known = sorted({"+".join(place.streams) for place in task.places})
            raise UserError(
                f"tasks.{name}: none of its places ({', '.join(known)}) is possible with the "
                f"space's streams ({', '.join(streams)}); add a stream or remove the task"
            )
        return list(available.values())
    for place in choice.places:
        if place not in available:
            reason = _rejection_reason(name, place, supported, streams)
            raise UserError(f"tasks.{name}.places: {reason}")
    return [available[place] for place in choice.places]


def _rejection_reason(
    name: str, place: str, supported: Mapping[str, Term], streams: Sequence[Stream]
) -> str:
    """Why a task cannot be instantiated on a place, and what to do about it."""
    if place in supported:
        missing = ", ".join(s for s in supported[place].streams if s not in streams)
        return f"{place}: add {missing} to the space's streams, or remove the place"
    words = set(place.replace("->", "+").split("+"))
    if words <= set(Stream):
        same_streams = [known for known, term in supported.items() if words == set(term.streams)]
        return f"{name} does not support {place}; use {', '.join(same_streams or supported)}"
    return unknown("place", place, supported)
