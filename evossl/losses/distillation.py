"""Knowledge distillation: a student's class probabilities match those of a frozen teacher.

Shapes: B clip, K class.
"""

from torch import Tensor

from evossl.losses.precision import full_precision


@full_precision
def distillation_loss(logit_BK: Tensor, target_BK: Tensor, temperature: float) -> Tensor:
    """Return the mean over clips of T^2 KL(p || q), in nats.

    p and q are the softmax of the teacher's and the student's logits divided by T. The factor T^2
    keeps the size of the gradient about the same at every temperature.

    Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, section 2.

    Args:
        logit_BK: the student's logits.
        target_BK: the teacher's logits; the caller detaches them.
        temperature: T, positive; at higher values small logits count more.
    """
    log_p_BK = (target_BK / temperature).log_softmax(dim=1)
    log_q_BK = (logit_BK / temperature).log_softmax(dim=1)
    divergence_B = (log_p_BK.exp() * (log_p_BK - log_q_BK)).sum(dim=1)
    return temperature**2 * divergence_B.mean()
