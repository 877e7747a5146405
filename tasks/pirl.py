"""PIRL: a clip, and its space-time patches in any order, are found in a memory of videos.

Misra, van der Maaten, Self-Supervised Learning of Pretext-Invariant Representations, CVPR 2020, for
jigsaws of images; here of clips, as Kim, Cho, Kweon, Self-Supervised Video Representation Learning
with Space-Time Cubic Puzzles, AAAI 2019, cut them. InfoNCE in place of the binary form of NCE.

On RGB, grayscale and flow: sound has no patches.

Shapes: B clip, N patch, M key, F video in the bank, D embedding, P projection.

Should learn: motion.
"""

import torch
from torch import Tensor, nn

from evossl.io.task_options import Count, Positive
from evossl.losses.contrastive import info_nce
from evossl.models.heads.memory_bank import Bank
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import STRONG, Cells, View

PROJECTED = 128
PATCHES = Cells(times=2, rows=2, columns=2)


class PIRL(Task):
    """The patches, and the clip, each look for their video's row in the bank among all others.

    A video that the bank does not know yet has the projection of its clip for a row.

    Args:
        place: one stream.
        temperature: of the cosines.
        bank: the most videos it holds.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, temperature: Positive = 0.07, bank: Count = 16384) -> None:
        super().__init__(place)
        self.temperature = temperature
        self.project = nn.Linear(place.width, PROJECTED)
        self.project_patch = nn.Linear(place.width, PROJECTED)
        self.join = nn.Linear(PATCHES.count * PROJECTED, PROJECTED)
        self.bank = Bank(bank, PROJECTED)

    def views(self) -> dict[str, View]:
        stream = self.place.stream
        return {
            "clip": View(stream, space=STRONG),
            "patches": View(stream, space=STRONG, draw=1, cells=PATCHES),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        clip_BP = self.project(seen["clip"].embedding_BD)
        patches_BP = self.join(self.project_patch(seen["patches"].embedding_BD).flatten(1))
        key_MP, video_id_M = self._keys(clip_BP.detach(), seen.video_id_B)
        losses = [
            info_nce(query_BP, key_MP, seen.video_id_B, video_id_M, self.temperature)
            for query_BP in (patches_BP, clip_BP)
        ]
        return torch.stack(losses).mean()

    def after_step(self, seen: TaskBatch) -> None:
        self.bank.update(self.project(seen["clip"].embedding_BD), seen.video_id_B)

    def _keys(self, clip_BP: Tensor, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of the batch's videos, then those of all others, and whose they are."""
        row_BP, known_B = self.bank.read(video_id_B)
        own_BP = torch.where(known_B[:, None], row_BP, clip_BP)
        other_F = ~torch.isin(self.bank.video_id_F, video_id_B)
        rows = torch.cat([own_BP, self.bank.row_FD[other_F]])
        return rows, torch.cat([video_id_B, self.bank.video_id_F[other_F]])
