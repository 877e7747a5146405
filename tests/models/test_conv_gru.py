"""ConvGRU equals its formula, computed position by position with Python floats."""

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from evossl.models.heads.conv_gru import ConvGRU


def linear(conv: nn.Conv2d, x: list[float]) -> list[float]:
    weight, bias = conv.weight.detach().double()[:, :, 0, 0].tolist(), conv.bias.tolist()
    both = zip(weight, bias, strict=True)
    return [sum(a * b for a, b in zip(row, x, strict=True)) + c for row, c in both]


def step(gru: ConvGRU, x: list[float], h: list[float]) -> list[float]:
    gates = [1 / (1 + math.exp(-a)) for a in linear(gru.gates, x + h)]
    update, reset = gates[: len(h)], gates[len(h) :]
    kept = [r * a for r, a in zip(reset, h, strict=True)]
    new = [math.tanh(a) for a in linear(gru.candidate, x + kept)]
    return [(1 - u) * a + u * b for u, a, b in zip(update, h, new, strict=True)]


def draw(*size: int) -> Tensor:
    return torch.randn(size, generator=Generator().manual_seed(0))


@pytest.mark.parametrize("begins", [True, False])
def test_each_position_is_an_independent_gru(begins: bool) -> None:
    torch.manual_seed(0)
    gru, (x_BCHW, h_BCHW) = ConvGRU(3), draw(2, 2, 3, 2, 4)
    with torch.no_grad():
        gru.gates.bias.copy_(draw(6))
        gru.candidate.bias.copy_(draw(3))
    state_BCHW = gru(x_BCHW, None if begins else h_BCHW)
    h_BCHW = torch.zeros_like(h_BCHW) if begins else h_BCHW
    for b, row, column in [(0, 0, 0), (1, 1, 3), (0, 1, 2)]:
        x, h, given = (m[b, :, row, column].tolist() for m in (x_BCHW, h_BCHW, state_BCHW))
        assert given == pytest.approx(step(gru, x, h), rel=1e-5)


def test_state_stays_between_minus_one_and_one() -> None:
    gru = ConvGRU(4)
    state = None
    for _ in range(20):
        state = gru(100 * draw(2, 4, 3, 3), state)
    assert state.abs().max() <= 1
