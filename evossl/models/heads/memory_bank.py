"""Embeddings stored across batches: a FIFO queue (MoCo, NNCLR, SwAV) and a memory bank (PIRL).

Both are registered buffers, so a checkpoint stores them exactly. Each row records its video, so
that no clip becomes a negative or a nearest neighbour of its own video, however small the dataset.

Shapes: N row, K capacity, F filled row, B clip, U distinct video, D embedding.
"""

import torch
from torch import Tensor, nn

from evossl.losses.distance import l2_normalise

NO_VIDEO = -1  # video id of an empty row


class EmbeddingQueue(nn.Module):
    """A first-in, first-out queue of the newest embeddings.

    He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual Representation Learning,
    CVPR 2020, section 3.2.

    Args:
        size: K, the largest number of rows.
        width: D.

    Raises:
        ValueError: the size is less than 1.
    """

    row_KD: Tensor
    video_id_K: Tensor
    num_enqueued: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a queue or memory bank needs at least 1 row, got {size}")
        self.register_buffer("row_KD", torch.zeros(size, width))
        self.register_buffer("video_id_K", torch.full((size,), NO_VIDEO))
        self.register_buffer("num_enqueued", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """Return F, the number of filled rows."""
        return min(int(self.num_enqueued), len(self.row_KD))

    @property
    def row_FD(self) -> Tensor:
        """The filled rows, in no particular order."""
        return self.row_KD[: len(self)]

    @property
    def video_id_F(self) -> Tensor:
        """The video of each filled row."""
        return self.video_id_K[: len(self)]

    @torch.no_grad()
    def enqueue(self, row_ND: Tensor, video_id_N: Tensor) -> None:
        """Replace the oldest rows; of more rows than fit, the last ones are stored."""
        size = len(self.row_KD)
        row_ND, video_id_N = row_ND[-size:], video_id_N[-size:]
        index_N = torch.arange(len(row_ND), device=row_ND.device)
        index_N = (self.num_enqueued + index_N) % size
        self.row_KD[index_N] = row_ND.to(self.row_KD.dtype)
        self.video_id_K[index_N] = video_id_N
        self.num_enqueued += len(row_ND)

    @torch.no_grad()
    def nearest_neighbours(self, row_BD: Tensor, video_id_B: Tensor) -> Tensor:
        """Return the rows of other videos with the largest cosine, (B, D), without gradient.

        An embedding for which the queue has no row of another video is its own neighbour.
        """
        excluded_BK = (self.video_id_K == NO_VIDEO) | (video_id_B[:, None] == self.video_id_K)
        cosine_BK = l2_normalise(row_BD) @ l2_normalise(self.row_KD).T
        nearest_B = cosine_BK.masked_fill(excluded_BK, float("-inf")).argmax(dim=1)
        return torch.where(excluded_BK.all(dim=1, keepdim=True), row_BD, self.row_KD[nearest_B])


class MemoryBank(nn.Module):
    """A running mean on the unit sphere for each of the newest videos.

    Wu, Xiong, Yu, Lin, Unsupervised Feature Learning via Non-Parametric Instance Discrimination,
    CVPR 2018, section 3.3. The bank is bounded, so that a million videos need no more than `size`
    rows; a new video replaces the one that was added first.

    Args:
        size: K, the largest number of videos.
        width: D.
        momentum: weight of the old row when its video appears again, in [0, 1].

    Raises:
        ValueError: the size is less than 1, or the momentum is outside [0, 1].
    """

    def __init__(self, size: int, width: int, momentum: float = 0.5) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"the momentum of a memory bank must be in [0, 1], got {momentum}")
        self.momentum = momentum
        self.queue = EmbeddingQueue(size, width)

    def __len__(self) -> int:
        """Return F, the number of videos stored."""
        return len(self.queue)

    @property
    def row_FD(self) -> Tensor:
        """The rows, of unit length."""
        return self.queue.row_FD

    @property
    def video_id_F(self) -> Tensor:
        """The video of each row; each video occurs once."""
        return self.queue.video_id_F

    def read(self, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the videos' rows (B, D) and which of the videos are stored (B, bool).

        The rows of videos that are not stored have arbitrary values.
        """
        index_B, stored_B = self._find(video_id_B)
        return self.queue.row_KD[index_B], stored_B

    @torch.no_grad()
    def update(self, row_BD: Tensor, video_id_B: Tensor) -> None:
        """Update stored videos and add new ones; clips of one video are averaged first."""
        video_id_U, index_B = torch.unique(video_id_B, return_inverse=True)
        sum_UD = row_BD.new_zeros(len(video_id_U), row_BD.shape[1])
        new_UD = l2_normalise(sum_UD.index_add(0, index_B, l2_normalise(row_BD)))
        index_U, stored_U = self._find(video_id_U)
        moved_UD = l2_normalise(torch.lerp(new_UD, self.queue.row_KD[index_U], self.momentum))
        self.queue.row_KD[index_U[stored_U]] = moved_UD[stored_U]
        self.queue.enqueue(new_UD[~stored_U], video_id_U[~stored_U])

    def _find(self, video_id_B: Tensor) -> tuple[Tensor, Tensor]:
        """The row index of each video, and whether it is stored at all."""
        same_BK = video_id_B[:, None] == self.queue.video_id_K
        return same_BK.int().argmax(dim=1), same_BK.any(dim=1)
