"""BYOL: what the moving average of the encoder makes of one view is predicted from the other.

Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020.

On every stream.

Should learn: motion.
"""

from evossl.families import Bootstrapped
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips


class BYOL(Bootstrapped):
    """Two draws, each predicted from the other; there are no negatives."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place, strong_clips(place.stream, rho=2))
