"""MoCo: a view of a clip is found among the keys of many other clips, kept in a queue.

He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning,
CVPR 2020, with the head of MoCo v2 (Chen, Fan, Girshick, He, arXiv 2020).

On every stream. Without its shuffled BatchNorm, which needs several devices: a key is seen with the
other clips' keys, a query with the other queries.

Should learn: motion.
"""

from evossl.families import MomentumContrasted
from evossl.io.task_options import Count, Positive
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Role, View


class MoCo(MomentumContrasted):
    """The encoder sees one draw, its moving average the other; the queue holds what that gave.

    Args:
        place: one stream.
        temperature: of the cosines.
        queue: the most keys it holds.
    """

    places = each(*Stream)

    def __init__(self, place: Place, temperature: Positive = 0.2, queue: Count = 4096) -> None:
        query = View(place.stream, space=STRONG, draw=0)
        key = View(place.stream, space=STRONG, draw=1, encoder=Role.MOMENTUM)
        super().__init__(place, {"query": query}, {"key": key}, 1, queue, temperature)
