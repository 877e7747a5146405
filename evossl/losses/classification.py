"""Classification losses for pretext tasks with binary or multi-class labels.

Shapes: B clip, K class.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision


@full_precision
def binary_cross_entropy(logit_B: Tensor, label_B: Tensor) -> Tensor:
    """Return the mean binary cross entropy, in nats.

    Args:
        logit_B: log-odds of the positive class.
        label_B: bool, True for the positive class.
    """
    return F.binary_cross_entropy_with_logits(logit_B, label_B.to(logit_B.dtype))


@full_precision
def cross_entropy(logit_BK: Tensor, label_B: Tensor) -> Tensor:
    """Return the mean cross entropy, in nats, of the softmax of the logits.

    Args:
        logit_BK: unnormalised log-probabilities of the classes.
        label_B: int64, in [0, K).
    """
    return F.cross_entropy(logit_BK, label_B)
