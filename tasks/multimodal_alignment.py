"""Multimodal alignment: classify whether two streams of one video are synchronised.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Owens, Efros, Audio-Visual Scene Analysis with Self-Supervised Multisensory
Features, ECCV 2018; as there, negatives are shifted in time within the same video.

On every pair except RGB and grayscale, where comparing pixels would give the answer.

Expected to learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.classification import binary_cross_entropy
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View


class MultimodalAlignment(Task):
    """A classifier of both embeddings; in half of the clips the second stream is shifted."""

    places = tuple(p for p in pairs(*Stream) if p.streams != (Stream.RGB, Stream.GRAY))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        both_widths = sum(place.shapes[stream].width for stream in place.streams)
        self.classifier = mlp([both_widths, place.width, 1])

    def views(self) -> dict[str, View]:
        first, second = self.place.streams
        return {
            "first": View(first, space=WEAK),
            "second": View(second, time=Time(shift=0.5), space=WEAK),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        both_BD = torch.cat(batch.embeddings("first", "second"), dim=-1)
        is_synchronised_B = ~batch["second"].applied.shifted_B
        return binary_cross_entropy(self.classifier(both_BD).squeeze(-1), is_synchronised_B)
