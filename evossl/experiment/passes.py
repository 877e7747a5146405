"""Encoder passes: the unit in which the compute of different losses is compared.

One pass is the forward pass of one batch of full-size RGB clips through an encoder. A backward pass
counts two. A smaller input counts by its pixels, and a momentum encoder or a frozen teacher has no
backward pass. Heads and the making of views are not counted.
"""

from collections.abc import Iterable, Mapping
from math import prod

from evossl.config import SearchSpace
from evossl.experiment.preflight import planned_views
from evossl.experiment.terms import active_weights
from evossl.genes import GeneValue
from evossl.training.resolved_space import ResolvedSpace
from evossl.types import Stream
from evossl.views.settings import ViewSettings
from evossl.views.shapes import input_shape
from evossl.views.spec import CLEAN, Role, View

PASSES = {Role.STUDENT: 3, Role.MOMENTUM: 1, Role.TEACHER: 1, Role.NONE: 0}


def passes_per_step(resolved: ResolvedSpace) -> float:
    """Return the encoder passes of one optimiser step of a space's terms, all of them active.

    Use `resolved.select` for the active terms of a trial, and `resolved.with_genes` for its genes.

    Raises:
        UserError: a task does not accept its options.
    """
    return count_passes(planned_views(resolved), resolved.space)


def count_passes(views: Iterable[View], space: SearchSpace) -> float:
    """Return the encoder passes of one optimiser step that needs the given, distinct views."""
    settings, fps = ViewSettings.from_space(space), space.cache.fps

    def num_pixels(view: View) -> int:
        """Pixels of one clip: frames x height x width, or bands x columns of sound."""
        return view.num_pieces * prod(input_shape(view, settings, fps)[1:])

    per_batch = sum(PASSES[view.encoder] * num_pixels(view) for view in views)
    return per_batch / num_pixels(View(Stream.RGB, space=CLEAN)) * space.training.accumulate


def num_steps(
    passes: int,
    resolved: ResolvedSpace,
    weights: Mapping[str, float],
    genes: Mapping[str, GeneValue] | None = None,
) -> int:
    """Return the optimiser steps that a number of encoder passes allows, at least 1.

    Args:
        passes: encoder passes of the whole training.
        resolved: the space with all of its terms.
        weights: lambda of every term, as proposed.
        genes: values of the genes other than weights.

    Raises:
        UserError: the weights or genes do not fit the space.
    """
    own = resolved.with_genes(genes or {})
    active = own.select(active_weights(own, weights))
    return max(1, round(passes / passes_per_step(active)))
