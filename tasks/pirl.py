"""PIRL: identify a clip, and its shuffled space-time patches, in a memory bank of videos.

Misra, van der Maaten, Self-Supervised Learning of Pretext-Invariant Representations, CVPR 2020, for
jigsaws of images; here for clips, cut as in Kim, Cho, Kweon, Self-Supervised Video Representation
Learning with Space-Time Cubic Puzzles, AAAI 2019. InfoNCE replaces the binary form of NCE.

On RGB, grayscale and flow; audio has no patches.

Shapes: B clip, M key, F video in the bank, P projection.

Expected to learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import PositiveCount, PositiveFloat
from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import MemoryBank
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Cells, View

PROJECTION_DIM = 128
PATCHES = Cells(times=2, rows=2, columns=2)


class PIRL(Task):
    """InfoNCE of the patches, and of the clip, with their video's row in the bank as positive.

    The negatives are the rows of all other videos. For a video that is not in the bank yet, the
    projection of its clip replaces the row.

    Args:
        place: one stream.
        temperature: divides the cosines.
        bank_size: number of videos in the memory bank.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self,
        place: Place,
        temperature: PositiveFloat = 0.07,
        bank_size: PositiveCount = 16384,
    ) -> None:
        super().__init__(place)
        self.temperature = temperature
        self.projector = nn.Linear(place.width, PROJECTION_DIM)
        self.patch_projector = nn.Linear(place.width, PROJECTION_DIM)
        self.patch_merger = nn.Linear(PATCHES.count * PROJECTION_DIM, PROJECTION_DIM)
        self.bank = MemoryBank(bank_size, PROJECTION_DIM)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        return {
            "clip": View(stream, space=STRONG),
            "patches": View(stream, space=STRONG, draw=1, cells=PATCHES),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        clip_BP = self.projector(batch["clip"].embedding_BD)
        projected_patches = self.patch_projector(batch["patches"].embedding_BD)
        patches_BP = self.patch_merger(projected_patches.flatten(1))
        key_MP, video_id_M = self._keys(clip_BP.detach(), batch.video_id_B)
        losses = [
            info_nce(query_BP, key_MP, batch.video_id_B, video_id_M, self.temperature)
            for query_BP in (patches_BP, clip_BP)
        ]
        return torch.stack(losses).mean()

    def after_step(self, batch: TaskBatch) -> None:
        self.bank.update(self.projector(batch["clip"].embedding_BD), batch.video_id_B)

    def _keys(self, clip_BP: Tensor, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the batch's videos, then those of all others, and their videos."""
        row_BP, stored_B = self.bank.read(video_id_B)
        positive_BP = torch.where(stored_B[:, None], row_BP, clip_BP)
        other_F = ~torch.isin(self.bank.video_id_F, video_id_B)
        key_MP = torch.cat([positive_BP, self.bank.row_FD[other_F]])
        return key_MP, torch.cat([video_id_B, self.bank.video_id_F[other_F]])
