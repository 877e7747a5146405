"""SimCLR: identify the other strong view of a clip among the views of all other clips.

Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual
Representations, ICML 2020. For video: Qian et al., Spatiotemporal Contrastive Video Representation
Learning, CVPR 2021, whose temperature of 0.1 is the default.

On every stream (RGB, grayscale, flow, audio).

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.io.task_options import PositiveFloat
from evossl.losses.contrastive import multi_view_nt_xent
from evossl.models.heads.mlp import HiddenLayers, projection_head
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import Rho, strong_clips
from evossl.views.spec import View

PROJECTION_DIM = 128


class SimCLR(Task):
    """NT-Xent on the projections of a video's clips, averaged over all ordered pairs of clips.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 means two views of one clip. More than 2 is rho-SimCLR
            (Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised
            Spatiotemporal Representation Learning, CVPR 2021), which has 2 hidden layers.
        hidden_layers: hidden layers of the projection head.
        temperature: divides the cosines.
    """

    places = each(*Stream)

    def __init__(
        self,
        place: Place,
        rho: Rho = 2,
        hidden_layers: HiddenLayers = 1,
        temperature: PositiveFloat = 0.1,
    ) -> None:
        super().__init__(place)
        self.temperature = temperature
        self.clips = strong_clips(place.stream, rho)
        self.projector = projection_head(place.width, PROJECTION_DIM, hidden_layers)

    def views(self) -> dict[str, View]:
        return self.clips

    def loss(self, batch: TaskBatch) -> Tensor:
        projection_VBD = torch.stack([self.projector(x) for x in batch.embeddings(*self.clips)])
        return multi_view_nt_xent(projection_VBD, self.temperature)
