"""Memories of embeddings that outlast a batch: a queue (MoCo, NNCLR) and a bank by video (PIRL).

Registered buffers: a checkpoint holds them exactly. Rows know their video, so that no clip is taken
for a negative or for a neighbour of its own video, however small the data set.

Shapes: N row, K capacity, F filled row, B clip, U distinct video, D embedding.
"""

import torch
from torch import Tensor, nn

from evossl.losses.distance import unit

NOBODY = -1  # video of a row that is not filled


class Queue(nn.Module):
    """The newest rows: first in, first out; of a batch that it holds in part, the last ones.

    He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning,
    CVPR 2020, section 3.2.

    Args:
        size: K, the most rows it holds.
        width: D.

    Raises:
        ValueError: a size under 1.
    """

    row_KD: Tensor
    video_id_K: Tensor
    pushed: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a memory holds at least 1 row, got {size}")
        self.register_buffer("row_KD", torch.zeros(size, width))
        self.register_buffer("video_id_K", torch.full((size,), NOBODY))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """Return F, how many rows are filled."""
        return min(int(self.pushed), len(self.row_KD))

    @property
    def row_FD(self) -> Tensor:
        """The filled rows, in no order that means anything."""
        return self.row_KD[: len(self)]

    @property
    def video_id_F(self) -> Tensor:
        """Whose they are."""
        return self.video_id_K[: len(self)]

    @torch.no_grad()
    def push(self, row_ND: Tensor, video_id_N: Tensor) -> None:
        """Put rows in place of the oldest; of more rows than fit, the last stay."""
        size = len(self.row_KD)
        row_ND, video_id_N = row_ND[-size:], video_id_N[-size:]
        slot_N = (self.pushed + torch.arange(len(row_ND), device=row_ND.device)) % size
        self.row_KD[slot_N] = row_ND.to(self.row_KD.dtype)
        self.video_id_K[slot_N] = video_id_N
        self.pushed += len(row_ND)

    def behind(self, row_BD: Tensor, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch's rows with the filled ones behind them (B + F, D), and whose they are."""
        return torch.cat([row_BD, self.row_FD]), torch.cat([video_id_B, self.video_id_F])

    @torch.no_grad()
    def nearest(self, row_BD: Tensor, video_id_B: Tensor) -> Tensor:
        """Return the rows of other videos with the largest cosine, (B, D), without gradient.

        An embedding for which there is none is its own neighbour.
        """
        unfit_BK = (self.video_id_K == NOBODY) | (video_id_B[:, None] == self.video_id_K)
        cosine_BK = unit(row_BD) @ unit(self.row_KD).T
        nearest_B = cosine_BK.masked_fill(unfit_BK, float("-inf")).argmax(dim=1)
        return torch.where(unfit_BK.all(dim=1, keepdim=True), row_BD, self.row_KD[nearest_B])


class Bank(nn.Module):
    """A running mean on the unit sphere for each of the newest videos.

    Wu, Xiong, Yu, Lin, Unsupervised Feature Learning via Non-Parametric Instance Discrimination,
    CVPR 2018, section 3.3; bounded, so that a million videos cost no more than `size` rows: the
    video that came first makes room.

    Args:
        size: K, the most videos it holds.
        width: D.
        keep: share of a row that stays when its video is seen again, in [0, 1].

    Raises:
        ValueError: a size under 1, a share outside [0, 1].
    """

    def __init__(self, size: int, width: int, keep: float = 0.5) -> None:
        super().__init__()
        if not 0 <= keep <= 1:
            raise ValueError(f"the share of a row that is kept lies in [0, 1], got {keep}")
        self.keep = keep
        self.queue = Queue(size, width)

    def __len__(self) -> int:
        """Return F, how many videos it holds."""
        return len(self.queue)

    @property
    def row_FD(self) -> Tensor:
        """The rows, of unit length."""
        return self.queue.row_FD

    @property
    def video_id_F(self) -> Tensor:
        """Whose they are, each once."""
        return self.queue.video_id_F

    def read(self, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the videos' rows (B, D), and which are known (B): others mean nothing."""
        slot_B, known_B = self._slots(video_id_B)
        return self.queue.row_KD[slot_B], known_B

    @torch.no_grad()
    def update(self, row_BD: Tensor, video_id_B: Tensor) -> None:
        """Move the rows of known videos, add those of new ones; clips of one video are averaged."""
        video_id_U, index_B = torch.unique(video_id_B, return_inverse=True)
        sum_UD = row_BD.new_zeros(len(video_id_U), row_BD.shape[1])
        new_UD = unit(sum_UD.index_add(0, index_B, unit(row_BD)))
        slot_U, known_U = self._slots(video_id_U)
        moved_UD = unit(torch.lerp(new_UD, self.queue.row_KD[slot_U], self.keep))
        self.queue.row_KD[slot_U[known_U]] = moved_UD[known_U]
        self.queue.push(new_UD[~known_U], video_id_U[~known_U])

    def _slots(self, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        same_BK = video_id_B[:, None] == self.queue.video_id_K
        return same_BK.int().argmax(dim=1), same_BK.any(dim=1)
