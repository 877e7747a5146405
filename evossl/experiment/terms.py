"""Loss weights of terms: what the space gives, what a search evolves, which terms are active."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from evossl.config import Weight
from evossl.errors import UserError, unknown
from evossl.search.genotype import Genotype
from evossl.task import Term
from evossl.training.objective import check_weights, normalise
from evossl.training.resolved_space import ResolvedSpace
from evossl.types import Stream

STARTER_WEIGHT = 0.1  # of a fast starter's terms, beside a task whose weights are at their bounds


def term_weights(resolved: ResolvedSpace) -> dict[str, Weight]:
    """Return each term's weight as the space gives it: a number, or (low, high) if it evolves."""
    return {term.name: resolved.space.tasks[term.task].weight for term in resolved.terms}


def search_genotype(resolved: ResolvedSpace) -> Genotype:
    """Return what a search over the space evolves, and which trials it runs first.

    With `sampler.single_tasks_first`, these are single-task trials of each task that can be trained
    on its own, which distillation cannot. `sampler.fast_starter` has a small weight in the others'
    trials.
    """
    single_tasks = [
        [term.name for term in resolved.terms_of(name)]
        for name, task in resolved.tasks.items()
        if task.teacher_stream_index is None
    ]
    first = single_tasks if resolved.space.sampler.single_tasks_first else ()
    genotype = Genotype.from_weights(term_weights(resolved), first, resolved.genes)
    return replace(genotype, starter=_starter_weights(resolved, genotype))


def _starter_weights(resolved: ResolvedSpace, genotype: Genotype) -> dict[str, float]:
    """Return the small weights of the fast starter's terms, which survive `prune_below`."""
    starter, sampler = {}, resolved.space.sampler
    weight = max(STARTER_WEIGHT, resolved.space.training.prune_below)
    for term in resolved.terms_of(sampler.fast_starter or ""):
        if term.name in genotype.bounds:
            low, high = genotype.bounds[term.name]
            starter[term.name] = min(max(weight, low), high)
    return starter


def active_weights(resolved: ResolvedSpace, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of the active terms, rescaled to sum to 1 unless `normalize` is none.

    A term is inactive if its weight is zero or below `training.prune_below`, or if it is a
    distillation whose teacher stream no other active term trains: the teacher would be random.

    Args:
        resolved: the space with all of its terms.
        weights: lambda of every term, as proposed.

    Raises:
        UserError: weights that are unknown, missing, outside [0, 1] or all zero; no active term.
    """
    check_weights(weights)
    terms, training = resolved.terms_by_name, resolved.space.training
    for name in weights.keys() - terms.keys():
        raise UserError(unknown("loss weight", name, terms))
    if missing := sorted(terms.keys() - weights.keys()):
        raise UserError(f"no loss weight for {', '.join(missing)}: give every term one (0 is off)")
    large = {n: w for n, w in weights.items() if w > 0 and w >= training.prune_below}
    if not large:
        raise UserError(
            "no active term: every loss weight is below training.prune_below, "
            f"{training.prune_below:g}: raise a weight, or lower prune_below"
        )
    trained = _trained_streams(resolved, large)
    active = {
        name: large[name]
        for name, term in terms.items()
        if name in large and _teacher_stream(resolved, term) in (None, *trained)
    }
    if not active:
        raise UserError(
            f"no active term: {', '.join(large)} need a stream that another task trains, and no "
            "task does: give a task on such a stream a weight"
        )
    return normalise(active) if training.normalize == "gradient" else active


def _trained_streams(resolved: ResolvedSpace, names: Collection[str]) -> set[Stream]:
    """The streams that the named terms train without needing another term to do so."""
    return {
        stream
        for name in names
        for stream in resolved.terms_by_name[name].streams
        if resolved.task_class(resolved.terms_by_name[name]).teacher_stream_index is None
    }


def _teacher_stream(resolved: ResolvedSpace, term: Term) -> Stream | None:
    """The stream that another term must train for this one (distillation's teacher), or None."""
    index = resolved.task_class(term).teacher_stream_index
    return None if index is None else term.streams[index]


def check_every_term_can_be_active(resolved: ResolvedSpace) -> None:
    """Refuse a space with a term of positive weight that can never be active.

    Raises:
        UserError: a weight that is always below `prune_below`, or a distillation from a stream that
            no task of the space trains; names the term and the remedy.
    """
    below = resolved.space.training.prune_below
    highest = {n: w[1] if isinstance(w, tuple) else w for n, w in term_weights(resolved).items()}
    check_weights(highest)
    for term in resolved.terms:
        if 0 < highest[term.name] < below:
            raise UserError(
                f"tasks.{term.task}.weight: {highest[term.name]:g} is below training.prune_below, "
                f"{below:g}, so the task is never trained: raise the weight, lower prune_below, or "
                "remove the task"
            )
    active = active_weights(resolved, highest)
    for term in resolved.terms:
        teacher = _teacher_stream(resolved, term)
        if highest[term.name] > 0 and teacher is not None and term.name not in active:
            raise UserError(
                f"tasks.{term.task}: {term.name} distils from {teacher}, which no task of the "
                f"space trains: add a task on {teacher}, or remove the place"
            )
