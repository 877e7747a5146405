"""Numbers too small for float32's full precision: a CPU takes many times as long over each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def no_denormals() -> Iterator[None]:
    """Take them as zero here, as vanishing gradients have many; what the thread had comes back."""
    had_none = not bool(torch.tensor(torch.finfo(torch.float32).tiny) / 2)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(had_none)
