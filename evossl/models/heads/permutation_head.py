"""A head that is asked in which order the pieces of a puzzle came.

Shapes: B clip, N piece, D embedding, P order.
"""

from torch import Tensor, nn

from evossl.losses.classification import cross_entropy
from evossl.models.heads.mlp import mlp
from evossl.views.spec import Applied, Cells

PROJECTED = 128  # of each piece: the pieces side by side, of a wide encoder, would be millions


class Arranger(nn.Module):
    """Each piece is projected by the same layer; a hidden layer compares them all.

    Args:
        width: D.
        cells: the puzzle.
    """

    def __init__(self, width: int, cells: Cells) -> None:
        super().__init__()
        self.project = nn.Linear(width, PROJECTED)
        self.compare = mlp([cells.count * PROJECTED, 4 * PROJECTED, cells.num_orders])

    def forward(self, embedding_BND: Tensor) -> Tensor:
        """Return the log-odds of the orders, (B, P)."""
        logit_BP: Tensor = self.compare(self.project(embedding_BND).flatten(1))
        return logit_BP

    def loss(self, embedding_BND: Tensor, applied: Applied) -> Tensor:
        """Return the cross entropy, in nats, of the orders that `applied` tells."""
        assert applied.order_B is not None, "the view of a puzzle has an order"
        return cross_entropy(self(embedding_BND), applied.order_B)
