"""Gradient conflict: cosines between the gradients of the terms on the RGB encoder.

A negative cosine means that a small step down one loss increases the other (Yu, Kumar, Gupta,
Levine, Hausman, Finn, Gradient Surgery for Multi-Task Learning, NeurIPS 2020). Cosines depend on
neither weights nor scales. Only the RGB encoder is measured, because it is the one that is
exported; terms that do not train it (audio alone) have no gradient there.

Shapes: T term, P parameter of the encoder, S signed sum of some of them.
"""

import torch
from torch import Generator, Tensor

from evossl.training.gradients import gradients_of
from evossl.training.history import Conflict
from evossl.training.model import BatchLosses, MultiTaskModel
from evossl.types import Stream

MAX_SKETCH_SIZE = 2**18  # numbers per sketched gradient: 1 MB, a cosine off by about 1 / 512


def measure_conflict(model: MultiTaskModel, batch: BatchLosses) -> Conflict | None:
    """Return the cosines between a batch's terms, or None if fewer than two train the RGB encoder.

    Call it before the backward pass; it changes no number of the step.
    """
    names = [name for name in batch.batches if Stream.RGB in model.plan.student_streams(name)]
    if len(names) < 2:
        return None
    parameters = list(model.encoder(Stream.RGB).parameters())
    sign_P = _signs(sum(parameter.numel() for parameter in parameters)).to(parameters[0].device)
    gradient_TS = torch.stack(
        [_sketch(gradients_of(batch.losses[name], parameters), sign_P) for name in names]
    ).double()
    norm_T = gradient_TS.norm(dim=1)
    is_reached_T = norm_T > 0
    unit_TS = gradient_TS[is_reached_T] / norm_T[is_reached_T, None]
    if len(unit_TS) < 2:
        return None
    cosine_TT = (unit_TS @ unit_TS.T).tolist()
    return Conflict(
        terms=[n for n, reached in zip(names, is_reached_T.tolist(), strict=True) if reached],
        cosine=[[round(cosine, 4) for cosine in row] for row in cosine_TT],
    )


def _signs(count: int) -> Tensor:
    """Return the same random +1 and -1 (P,) in every call, from a generator of their own."""
    generator = Generator().manual_seed(0)
    return torch.randint(2, (count,), generator=generator, dtype=torch.int8) * 2 - 1


def _sketch(gradients: tuple[Tensor, ...], sign_P: Tensor) -> Tensor:
    """Return the gradient as at most `MAX_SKETCH_SIZE` signed sums (S,).

    Random signs preserve dot products in expectation (count sketch: Charikar, Chen, Farach-Colton,
    Finding Frequent Items in Data Streams, ICALP 2002). Keeping every n-th number would not: a few
    numbers hold most of the gradient. A gradient that is short enough only has its signs changed.
    """
    num_sums = min(len(sign_P), MAX_SKETCH_SIZE)
    padding = sign_P.new_zeros(-len(sign_P) % num_sums, dtype=gradients[0].dtype)
    flat = torch.cat([*(gradient.flatten() for gradient in gradients), padding])
    flat[: len(sign_P)] *= sign_P
    return flat.view(-1, num_sums).sum(dim=0)
