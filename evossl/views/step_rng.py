"""Randomness as a function of (seed, step, draw, purpose).

So a view is the same whatever else is asked for, and the same on every device: numbers are drawn
on the CPU and moved.

Shapes: B clip.
"""

from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Generator, Tensor


def generator(seed: int, step: int, draw: int, purpose: str) -> Generator:
    """Return a CPU generator whose stream is independent for each combination of arguments."""
    digest = blake2b(f"{seed}/{step}/{draw}/{purpose}".encode(), digest_size=8).digest()
    return Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class StepRNG:
    """The random numbers of one step.

    Attributes:
        seed, step: of the run.
        device: where the numbers are wanted.
    """

    seed: int
    step: int
    device: torch.device

    def uniform(
        self, draw: int, purpose: str, *shape: int, low: float = 0.0, high: float = 1.0
    ) -> Tensor:
        """Return uniform numbers in [low, high), float32 of `shape`."""
        numbers = torch.rand(shape, generator=generator(self.seed, self.step, draw, purpose))
        return (numbers * (high - low) + low).to(self.device, non_blocking=True)

    def bernoulli(self, draw: int, purpose: str, probability: float, batch: int) -> Tensor:
        """Return bool_B, each True with `probability`."""
        return self.uniform(draw, purpose, batch) < probability

    def integers(self, draw: int, purpose: str, low: int, high: int, batch: int) -> Tensor:
        """Return int64_B, uniform in [low, high)."""
        source = generator(self.seed, self.step, draw, purpose)
        return torch.randint(low, high, (batch,), generator=source).to(self.device)

    def normal(self, draw: int, purpose: str, count: int) -> Tensor:
        """Return `count` standard normal numbers, float32."""
        numbers = torch.randn(count, generator=generator(self.seed, self.step, draw, purpose))
        return numbers.to(self.device, non_blocking=True)
