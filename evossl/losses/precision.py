"""A decorator that computes losses in float32 or wider, also under autocast."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Loss = TypeVar("Loss", bound=Callable[..., Tensor])
HALF_PRECISION = (torch.bfloat16, torch.float16)


def full_precision(loss: Loss) -> Loss:
    """Return the loss, run without autocast and with half-precision inputs cast to float32.

    The loss's first argument must be a tensor. bfloat16 has 8 significant bits: a cosine of 0.9
    divided by a temperature of 0.1 would be wrong by 0.04.
    """

    @wraps(loss)
    def wrapped(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return loss(_widen(x), *map(_widen, args), **kwargs)

    return cast(Loss, wrapped)


def _widen(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in HALF_PRECISION else x
