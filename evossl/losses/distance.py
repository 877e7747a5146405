"""Distances between embeddings, with gradients that stay finite where embeddings coincide.

Shapes: N and M embeddings, D embedding.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision

MIN_NORM = 1e-4  # shorter vectors are not scaled up to unit length, which bounds the gradient
SQUARED_DISTANCE_FLOOR = 1e-12  # the slope of the square root is infinite at 0


def l2_normalise(x_ND: Tensor) -> Tensor:
    """Return the rows scaled to unit length; rows shorter than `MIN_NORM` become shorter than 1."""
    return F.normalize(x_ND, dim=-1, eps=MIN_NORM)


def pairwise_distances(x_ND: Tensor, y_MD: Tensor) -> Tensor:
    """Return the (N, M) Euclidean distances, at least 1e-6."""
    return (pairwise_squared_distances(x_ND, y_MD) + SQUARED_DISTANCE_FLOOR).sqrt()


def pairwise_squared_distances(x_ND: Tensor, y_MD: Tensor) -> Tensor:
    """Return the (N, M) squared Euclidean distances."""
    return (x_ND.unsqueeze(1) - y_MD.unsqueeze(0)).square().sum(dim=-1)


@full_precision
def mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over all elements of (prediction - target)^2.

    Args:
        prediction: any shape; gradient flows.
        target: the same shape, no broadcasting; gradient flows unless the caller detaches it.
    """
    assert prediction.shape == target.shape, (prediction.shape, target.shape)
    return (prediction - target).square().mean()
