"""Order of segments: in which of all orders do four pieces of this clip come?

Xu, Xiao, Zhao, Shao, Xie, Zhuang, Self-Supervised Spatiotemporal Learning via Video Clip Order
Prediction, CVPR 2019. After Lee, Huang, Singh, Yang, Unsupervised Representation Learning by
Sorting Sequences, ICCV 2017.

On every stream; for sound the segments are of its log-mel. Pieces leave a gap of time between them
and are cropped each at a place of its own; they have equal brightness or loudness.

Should learn: motion.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import Arranger
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import SEGMENTS, segments_of_time
from evossl.views.spec import View


class OrderMulticlass(Task):
    """One of 24 orders: each piece is embedded by itself, the head compares them."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = Arranger(place.width, SEGMENTS)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        return {"pieces": segments_of_time(stream, self.place.shape.input)}

    def loss(self, seen: TaskBatch) -> Tensor:
        return self.head.loss(seen["pieces"].embedding_BD, seen["pieces"].applied)
