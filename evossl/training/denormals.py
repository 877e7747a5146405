"""Denormal numbers: float32 values so small that a CPU computes with them many times slower."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero inside the block; vanishing gradients contain many of them.

    Afterwards the thread's own setting is restored.
    """
    was_flushing = not bool(torch.tensor(torch.finfo(torch.float32).tiny) / 2)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(was_flushing)
