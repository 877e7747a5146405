"""The input of a fitness: features of several views of the held-out clips.

Shapes: N clip, D feature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScoringFeatures:
    """One encoder's features of the same N held-out clips; row n is clip n in every set.

    Attributes:
        clean_ND: float32 on the CPU, of the clean view (nothing random).
        first_ND: of a random view, augmented as the space's `ignores` asks.
        second_ND: of a second, independent one.
        shuffled_ND: of the clean clips with their frames shuffled; None if not computed.
        labels_N: int64, -1 for an unknown label; only the fitness `labels` needs them.
    """

    clean_ND: Tensor
    first_ND: Tensor
    second_ND: Tensor
    shuffled_ND: Tensor | None = None
    labels_N: Tensor | None = None

    def __post_init__(self) -> None:
        assert self.clean_ND.ndim == 2
        for name, x_ND in self.named():
            assert x_ND.shape == self.clean_ND.shape, f"{name}: {tuple(x_ND.shape)}"
            assert x_ND.dtype == torch.float32, f"{name}: {x_ND.dtype}"
        assert self.labels_N is None or self.labels_N.shape == self.clean_ND.shape[:1]

    def __len__(self) -> int:
        return len(self.clean_ND)

    def named(self) -> list[tuple[str, Tensor]]:
        """Return (description, x_ND) of each set of features."""
        sets = [
            ("clean clips", self.clean_ND),
            ("first view", self.first_ND),
            ("second view", self.second_ND),
        ]
        return sets if self.shuffled_ND is None else [*sets, ("shuffled", self.shuffled_ND)]

    def select(self, index_M: Tensor) -> "ScoringFeatures":
        """Return the features of the clips that `index_M` (int64 or bool) selects."""

        def rows(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[index_M]

        return ScoringFeatures(
            self.clean_ND[index_M],
            self.first_ND[index_M],
            self.second_ND[index_M],
            rows(self.shuffled_ND),
            rows(self.labels_N),
        )
