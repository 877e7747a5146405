"""MoCo: a view of a clip is found among the keys of many other clips, kept in a queue.

He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning,
CVPR 2020, with the head of MoCo v2 (Chen, Fan, Girshick, He, arXiv 2020).

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.momentum_contrast import MomentumContrast
from evossl.options import Count, Positive
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.spec import STRONG, View


class MoCo(Task):
    """The encoder sees one draw, its moving average the other; the queue holds what that gave.

    Args:
        place: one stream.
        temperature: of the cosines.
        queue: the most keys it holds.
    """

    places = each(*Stream)

    def __init__(self, place: Place, temperature: Positive = 0.2, queue: Count = 4096) -> None:
        super().__init__(place)
        self.contrast = MomentumContrast(place.width, 1, queue, temperature)
        self.contrast.target = self.momentum(self.contrast.project)

    def views(self) -> dict[str, View]:
        return {
            "query": View(self.place.stream, space=STRONG, draw=0),
            "key": View(self.place.stream, space=STRONG, draw=1, encoder="momentum"),
        }

    def loss(self, seen: Seen) -> Tensor:
        query, key = ({name: seen[name].embedding_BD} for name in ("query", "key"))
        return self.contrast.loss(query, key, seen.video_id_B)

    def after_step(self, seen: Seen) -> None:
        self.contrast.update({"key": seen["key"].embedding_BD}, seen.video_id_B)
