"""Distillation: a student says of each clip what a frozen teacher says of it.

Shapes: B clip, K class.
"""

from torch import Tensor

from evossl.losses.precision import full_precision


@full_precision
def soft_targets(logit_BK: Tensor, target_BK: Tensor, temperature: float) -> Tensor:
    """Mean over clips of T^2 KL(p || q), in nats: p, q the softmax of the logits over T.

    T^2 keeps the gradient's size about the same whatever the temperature.

    Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    Args:
        logit_BK: the student's.
        target_BK: the teacher's; the caller detaches them.
        temperature: T, positive; the higher, the more the small logits count.
    """
    p_log_BK = (target_BK / temperature).log_softmax(dim=1)
    q_log_BK = (logit_BK / temperature).log_softmax(dim=1)
    divergence_B = (p_log_BK.exp() * (p_log_BK - q_log_BK)).sum(dim=1)
    return temperature**2 * divergence_B.mean()
