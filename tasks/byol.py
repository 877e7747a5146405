"""BYOL: predict the momentum encoder's projection of one view from the student's of another view.

Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020.

On every stream.

Should learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.regression import negative_cosine
from evossl.models.heads.mlp import mlp, prediction_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import Rho, momentum_views, strong_clips
from evossl.views.spec import View

MAX_PROJECTION_DIM = 256


class BYOL(Task):
    """The squared distance |prediction - target|^2 on the unit sphere, averaged over view pairs.

    The momentum encoder and `target_projector` are exponential moving averages of the encoder and
    `projector`; they give the targets and receive no gradient. There are no negatives. The paper's
    heads have 4096 hidden and 256 projected features for embeddings of width 2048; here the hidden
    width is in the same proportion to the encoder's.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 means two views of one clip. More than 2 is rho-BYOL
            (Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised
            Spatiotemporal Representation Learning, CVPR 2021).
    """

    places = each(*Stream)

    def __init__(self, place: Place, rho: Rho = 2) -> None:
        super().__init__(place)
        self.student_views = strong_clips(place.stream, rho)
        self.target_views = momentum_views(self.student_views)
        hidden_dim, dim = 2 * place.width, min(MAX_PROJECTION_DIM, place.width)
        self.projector = mlp([place.width, hidden_dim, dim])
        self.predictor = prediction_head(dim, hidden_dim)
        self.target_projector = self.momentum(self.projector)

    def views(self) -> dict[str, View]:
        return self.student_views | self.target_views

    def loss(self, batch: TaskBatch) -> Tensor:
        student = batch.embeddings(*self.student_views)
        prediction_VBD = torch.stack([self.predictor(self.projector(x_BD)) for x_BD in student])
        with torch.no_grad():
            target = batch.embeddings(*self.target_views)
            target_VBD = torch.stack([self.target_projector(x_BD) for x_BD in target])
        return 2 + 2 * negative_cosine(prediction_VBD, target_VBD)  # |p - z|^2 = 2 - 2 cos(p, z)
