"""A head that classifies the order in which the pieces of a puzzle appear.

Shapes: B clip, N piece, D embedding, P order.
"""

from torch import Tensor, nn

from evossl.losses.classification import cross_entropy
from evossl.models.heads.mlp import mlp
from evossl.views.spec import Applied, Cells

PROJECTION_DIM = 128  # per piece: wide embeddings side by side would need millions of weights


class PermutationHead(nn.Module):
    """A projection shared by all pieces, then an MLP on the concatenated projections.

    Args:
        width: D.
        cells: the puzzle.
    """

    def __init__(self, width: int, cells: Cells) -> None:
        super().__init__()
        self.projector = nn.Linear(width, PROJECTION_DIM)
        hidden_dim = 4 * PROJECTION_DIM
        self.classifier = mlp([cells.count * PROJECTION_DIM, hidden_dim, cells.num_orders])

    def forward(self, embedding_BND: Tensor) -> Tensor:
        """Return the logits of the orders, (B, P)."""
        logit_BP: Tensor = self.classifier(self.projector(embedding_BND).flatten(1))
        return logit_BP

    def loss(self, embedding_BND: Tensor, applied: Applied) -> Tensor:
        """Return the cross entropy, in nats, with the orders recorded in `applied`."""
        assert applied.order_B is not None, "the view of a puzzle has an order"
        return cross_entropy(self(embedding_BND), applied.order_B)
