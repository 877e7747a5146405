"""BYOL: predict the momentum encoder's projection of one view from the student's of another view.

Grill et al., Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020.

On every stream (RGB, grayscale, flow, audio). Shapes: V view, B clip, D projection.

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.regression import cross_view_negative_cosine
from evossl.models.heads.mlp import mlp, prediction_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import Rho, momentum_views, strong_clips
from evossl.views.spec import View

MAX_PROJECTION_DIM = 256


class BYOL(Task):
    """Mean of |prediction(v) - target(w)|^2 between unit vectors, over all pairs of views v != w.

    `strong_clips` are strongly augmented clips of one video. The student (the encoder that is
    trained) and the momentum encoder (its exponential moving average, kept by the trainer) both see
    all of them. Predictions come from student -> projector -> predictor. Targets come from momentum
    encoder -> `target_projector`, the moving average of `projector`, and receive no gradient. There
    are no negatives.

    The paper's heads have a hidden width of twice the embedding's (4096 for 2048) and project to
    256; so have ours, except that the projection is never wider than the embedding. Hidden layers
    have BatchNorm and ReLU, as in the paper. The paper adds the two directions of a pair; we take
    the mean.

    Args:
        place: one stream.
        rho: clips per video, 1 to 4. With 1, the two views are crops of one clip; with 2 or more,
            each view is a clip of its own, from another time if the space ignores `time`. More
            than 1 is called rho-BYOL by Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale
            Study on Unsupervised Spatiotemporal Representation Learning, CVPR 2021.
    """

    places = each(*Stream)

    def __init__(self, place: Place, rho: Rho = 2) -> None:
        super().__init__(place)
        self.student_views = strong_clips(place.stream, rho)
        self.target_views = momentum_views(self.student_views)
        hidden_dim, dim = 2 * place.width, min(MAX_PROJECTION_DIM, place.width)
        self.projector = mlp([place.width, hidden_dim, dim])
        self.predictor = prediction_head(dim, hidden_dim)
        self.target_projector = self.momentum(self.projector)  # follows by moving average

    def views(self) -> dict[str, View]:
        return self.student_views | self.target_views

    def loss(self, batch: TaskBatch) -> Tensor:
        student = batch.embeddings(*self.student_views)
        prediction_VBD = torch.stack([self.predictor(self.projector(x)) for x in student])
        with torch.no_grad():
            momentum = batch.embeddings(*self.target_views)
            target_VBD = torch.stack([self.target_projector(x) for x in momentum])
        # |p - z|^2 = 2 - 2 cos(p, z) for unit vectors
        return 2 + 2 * cross_view_negative_cosine(prediction_VBD, target_VBD)
