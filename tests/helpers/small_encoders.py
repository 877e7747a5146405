"""Fixtures: small RGB encoders (width 8) and their inputs (8 frames of 32 pixels)."""

from collections.abc import Callable

import pytest
import torch

from evossl.config import Backbone, Clip, SearchSpace, TaskChoice
from evossl.models.encoder import Encoder, build_encoder
from evossl.types import Stream

SMALL = Backbone(width=8)


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return SearchSpace(
        ignores=("crop", "time"),
        tasks={"simclr": TaskChoice()},
        backbone=SMALL,
        clip=Clip(frames=8, size=32),
    )


@pytest.fixture
def rgb() -> Encoder:
    """An RGB encoder in which no weight or statistic is 0 or 1, so that each of them matters."""
    encoder = build_encoder(Stream.RGB, SMALL, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            if tensor.ndim == 1:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return encoder


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """A function that returns normal numbers of a shape, the same in every test."""

    def _draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1))

    return _draw
