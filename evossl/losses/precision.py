"""Losses are computed in float32 at least, whatever autocast makes of heads and encoders."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Loss = TypeVar("Loss", bound=Callable[..., Tensor])
HALF = (torch.bfloat16, torch.float16)


def full_precision(loss: Loss) -> Loss:
    """Run a loss, whose first argument is a tensor, without autocast; half precision is widened.

    bfloat16 has 8 bits: a cosine of 0.9 over a temperature of 0.1 would be wrong by 0.04.
    """

    @wraps(loss)
    def wide(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return loss(_widen(x), *map(_widen, args), **kwargs)

    return cast(Loss, wide)


def _widen(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in HALF else x
