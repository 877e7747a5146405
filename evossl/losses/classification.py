"""Yes-or-no losses of pretext tasks.

Shapes: B clip.
"""

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.precision import full_precision


@full_precision
def yes_or_no(logit_B: Tensor, label_B: Tensor) -> Tensor:
    """Mean binary cross entropy, in nats: -log sigmoid(logit) of a yes, of a no with -logit.

    Args:
        logit_B: log-odds of yes.
        label_B: bool, True for yes.
    """
    return F.binary_cross_entropy_with_logits(logit_B, label_B.to(logit_B.dtype))
