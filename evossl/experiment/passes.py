"""Encoder passes: the unit in which the compute of different losses is compared.

One pass is the forward pass of one batch of full-size RGB clips through an encoder. A backward pass
counts two. A smaller input counts by its pixels, and a momentum encoder or a frozen teacher has no
backward pass. Heads and the making of views are not counted.
"""

from math import prod

from evossl.experiment.preflight import planned_views
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
    space = resolved.space
    settings, fps = ViewSettings.from_space(space), space.cache.fps

    def num_pixels(view: View) -> int:
        """Pixels of one clip: frames x height x width, or bands x columns of sound."""
        return view.num_pieces * prod(input_shape(view, settings, fps)[1:])

    per_batch = sum(PASSES[view.encoder] * num_pixels(view) for view in planned_views(resolved))
    full_size = num_pixels(View(Stream.RGB, space=CLEAN))
    return per_batch / full_size * space.training.accumulate
