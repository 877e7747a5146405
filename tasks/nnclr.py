"""NNCLR: a view's positive is the nearest neighbour of the other view in a queue of other clips.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, With a Little Help from My Friends: Nearest-Neighbor
Contrastive Learning of Visual Representations, ICCV 2021.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import Count, Positive
from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import Queue
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

PROJECTED = 256


class NNCLR(Task):
    """A projector, a predictor on it, and a queue of projections in which neighbours are sought.

    Neighbours are of other videos: over few videos the nearest row would else be the clip's own of
    an epoch ago. A clip without a neighbour (the queue is empty at first) is its own.

    Args:
        place: one stream.
        temperature: of the cosines.
        queue: the most projections it holds.
    """

    places = each(*Stream)

    def __init__(self, place: Place, temperature: Positive = 0.1, queue: Count = 4096) -> None:
        super().__init__(place)
        width, projected = place.width, min(PROJECTED, place.width)
        self.temperature = temperature
        self.project = mlp([width, width, width, projected], last_norm=True)
        self.predict = mlp([projected, 2 * width, projected])
        self.queue = Queue(queue, projected)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, seen: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.project, seen.embeddings("0", "1"))
        return (self._half(x_BD, y_BD, seen) + self._half(y_BD, x_BD, seen)) / 2

    def _half(self, first_BD: Tensor, second_BD: Tensor, seen: TaskBatch) -> Tensor:
        """The neighbours of the first view find the predictions of the second."""
        videos = seen.video_id_B
        neighbour_BD = self.queue.nearest(first_BD, videos)
        return info_nce(neighbour_BD, self.predict(second_BD), videos, videos, self.temperature)

    def after_step(self, seen: TaskBatch) -> None:
        self.queue.push(self.project(seen["0"].embedding_BD), seen.video_id_B)
