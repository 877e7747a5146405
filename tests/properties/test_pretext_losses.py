"""Losses of pretext tasks equal their papers' formulas and gradients.

Shapes: B clip, K class, C channel, T time, H height, W width.
"""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses import colour
from evossl.losses.classification import cross_entropy
from evossl.losses.pixels import gradient_difference_loss
from tests.helpers import naive_pretext_losses as naive

SHAPE = (2, 2, 1, 3, 4)


def draw(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=Generator().manual_seed(seed), dtype=torch.float64)


def rgb(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=Generator().manual_seed(seed), dtype=torch.float64)


@given(num=st.integers(1, 7), classes=st.integers(2, 6), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_cross_entropy_equals_its_formula(num: int, classes: int, seed: int) -> None:
    logit_BK = 5 * draw(num, classes, seed=seed)
    label_B = torch.randint(classes, (num,), generator=Generator().manual_seed(seed))
    expected = naive.cross_entropy(logit_BK, label_B)
    assert math.isclose(cross_entropy(logit_BK, label_B).item(), expected, rel_tol=1e-5)


def test_equal_logits_cost_log_num_classes() -> None:
    loss = cross_entropy(torch.zeros(4, 24), torch.arange(4))
    assert math.isclose(loss.item(), math.log(24), rel_tol=1e-6)


@pytest.mark.parametrize("what", ["random", "identical", "flat prediction", "flat target"])
def test_gradient_difference_loss_equals_its_formula(what: str) -> None:
    x, y = draw(*SHAPE), draw(*SHAPE, seed=1)
    x = y if what == "identical" else torch.ones_like(x) if what == "flat prediction" else x
    y = torch.ones_like(y) if what == "flat target" else y
    loss = gradient_difference_loss(x, y).item()
    assert math.isclose(loss, naive.gradient_difference_loss(x, y), rel_tol=1e-5)
    assert (loss == 0) == (what == "identical")


def test_gradient_difference_ignores_sign_and_brightness() -> None:
    edge = torch.zeros(1, 1, 1, 4, 4)
    edge[..., 2:] = 1.0
    blur = torch.tensor([0.0, 0.25, 0.75, 1.0]).expand(1, 1, 1, 4, 4)
    assert gradient_difference_loss(1 - edge + 0.3, edge) < 1e-6
    assert math.isclose(gradient_difference_loss(blur, edge).item(), 1 / 3, rel_tol=1e-6)


def test_gradients_match_finite_differences() -> None:
    label_B = torch.tensor([2, 0, 1])
    near = colour.soft_encode(rgb(2, 3, 4))
    weight_Q = colour.rebalancing_weights(torch.softmax(draw(len(colour.ab_bins())), dim=0))
    few = draw(2, len(weight_Q), 4)
    where = torch.tensor([0, 7, 100])

    def coloured(part: Tensor) -> Tensor:
        return colour.colorization_loss(few.index_copy(1, where, part), near, weight_Q)

    assert gradcheck(lambda logit: cross_entropy(logit, label_B), (draw(3, 4).requires_grad_(),))
    assert gradcheck(
        gradient_difference_loss, (draw(*SHAPE).requires_grad_(), draw(*SHAPE, seed=1))
    )
    assert gradcheck(coloured, (draw(2, 3, 4).requires_grad_(),))


def test_half_precision_is_cast_to_float32() -> None:
    logit, target = draw(4, 8).bfloat16(), draw(*SHAPE).bfloat16()
    label = torch.arange(4)
    assert torch.equal(cross_entropy(logit, label), cross_entropy(logit.float(), label))
    prediction = draw(*SHAPE, seed=1).bfloat16()
    wide = gradient_difference_loss(prediction.float(), target.float())
    assert torch.equal(gradient_difference_loss(prediction, target), wide)


def test_ab_matches_opencv_within_its_rounding() -> None:
    image = rgb(500, 3)
    image[:3] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0.02, 0.01, 0.03]])
    expected = cv2.cvtColor(image.float().numpy()[None], cv2.COLOR_RGB2Lab)[0, :, 1:]
    error = np.abs(colour.to_ab(image).numpy() - expected)
    assert error.max() < 0.5
    assert error.mean() < 0.1


def test_ab_of_primaries_matches_published_tables() -> None:
    """CIE Lab of the sRGB primaries under D65, as in published colour tables."""
    expected = torch.tensor([[80.09, 67.20], [-86.18, 83.18], [79.19, -107.86]])
    torch.testing.assert_close(colour.to_ab(torch.eye(3)), expected, atol=0.03, rtol=0)


def test_ab_bins_cover_the_srgb_gamut() -> None:
    level = np.linspace(0, 1, 64, dtype=np.float32)
    cube = np.stack(np.meshgrid(level, level, level), axis=-1).reshape(1, -1, 3)
    squares = np.round(cv2.cvtColor(cube, cv2.COLOR_RGB2Lab)[0, :, 1:] / 10)
    held = {tuple(square) for square in squares.astype(int).tolist()}
    ours = {tuple(square) for square in (colour.ab_bins() / 10).int().tolist()}
    assert len(ours) > 250
    assert len(ours ^ held) <= 4  # squares that a corner of the cube barely touches


def test_soft_encoding_equals_its_formula() -> None:
    image = rgb(2, 3, 5)
    near = colour.soft_encode(image)
    middles = colour.ab_bins().tolist()
    for b in range(2):
        for x, ab in enumerate(colour.to_ab(image[b].T).tolist()):
            expected = naive.soft_code(ab, middles)
            code = zip(near.index_BKX[b, :, x].tolist(), near.weight_BKX[b, :, x], strict=True)
            assert all(math.isclose(share, expected[q], rel_tol=1e-4) for q, share in code)
            assert near.weight_BKX[b, 0, x] == near.weight_BKX[b, :, x].max()


def test_rebalancing_weights_equal_their_formula() -> None:
    image = rgb(2, 3, 50)
    image[:, :, 10:] = 0.5
    share_Q = colour.bin_frequencies(colour.soft_encode(image))
    assert math.isclose(share_Q.sum().item(), 1, rel_tol=1e-6)
    weight_Q = colour.rebalancing_weights(share_Q)
    torch.testing.assert_close(
        weight_Q, torch.tensor(naive.rebalancing_weights(share_Q.tolist()), dtype=torch.float64)
    )
    gray = int(share_Q.argmax())
    assert weight_Q[gray] == weight_Q.min()
    even = torch.full((8,), 1 / 8)
    torch.testing.assert_close(colour.rebalancing_weights(even), torch.ones(8))


def test_colorization_loss_equals_its_formula() -> None:
    near = colour.soft_encode(rgb(2, 3, 4))
    share_Q = torch.softmax(draw(len(colour.ab_bins())), dim=0)
    logit_BQX = 3 * draw(2, len(share_Q), 4, seed=3)
    loss = colour.colorization_loss(logit_BQX, near, colour.rebalancing_weights(share_Q))
    expected = naive.colorization_loss(logit_BQX, near, naive.rebalancing_weights(share_Q.tolist()))
    assert math.isclose(loss.item(), expected, rel_tol=1e-5)
