"""Losses of pretext tasks whose label is a class: yes or no, or one of many.

Shapes: B clip, K class.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision


@full_precision
def binary_cross_entropy(logit_B: Tensor, label_B: Tensor) -> Tensor:
    """Mean binary cross entropy, in nats: -log sigmoid(logit) of a yes, of a no with -logit.

    Args:
        logit_B: log-odds of yes.
        label_B: bool, True for yes.
    """
    return F.binary_cross_entropy_with_logits(logit_B, label_B.to(logit_B.dtype))


@full_precision
def cross_entropy(logit_BK: Tensor, label_B: Tensor) -> Tensor:
    """Mean cross entropy, in nats: -log of the label's share, exp(logit) / sum_k exp(logit_k).

    Args:
        logit_BK: log-odds of the classes, up to a constant of the clip.
        label_B: int64, in [0, K).
    """
    return F.cross_entropy(logit_BK, label_B)
