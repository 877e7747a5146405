"""SwAV's and rho-SwAV's head: a projector and prototypes; views predict each other's clusters.

Shapes: B clip, F queued clip, D embedding, N piece, P projection, K prototype, V view, G whole
view, which gives codes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evossl.losses.clustering import all_others, cross_view, sinkhorn
from evossl.models.heads.memory_bank import Queue
from evossl.models.heads.mlp import mlp
from evossl.models.heads.prototypes import Prototypes, scores_by_view

PROJECTED = 128
TEMPERATURE = 0.1  # of the predictions' cosines
ITERATIONS = 3


class SwappedPrediction(nn.Module):
    """Projections, their cosines with the prototypes, and the loss of swapped prediction.

    Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by
    Contrasting Cluster Assignments, NeurIPS 2020.

    Args:
        width: D.
        whole: G, how many views are whole.
        prototypes: K.
        epsilon: smoothness of the codes.
        queue: clips of the last batches that share the clusters with this one's: with fewer clips
            in a batch than prototypes most clusters would else go to nobody. They do once there are
            so many of them; 0 is none.
    """

    def __init__(self, width: int, whole: int, prototypes: int, epsilon: float, queue: int) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.project = mlp([width, width, PROJECTED])
        self.prototypes = Prototypes(PROJECTED, prototypes)
        self.queue_size = queue
        self.queue = Queue(queue, whole * PROJECTED) if queue else None

    def loss(self, whole: Sequence[Tensor], local: Sequence[Tensor] = ()) -> Tensor:
        """Return the loss.

        Args:
            whole: (B, D) each: their codes are predicted by all other views. At least 2.
            local: (B, N, D) each, of N pieces: they predict and are not predicted.
        """
        score_VBK = scores_by_view(self._scores, [*whole, *local])
        code_GBK = self._codes(score_VBK[: len(whole)])
        matched_GV = all_others(len(code_GBK), len(score_VBK))
        return cross_view(score_VBK / TEMPERATURE, code_GBK, matched_GV)

    def remember(self, whole: Sequence[Tensor], video_id_B: Tensor) -> None:
        """Put the projections of the whole views into the queue, if there is one."""
        if self.queue is not None:
            self.queue.push(torch.cat([self.project(x_BD) for x_BD in whole], 1), video_id_B)

    def _scores(self, x_BD: Tensor) -> Tensor:
        score_BK: Tensor = self.prototypes(self.project(x_BD))
        return score_BK

    @torch.no_grad()
    def _codes(self, score_GBK: Tensor) -> Tensor:
        """Return the clusters that each whole view's clips get, those queued of it among them."""
        num_clips = score_GBK.shape[1]
        if self.queue is not None and len(self.queue) == self.queue_size:
            row_GFP = torch.stack(self.queue.row_FD.chunk(len(score_GBK), dim=1))
            score_GBK = torch.cat([score_GBK, self.prototypes(row_GFP)], dim=1)
        codes = [sinkhorn(score_NK, self.epsilon, ITERATIONS) for score_NK in score_GBK]
        return torch.stack(codes)[:, :num_clips]
