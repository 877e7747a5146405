"""BYOL: what the moving average of the encoder makes of one view is predicted from the other.

Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.bootstrap import Bootstrap
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import clips_of_a_video, seen_slowly
from evossl.views.spec import View


class BYOL(Task):
    """Two draws, each predicted from the other; there are no negatives."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.clips = clips_of_a_video(place.stream, rho=2)
        self.slow = seen_slowly(self.clips)
        self.bootstrap = Bootstrap(place.width)
        self.bootstrap.target = self.momentum(self.bootstrap.project)

    def views(self) -> dict[str, View]:
        return self.clips | self.slow

    def loss(self, seen: Seen) -> Tensor:
        return self.bootstrap.loss(seen.embeddings(*self.clips), seen.embeddings(*self.slow))
