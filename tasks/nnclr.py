"""NNCLR: a view's positive is the nearest neighbour of the other view in a queue of other clips.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, With a Little Help from My Friends: Nearest-Neighbor
Contrastive Learning of Visual Representations, ICCV 2021.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import PositiveCount, PositiveFloat
from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import EmbeddingQueue
from evossl.models.heads.mlp import prediction_head, projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

MAX_PROJECTION_DIM = 256


class NNCLR(Task):
    """InfoNCE between the neighbours of one view's projections and the other view's predictions.

    Neighbours come from other videos: with few videos, the nearest row would otherwise be the
    clip's own of the epoch before. A clip without a neighbour, as at the start, when the queue is
    empty, is its own.

    Args:
        place: one stream.
        temperature: divides the cosines.
        queue_size: number of projections in the queue.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        temperature: PositiveFloat = 0.1,
        queue_size: PositiveCount = 4096,
    ) -> None:
        super().__init__(place)
        self.temperature = temperature
        width, dim = place.width, min(MAX_PROJECTION_DIM, place.width)
        self.projector = projection_head(width, dim, hidden_layers=2, last_norm=True)
        self.predictor = prediction_head(dim, 2 * width)
        self.queue = EmbeddingQueue(queue_size, dim)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, batch: TaskBatch) -> Tensor:
        x_BD, y_BD = map(self.projector, batch.embeddings("0", "1"))
        return (self._one_way(x_BD, y_BD, batch) + self._one_way(y_BD, x_BD, batch)) / 2

    def _one_way(self, first_BD: Tensor, second_BD: Tensor, batch: TaskBatch) -> Tensor:
        """The first view's neighbours are queries, the second view's predictions are keys."""
        videos = batch.video_id_B
        neighbour_BD = self.queue.nearest_neighbours(first_BD, videos)
        return info_nce(neighbour_BD, self.predictor(second_BD), videos, videos, self.temperature)

    def after_step(self, batch: TaskBatch) -> None:
        self.queue.enqueue(self.projector(batch["0"].embedding_BD), batch.video_id_B)
