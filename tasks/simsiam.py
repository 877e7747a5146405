"""SimSiam: predict the projection of one view from the other; no gradient reaches the target.

Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.regression import cross_view_negative_cosine
from evossl.models.heads.mlp import prediction_head, projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import View

BOTTLENECK_FACTOR = 4  # the predictor's hidden layer is narrower by this factor


class SimSiam(Task):
    """Both views share one encoder and projector; no momentum encoder and no negatives."""

    places = each(*Stream)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        width = place.width
        self.projector = projection_head(width, width, hidden_layers=2, last_norm=True)
        self.predictor = prediction_head(width, width // BOTTLENECK_FACTOR)

    def views(self) -> dict[str, View]:
        return strong_clips(self.place.stream, rho=2)

    def loss(self, batch: TaskBatch) -> Tensor:
        projections = [self.projector(x_BD) for x_BD in batch.embeddings("0", "1")]
        predictions = [self.predictor(x_BD) for x_BD in projections]
        return cross_view_negative_cosine(torch.stack(predictions), torch.stack(projections))
