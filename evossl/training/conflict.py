"""Conflict: do the terms pull the RGB encoder the same way? Cosines between their gradients.

A cosine under 0 means that a small step down one loss climbs the other (Yu, Kumar, Gupta, Levine,
Hausman, Finn, Gradient Surgery for Multi-Task Learning, NeurIPS 2020). It knows neither weights nor
scales. The RGB encoder, since it is the one that is exported; terms that do not train it (sound
alone) have no gradient there. Shapes: T term, P parameter of the encoder, S sum of some of them.
"""

import torch
from torch import Generator, Tensor

from evossl.training.gradients import own_gradients
from evossl.training.history import Conflict
from evossl.training.model import MultiTaskModel, StepLosses
from evossl.types import Stream

MAX_SUMS = 2**18  # that stand for a gradient: a megabyte a term, a cosine off by about 1 / 512


def measure_conflict(model: MultiTaskModel, result: StepLosses) -> Conflict | None:
    """Return the cosines of a batch's terms; None where fewer than two reach the RGB encoder.

    Called before the backward; changes no number of the step.
    """
    names = [name for name in result.seen if Stream.RGB in model.plan.trained(name)]
    if len(names) < 2:
        return None
    parameters = list(model.encoder(Stream.RGB).parameters())
    sign_P = _signs(sum(parameter.numel() for parameter in parameters)).to(parameters[0].device)
    gradient_TS = torch.stack(
        [_sums(own_gradients(result.losses[name], parameters), sign_P) for name in names]
    ).double()
    norm_T = gradient_TS.norm(dim=1)
    reach_T = norm_T > 0
    unit_TS = gradient_TS[reach_T] / norm_T[reach_T, None]
    if len(unit_TS) < 2:
        return None
    cosine_TT = (unit_TS @ unit_TS.T).tolist()
    reach = reach_T.tolist()
    return Conflict(
        terms=[name for name, reaches in zip(names, reach, strict=True) if reaches],
        cosine=[[round(cosine, 4) for cosine in row] for row in cosine_TT],
    )


def _signs(num: int) -> Tensor:
    """Always the same +1 and -1 (P,), from a generator of their own."""
    return torch.randint(2, (num,), generator=Generator().manual_seed(0), dtype=torch.int8) * 2 - 1


def _sums(gradients: tuple[Tensor, ...], sign_P: Tensor) -> Tensor:
    """The gradient as at most `MAX_SUMS` signed sums (S,); a shorter one only changes signs.

    Random signs keep dot products in expectation (Charikar, Chen, Farach-Colton, Finding Frequent
    Items in Data Streams, ICALP 2002). Every n-th number alone would not do: a few hold most of it.
    """
    num_sums = min(len(sign_P), MAX_SUMS)
    rest = sign_P.new_zeros(-len(sign_P) % num_sums, dtype=gradients[0].dtype)
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), rest])
    flat[: len(sign_P)] *= sign_P
    return flat.view(-1, num_sums).sum(dim=0)
