"""StepRNG: random numbers as a pure function of (seed, step, draw, purpose).

A view therefore does not depend on which other views are built. All numbers are drawn on the CPU
and then moved, so that they are the same on every device.

Shapes: B clip.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from evossl.rng import derive_seed

# Distance between the noise of one sample and the next in a shared sequence. It is a prime, so that
# it is no multiple of an image's width.
NOISE_OFFSET = 1009


def generator(seed: int, step: int, draw: int, purpose: str) -> Generator:
    """Return a CPU generator whose stream is independent for each combination of arguments."""
    return Generator().manual_seed(derive_seed(seed, step, draw, purpose))


@dataclass(frozen=True)
class StepRNG:
    """The random numbers of one training step.

    Each method takes the number of the draw (`View.time_draw` or `View.space_draw`) and a purpose,
    such as "crop": different draws or purposes give independent numbers.

    Attributes:
        seed, step: of the run.
        device: where the numbers are returned.
    """

    seed: int
    step: int
    device: torch.device

    def uniform(
        self, draw: int, purpose: str, *shape: int, low: float = 0.0, high: float = 1.0
    ) -> Tensor:
        """Return uniform float32 numbers in [low, high) of the given shape."""
        numbers = torch.rand(shape, generator=self._generator(draw, purpose))
        return (numbers * (high - low) + low).to(self.device, non_blocking=True)

    def bernoulli(self, draw: int, purpose: str, probability: float, batch: int) -> Tensor:
        """Return bool_B, each True with `probability`."""
        return self.uniform(draw, purpose, batch) < probability

    def integers(self, draw: int, purpose: str, low: int, high: int, batch: int) -> Tensor:
        """Return int64_B, uniform in [low, high)."""
        source = self._generator(draw, purpose)
        return torch.randint(low, high, (batch,), generator=source).to(self.device)

    def overlapping_noise(self, draw: int, purpose: str, batch: int, count: int) -> Tensor:
        """Return standard normal float32 numbers (batch, count): windows of one long sequence.

        Successive rows start `NOISE_OFFSET` numbers apart. This is `batch` times cheaper than
        independent rows, and no two rows have the same number at the same place.
        """
        length = count + (batch - 1) * NOISE_OFFSET
        sequence = torch.randn(length, generator=self._generator(draw, purpose))
        return sequence.to(self.device, non_blocking=True).unfold(0, count, NOISE_OFFSET)

    def _generator(self, draw: int, purpose: str) -> Generator:
        return generator(self.seed, self.step, draw, purpose)
