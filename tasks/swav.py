"""SwAV: predict the cluster assignment of one view of a clip from its other views.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
Contrasting Cluster Assignments, NeurIPS 2020.

On every stream (RGB, grayscale, flow, audio); audio has no local crops.

Shapes: B clip, F queued clip, N sample, D projection, K prototype, V view, G view that gives codes.

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.io.task_options import ClusterCount, OptionalCount, PositiveFloat
from evossl.losses.clustering import different_view_pairs, multi_view_cross_entropy, sinkhorn
from evossl.models.heads.memory_bank import EmbeddingQueue
from evossl.models.heads.mlp import projection_head
from evossl.models.heads.prototypes import Prototypes, score_views
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import LocalCropCount, Rho, local_crop_views, strong_clips
from evossl.views.spec import View

PROJECTION_DIM = 128
TEMPERATURE = 0.1  # of the predictions
SINKHORN_ITERATIONS = 3


class SwAV(Task):
    """Swapped prediction: every view predicts the codes of the other whole clips of its video.

    The codes are Sinkhorn assignments of the whole clips to prototypes. Local crops predict codes
    but give none.

    Args:
        place: one stream.
        rho: whole clips of a video, 1 to 4; 1 means two views of one clip. rho-SwAV (Feichtenhofer,
            Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
            Representation Learning, CVPR 2021) has no local crops.
        prototypes: number of prototypes.
        local_crops: number of local crops per clip.
        epsilon: entropy regularisation of the codes. With the paper's 0.05, the codes of a small
            batch are nearly uniform, and training stays at predicting just that (measured).
        queue_size: number of past clips included in the Sinkhorn assignment, for batches smaller
            than the number of prototypes. Takes effect once the queue is full; 0 disables it.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        rho: Rho = 2,
        prototypes: ClusterCount = 256,
        local_crops: LocalCropCount = 4,
        epsilon: PositiveFloat = 0.02,
        queue_size: OptionalCount = 0,
    ) -> None:
        super().__init__(place)
        self.epsilon, self.queue_size = epsilon, queue_size
        self.clips = strong_clips(place.stream, rho)
        self.crops = local_crop_views(place.stream, place.shape.input, local_crops)
        self.projector = projection_head(place.width, PROJECTION_DIM)
        self.prototypes = Prototypes(PROJECTION_DIM, prototypes)
        row_dim = len(self.clips) * PROJECTION_DIM  # a row holds the projections of all clips
        self.queue = EmbeddingQueue(queue_size, row_dim) if queue_size else None

    def views(self) -> dict[str, View]:
        return self.clips | self.crops

    def before_forward(self, progress: float) -> None:
        self.prototypes.normalise_weight()

    def loss(self, batch: TaskBatch) -> Tensor:
        score_VBK = score_views(self._score, batch.embeddings(*self.clips, *self.crops))
        code_GBK = self._assign_codes(score_VBK[: len(self.clips)])
        pair_GV = different_view_pairs(len(code_GBK), len(score_VBK))
        return multi_view_cross_entropy(score_VBK / TEMPERATURE, code_GBK, pair_GV)

    def after_backward(self, progress: float) -> None:
        self.prototypes.cancel_early_gradient(progress)

    def after_step(self, batch: TaskBatch) -> None:
        if self.queue is not None:
            projections = [self.projector(x_BD) for x_BD in batch.embeddings(*self.clips)]
            self.queue.enqueue(torch.cat(projections, dim=1), batch.video_id_B)

    def _score(self, x_BD: Tensor) -> Tensor:
        score_BK: Tensor = self.prototypes(self.projector(x_BD))
        return score_BK

    @torch.no_grad()
    def _assign_codes(self, score_GBK: Tensor) -> Tensor:
        """Return each whole clip's code; a full queue takes part in the assignment."""
        num_clips = score_GBK.shape[1]
        if self.queue is not None and len(self.queue) == self.queue_size:
            queued_GFD = torch.stack(self.queue.row_FD.chunk(len(score_GBK), dim=1))
            score_GBK = torch.cat([score_GBK, self.prototypes(queued_GFD)], dim=1)
        codes = [sinkhorn(score_NK, self.epsilon, SINKHORN_ITERATIONS) for score_NK in score_GBK]
        return torch.stack(codes)[:, :num_clips]
