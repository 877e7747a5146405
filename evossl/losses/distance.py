"""Distances between embeddings, whose gradients stay finite where embeddings coincide.

Shapes: N, M embeddings, D embedding.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision

SHORTEST = 1e-4  # vectors shorter than this are not stretched to unit length: bounds the gradient
SQUARED_DISTANCE_FLOOR = 1e-12  # the square root's slope is infinite at 0


def unit(x_ND: Tensor) -> Tensor:
    """Return the rows at unit length; rows shorter than `SHORTEST` stay inside the unit sphere."""
    return F.normalize(x_ND, dim=-1, eps=SHORTEST)


def distances(x_ND: Tensor, y_MD: Tensor) -> Tensor:
    """Return the (N, M) Euclidean distances, at least 1e-6."""
    return (squared_distances(x_ND, y_MD) + SQUARED_DISTANCE_FLOOR).sqrt()


def squared_distances(x_ND: Tensor, y_MD: Tensor) -> Tensor:
    """Return the (N, M) squared Euclidean distances."""
    return (x_ND.unsqueeze(1) - y_MD.unsqueeze(0)).square().sum(dim=-1)


@full_precision
def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over all elements of (prediction - target)^2: the L2 loss a value.

    Args:
        prediction: any shape; gradient flows.
        target: the same shape, no broadcasting; gradient flows unless the caller detaches it.
    """
    assert prediction.shape == target.shape, (prediction.shape, target.shape)
    return (prediction - target).square().mean()
