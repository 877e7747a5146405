"""Order prediction: classify the order of four shuffled segments of a clip.

Xu, Xiao, Zhao, Shao, Xie, Zhuang, Self-Supervised Spatiotemporal Learning via Video Clip Order
Prediction, CVPR 2019. After Lee, Huang, Singh, Yang, Unsupervised Representation Learning by
Sorting Sequences, ICCV 2017.

On every stream; for audio the segments are parts of the log-mel. Segments have gaps in time between
them, independent crops, and equal brightness or loudness.

Expected to learn: motion.
"""

from torch import Tensor

from evossl.models.heads.permutation_head import PermutationHead
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import TIME_PUZZLE, time_puzzle_view
from evossl.views.spec import View


class OrderMulticlass(Task):
    """Cross entropy of 24 orders: segments are encoded separately, and the head compares them."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.head = PermutationHead(place.width, TIME_PUZZLE)

    def views(self) -> dict[str, View]:
        return {"pieces": time_puzzle_view(self.place.stream, self.place.shape.input)}

    def loss(self, batch: TaskBatch) -> Tensor:
        return self.head.loss(batch["pieces"].embedding_BD, batch["pieces"].applied)
