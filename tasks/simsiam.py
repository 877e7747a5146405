"""SimSiam: each of two views is predicted from the other; the gradient stops at what is predicted.

Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021.

On every stream.

Should learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.regression import negative_cosine
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

BOTTLENECK = 4  # the predictor's hidden layer is this much narrower


class SimSiam(Task):
    """One encoder and projector for both draws, no moving average, no negatives."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        width = place.width
        self.project = mlp([width, width, width, width], last_norm=True)
        self.predict = mlp([width, width // BOTTLENECK, width])

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, seen: TaskBatch) -> Tensor:
        projected = [self.project(x_BD) for x_BD in seen.embeddings("0", "1")]
        predicted = [self.predict(x_BD) for x_BD in projected]
        return negative_cosine(torch.stack(predicted), torch.stack(projected))
