"""LARS, compared with lightly's, and its edge cases."""

import pytest
import torch
from lightly.utils.lars import LARS
from torch import Generator, nn

from evossl.optim.lars import Lars


def weights(generator: Generator, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    shapes = [(5, 4, 3, 3, 3), (7, 5), (7,)]
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def groups(parameters: list[nn.Parameter], decay: float) -> list[dict[str, object]]:
    return [
        {"params": parameters[:2], "weight_decay": decay},
        {"params": parameters[2:], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("decay", [1e-6, 1e-4, 0.5])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_lars_equals_lightlys_implementation(decay: float, scale: float) -> None:
    ours, theirs = (weights(Generator().manual_seed(0)) for _ in range(2))
    optimisers = (
        Lars(groups(ours, decay), lr=0.2, momentum=0.9),
        LARS(groups(theirs, decay), lr=0.2, momentum=0.9, eps=0.0),
    )
    generator = Generator().manual_seed(1)
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = scale * torch.randn(mine.shape, generator=generator, dtype=torch.float64)
            other.grad = mine.grad.clone()
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] *= 0.7
            optimiser.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-12)


def test_the_first_step_scales_with_the_weight_norm() -> None:
    (weight, *_) = weights(Generator().manual_seed(0))
    before = weight.detach().clone()
    for scale, decay in ((1e-4, 1e-12), (1e4, 1e-12), (1e-4, 0.0), (1e4, 0.0)):
        weight.data.copy_(before)
        weight.grad = scale * torch.ones_like(weight)
        Lars([{"params": [weight], "weight_decay": decay}], lr=2.0, momentum=0.9).step()
        moved = (weight.detach() - before).norm()
        torch.testing.assert_close(moved, 2.0 * 1e-3 * before.norm(), rtol=1e-6, atol=0.0)


def test_zero_weights_move_and_zero_gradients_do_not() -> None:
    zero, still, idle = (nn.Parameter(torch.full((2, 2), x)) for x in (0.0, 3.0, 3.0))
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    Lars([{"params": [zero, still, idle], "weight_decay": 0.1}], lr=0.5, momentum=0.9).step()
    assert torch.equal(zero.detach(), torch.full((2, 2), -0.5))
    assert torch.equal(still.detach(), torch.full((2, 2), 3.0))
    assert torch.equal(idle.detach(), torch.full((2, 2), 3.0))
