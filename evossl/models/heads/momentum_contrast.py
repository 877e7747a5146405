"""Heads of MoCo and, over more clips, of rho-MoCo.

Shapes: B clip, M key, D embedding.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import Queue
from evossl.models.heads.mlp import mlp

PROJECTED = 128


class MomentumContrast(nn.Module):
    """A projector without BatchNorm, its moving average, and a queue of what that has given.

    Chen, Fan, Girshick, He, Improved Baselines with Momentum Contrastive Learning, 2020. A query's
    negatives are the queue's keys and those of the batch, which join it after the step: a queue
    that is still empty teaches too. Keys of the query's own video are none.

    Attributes:
        target: follows `project`; the task sets it, by `Task.momentum`.

    Args:
        width: D of the embeddings.
        hidden: layers between the embedding and the projection.
        queue: the most keys it holds.
        temperature: of the cosines.
    """

    target: nn.Module

    def __init__(self, width: int, hidden: int, queue: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.project = mlp([width, *[width] * hidden, PROJECTED], norm=False)
        self.queue = Queue(queue, PROJECTED)

    def loss(
        self, student: Mapping[str, Tensor], slow: Mapping[str, Tensor], video_id_B: Tensor
    ) -> Tensor:
        """Return InfoNCE averaged over pairs of (query, key) of different views.

        Args:
            student: embeddings (B, D) of the views that ask, by name.
            slow: the momentum encoder's of the views that answer, by name.
            video_id_B: whose clips they are.
        """
        queries = {name: self.project(x_BD) for name, x_BD in student.items()}
        losses = []
        for answers, key_BD in self._keys(slow).items():
            key_MD, video_id_M = self.queue.behind(key_BD, video_id_B)
            losses += [
                info_nce(query_BD, key_MD, video_id_B, video_id_M, self.temperature)
                for asks, query_BD in queries.items()
                if asks != answers
            ]
        return torch.stack(losses).mean()

    def update(self, slow: Mapping[str, Tensor], video_id_B: Tensor) -> None:
        """Put the keys of all views into the queue."""
        for key_BD in self._keys(slow).values():
            self.queue.push(key_BD, video_id_B)

    @torch.no_grad()
    def _keys(self, slow: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.target(x_BD) for name, x_BD in slow.items()}
