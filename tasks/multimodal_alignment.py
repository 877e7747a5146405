"""Multimodal alignment: are two streams of one video in step in time, or not?

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Owens, Efros, Audio-Visual Scene Analysis with Self-Supervised Multisensory
Features, ECCV 2018; the negatives are of the same video, as there.

On every pair but RGB and grayscale: these are in step where their pixels are equal.

Should learn: motion.
"""

import torch
from torch import Tensor

from evossl.losses.classification import binary_cross_entropy
from evossl.models.heads.mlp import mlp
from evossl.task import Place, Task, TaskBatch, pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, Time, View


class MultimodalAlignment(Task):
    """One answer to both embeddings: yes is in step; half of the second stream's are shifted."""

    places = tuple(s for s in pairs(*Stream) if s.streams != (Stream.RGB, Stream.GRAY))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        width = sum(place.shapes[stream].width for stream in place.streams)
        self.head = mlp([width, place.width, 1])

    def views(self) -> dict[str, View]:
        first, second = self.place.streams
        return {
            "first": View(first, space=WEAK),
            "second": View(second, time=Time(shift=0.5), space=WEAK),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        both = torch.cat([seen["first"].embedding_BD, seen["second"].embedding_BD], dim=-1)
        return binary_cross_entropy(self.head(both).squeeze(-1), ~seen["second"].applied.shifted_B)
