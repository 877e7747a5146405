"""From a search space to its terms, and from loss weights to the terms that are on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from evossl.config import SearchSpace, TaskChoice, Weight
from evossl.errors import UserError, unknown
from evossl.search.genotype import Genotype
from evossl.task import Task, Term
from evossl.task_loader import find_task
from evossl.training.objective import check_weights, normalise
from evossl.types import Stream


def space_tasks(space: SearchSpace, catalogue: Mapping[str, type[Task]]) -> dict[str, type[Task]]:
    """Return the task class of each of the space's tasks, by its name in the space.

    Raises:
        UserError: an unknown task.
    """
    return {name: find_task(c.task or name, catalogue) for name, c in space.tasks.items()}


def resolve_terms(space: SearchSpace, tasks: Mapping[str, type[Task]]) -> tuple[Term, ...]:
    """Return every term of the space, in the order of its tasks.

    A task stands on all of its places whose streams the space has, or on those the space lists.

    Raises:
        UserError: unknown task or place, or a task that fits none of the space's streams.
    """
    return tuple(
        term
        for name, choice in space.tasks.items()
        for term in _terms_of(name, choice, find_task(name, tasks), space)
    )


def _terms_of(
    name: str, choice: TaskChoice, task: type[Task], space: SearchSpace
) -> Sequence[Term]:
    terms = [
        Term(name, replace(place, variant=variant))
        for place in task.places
        for variant in (task.variants or (None,))
    ]
    possible = {term.name.removeprefix(f"{name}."): term for term in terms}
    here = {place: t for place, t in possible.items() if set(t.streams) <= set(space.streams)}
    if choice.places is None:
        if not here:
            known = sorted({"+".join(place.streams) for place in task.places})
            raise UserError(
                f"tasks.{name}: none of its places ({', '.join(known)}) fits the space's streams "
                f"({', '.join(space.streams)}); add a stream or take the task out"
            )
        return list(here.values())
    for place in choice.places:
        if place not in here:
            why = _rejection_reason(name, place, possible, space)
            raise UserError(f"tasks.{name}.places: {why}")
    return [here[place] for place in choice.places]


def _rejection_reason(
    name: str, place: str, possible: Mapping[str, Term], space: SearchSpace
) -> str:
    """Why a task does not stand on a place, and what to do."""
    if place in possible:
        lacking = ", ".join(s for s in possible[place].streams if s not in space.streams)
        return f"{place}: add {lacking} to the space's streams, or leave the place out"
    words = set(place.replace("->", "+").split("+"))
    if words <= set(Stream):
        other = [known for known, term in possible.items() if words == set(term.streams)]
        choices = ", ".join(other or possible)
        return f"{name} does not stand on {place}, only on {choices}: choose of these"
    return unknown("place", place, possible)


def term_weights(space: SearchSpace, terms: Sequence[Term]) -> dict[str, Weight]:
    """Return each term's weight as the space gives it: a number, or (low, high) to evolve in."""
    return {term.name: space.tasks[term.task].weight for term in terms}


def search_genotype(
    space: SearchSpace, terms: Sequence[Term], tasks: Mapping[str, type[Task]]
) -> Genotype:
    """Return what a search over the space evolves, and what it tries before it proposes.

    With `sampler.single_tasks_first` each task that can stand alone (no distillation) is tried so.
    """
    alone = [name for name in space.tasks if tasks[name].needs_trained is None]
    return Genotype.of(
        term_weights(space, terms),
        [[term.name for term in terms if term.task == name] for name in alone]
        if space.sampler.single_tasks_first
        else (),
    )


def active_weights(
    terms: Sequence[Term],
    weights: Mapping[str, float],
    tasks: Mapping[str, type[Task]],
    prune_below: float,
    rescale: bool = True,
) -> dict[str, float]:
    """Return the weights of the terms that are on, rescaled to sum 1.

    Off are weights under `prune_below`, and a term whose teacher has no active task of its own (its
    target would be a random network).

    Args:
        terms: of the space.
        weights: lambda of every term, as proposed.
        tasks: the catalogue.
        prune_below: smallest weight that counts; zeros are always off.
        rescale: False for the paper's raw sum.

    Raises:
        UserError: weights that are unknown, missing, outside [0, 1] or all zero; nothing left on.
    """
    check_weights(weights)
    known = {term.name: term for term in terms}
    for name in weights.keys() - known.keys():
        raise UserError(unknown("loss weight", name, known))
    if missing := sorted(known.keys() - weights.keys()):
        raise UserError(f"no loss weight for {', '.join(missing)}: give each term one (0 is off)")
    kept = {n: w for n, w in weights.items() if w > 0 and w >= prune_below}
    trained = {
        stream
        for name in kept
        for stream in known[name].streams
        if tasks[known[name].task].needs_trained is None
    }

    def has_teacher(term: Term) -> bool:
        index = tasks[term.task].needs_trained
        return index is None or term.streams[index] in trained

    on = {name: kept[name] for name in known if name in kept and has_teacher(known[name])}
    if not kept:
        raise UserError(
            "no term is left on: every loss weight is under training.prune_below, "
            f"{prune_below:g}: raise a weight, or lower that"
        )
    if not on:
        raise UserError(
            f"no term is left on: {', '.join(kept)} need a stream that another task trains, and "
            "none does: give a task of such a stream a weight"
        )
    return normalise(on) if rescale else on


def check_all_can_be_on(
    terms: Sequence[Term], space: SearchSpace, tasks: Mapping[str, type[Task]]
) -> None:
    """Refuse a space with a term that no weights of the space ever turn on, unless it is to be off.

    Raises:
        UserError: a weight that is always under `prune_below`, or a distillation from a stream that
            no task of the space trains: by name, with the remedy.
    """
    below = space.training.prune_below
    highest = {
        n: w[1] if isinstance(w, tuple) else w for n, w in term_weights(space, terms).items()
    }
    check_weights(highest)
    for term in terms:
        if 0 < highest[term.name] < below:
            raise UserError(
                f"tasks.{term.task}.weight: {highest[term.name]:g} is under training.prune_below, "
                f"{below:g}, and so always off: raise it, lower that, or take the task out"
            )
    on = active_weights(terms, highest, tasks, below)
    for term in terms:
        index = tasks[term.task].needs_trained
        if highest[term.name] > 0 and index is not None and term.name not in on:
            teacher = term.streams[index]
            raise UserError(
                f"tasks.{term.task}: {term.name} follows {teacher}, which no task of the space "
                f"trains: add a task on {teacher}, or leave the place out"
            )
