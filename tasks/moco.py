"""MoCo: identify the momentum encoder's view of a clip among the keys of many clips in a queue.

He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning,
CVPR 2020, with the projection head of MoCo v2 (Chen, Fan, Girshick, He, Improved Baselines with
Momentum Contrastive Learning, arXiv 2020), which has no BatchNorm.

On every stream. There is no shuffled BatchNorm, which needs several devices: BatchNorm in the
encoders sees a key with the other clips' keys and a query with the other queries.

Shapes: B clip, M key, D projection.

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.io.task_options import PositiveCount, PositiveFloat
from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import EmbeddingQueue
from evossl.models.heads.mlp import HiddenLayers, projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import Rho, momentum_views, strong_clips
from evossl.views.spec import View

PROJECTION_DIM = 128


class MoCo(Task):
    """InfoNCE with keys from the momentum encoder and a momentum copy of the projection head.

    A query's negatives are the keys in the queue and those of the batch, which enter the queue
    after the step; so there are negatives even while the queue is empty. Keys of the query's own
    video are never negatives.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 means two views of one clip.
        symmetric: every clip is a query and a key, and the loss is averaged over all ordered pairs
            of clips; otherwise clip 0 is the query and the others are keys. rho-MoCo is symmetric,
            with 2 hidden layers and temperature 0.1 (Feichtenhofer, Fan, Xiong, Girshick, He, A
            Large-Scale Study on Unsupervised Spatiotemporal Representation Learning, CVPR 2021).
        hidden_layers: hidden layers of the projection head.
        temperature: divides the cosines.
        queue_size: number of keys in the queue.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        rho: Rho = 2,
        symmetric: bool = False,
        hidden_layers: HiddenLayers = 1,
        temperature: PositiveFloat = 0.2,
        queue_size: PositiveCount = 4096,
    ) -> None:
        super().__init__(place)
        self.temperature = temperature
        clips = strong_clips(place.stream, rho)
        self.queries = clips if symmetric else {"0": clips["0"]}
        self.keys = clips if symmetric else {n: v for n, v in clips.items() if n != "0"}
        self.projector = projection_head(place.width, PROJECTION_DIM, hidden_layers, norm=False)
        self.momentum_projector = self.momentum(self.projector)
        self.queue = EmbeddingQueue(queue_size, PROJECTION_DIM)

    def views(self) -> dict[str, View]:
        return self.queries | momentum_views(self.keys)

    def loss(self, batch: TaskBatch) -> Tensor:
        queries = {name: self.projector(batch[name].embedding_BD) for name in self.queries}
        losses = []
        for key_name, key_BD in self._project_keys(batch).items():
            key_MD = torch.cat([key_BD, self.queue.row_FD])
            video_id_M = torch.cat([batch.video_id_B, self.queue.video_id_F])
            losses += [
                info_nce(query_BD, key_MD, batch.video_id_B, video_id_M, self.temperature)
                for query_name, query_BD in queries.items()
                if query_name != key_name
            ]
        return torch.stack(losses).mean()

    def after_step(self, batch: TaskBatch) -> None:
        for key_BD in self._project_keys(batch).values():
            self.queue.enqueue(key_BD, batch.video_id_B)

    @torch.no_grad()
    def _project_keys(self, batch: TaskBatch) -> dict[str, Tensor]:
        return {
            name: self.momentum_projector(batch[f"momentum {name}"].embedding_BD)
            for name in self.keys
        }
