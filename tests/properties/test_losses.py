"""Every loss equals its paper's formula and gradient, and is finite when clips collapse.

Shapes: B clip, D embedding.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import NTXentLoss
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.classification import binary_cross_entropy
from evossl.losses.contrastive import info_nce, max_margin_loss, multi_view_nt_xent, nt_xent
from evossl.losses.distance import l2_normalise, mean_squared_error
from evossl.losses.maps import pool_space, resample_time
from evossl.losses.redundancy import barlow_twins_loss, vicreg_loss
from evossl.losses.regression import cross_view_negative_cosine
from evossl.losses.triplet import hardest_negative, semi_hard_negative, triplet_margin_loss
from evossl.types import Stream
from tests.helpers import naive_losses as naive
from tests.helpers import naive_multi_view_losses as naive_views

Loss = Callable[[Tensor, Tensor], Tensor]

VICREG = (3.0, 5.0, 2.0)


def two_views(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two views as predictions and as targets."""
    return torch.stack([x, y]), torch.stack([x, y])


def three_views(x: Tensor, y: Tensor) -> Tensor:
    """Return three views, the third computed without rounding."""
    return torch.stack([x, y, torch.maximum(x, y)])


def with_keys(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return queries, keys (positives, more keys of the same videos, others) and their videos."""
    video_N = torch.arange(len(x)) + 7
    key_MD = torch.cat([y, torch.maximum(x, y), torch.minimum(x, y)])
    return x, key_MD, video_N, torch.cat([video_N, video_N, video_N + 100])


CONTRASTS: dict[str, Loss] = {
    "nt_xent": lambda x, y: nt_xent(x, y, temperature=0.2),
    "multi_view_nt_xent": lambda x, y: multi_view_nt_xent(three_views(x, y), temperature=0.2),
    "max_margin_loss": lambda x, y: max_margin_loss(x, y, margin=3.0),
    "triplet_hardest": lambda x, y: triplet_margin_loss(x, y, 2.0, hardest_negative),
    "triplet_semi_hard": lambda x, y: triplet_margin_loss(x, y, 2.0, semi_hard_negative),
    "negative_cosine": lambda x, y: cross_view_negative_cosine(*two_views(x, y)),
    "barlow_twins_loss": lambda x, y: barlow_twins_loss(x, y, 0.1),
    "vicreg": lambda x, y: vicreg_loss(x, y, *VICREG),
}
LOSSES: dict[str, Loss] = {
    **CONTRASTS,
    "info_nce": lambda x, y: info_nce(*with_keys(x, y), 0.2),
    "mean_squared_error": mean_squared_error,
}
NAIVE: dict[str, Callable[[Tensor, Tensor], float]] = {
    "nt_xent": lambda x, y: naive.nt_xent(x, y, 0.2),
    "multi_view_nt_xent": lambda x, y: naive_views.multi_view_nt_xent(three_views(x, y), 0.2),
    "max_margin_loss": lambda x, y: naive.max_margin_loss(x, y, 3.0),
    "triplet_hardest": lambda x, y: naive_views.triplet_margin_loss(x, y, 2.0, "hardest"),
    "triplet_semi_hard": lambda x, y: naive_views.triplet_margin_loss(x, y, 2.0, "semi_hard"),
    "negative_cosine": lambda x, y: naive_views.negative_cosine(*two_views(x, y)),
    "barlow_twins_loss": lambda x, y: naive_views.barlow_twins_loss(x, y, 0.1),
    "vicreg": lambda x, y: naive_views.vicreg_loss(x, y, VICREG),
    "info_nce": lambda x, y: naive_views.info_nce(*with_keys(x, y), 0.2),
    "mean_squared_error": naive.mean_squared_error,
}
COLLAPSED_LOSS = {
    "nt_xent": math.log(2 * 5 - 1),
    "multi_view_nt_xent": math.log(3 * 4 + 1),
    "max_margin_loss": 3.0,
    "triplet_hardest": 2.0,
    "triplet_semi_hard": 2.0,
    "negative_cosine": -1.0,
    "barlow_twins_loss": 4.0,
    "vicreg": VICREG[1] * (1 - 0.01),
}
"""Losses of 5 equal clips of width 4: all cosines are equal, negatives cost the margin, predictions
are perfect, features do not correlate, and deviations are the square root of VICReg's epsilon."""
each_loss = pytest.mark.parametrize("name", LOSSES)
each_contrast = pytest.mark.parametrize("name", CONTRASTS)


def draw(*size: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(size, generator=Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pair(num: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    return draw(num, width, seed=2 * seed), draw(num, width, seed=2 * seed + 1)


@each_loss
@given(num=st.integers(2, 7), width=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_loss_equals_its_formula(name: str, num: int, width: int, seed: int) -> None:
    x, y = pair(num, width, seed)
    assert math.isclose(LOSSES[name](x, y).item(), NAIVE[name](x, y), rel_tol=1e-5, abs_tol=1e-9)


@given(num=st.integers(2, 9), temperature=st.floats(0.05, 2.0), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_nt_xent_equals_lightlys(num: int, temperature: float, seed: int) -> None:
    x, y = pair(num, 6, seed)
    expected = NTXentLoss(temperature)(x, y)
    torch.testing.assert_close(nt_xent(x, y, temperature), expected, rtol=1e-5, atol=1e-9)


@given(seed=st.integers(0, 10**6), num=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_binary_cross_entropy_equals_its_formula(seed: int, num: int) -> None:
    logit_B, label_B = 5 * draw(num, seed=seed), draw(num, seed=seed + 1) > 0
    expected = naive.binary_cross_entropy(logit_B, label_B)
    assert math.isclose(binary_cross_entropy(logit_B, label_B).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "negative_cosine"])
def test_gradient_matches_finite_differences(name: str) -> None:
    x, y = (z.requires_grad_() for z in pair(4, 3, seed=1))
    assert gradcheck(LOSSES[name], (x, y))


def test_negative_cosine_gradient_skips_the_target() -> None:
    prediction, target = draw(3, 4, 5).requires_grad_(), draw(3, 4, 5, seed=1).requires_grad_()
    assert gradcheck(lambda p: cross_view_negative_cosine(p, target), (prediction,))
    cross_view_negative_cosine(prediction, target).backward()
    assert target.grad is None


def test_binary_cross_entropy_gradient_is_correct() -> None:
    label_B = torch.tensor([True, False, True])
    assert gradcheck(
        lambda logit_B: binary_cross_entropy(logit_B, label_B), (draw(3).requires_grad_(),)
    )


@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
def test_pooling_gradient_matches_finite_differences(stream: Stream) -> None:
    map_BCTHW = draw(2, 2, 1, 3, 4) if stream is Stream.AUDIO else draw(2, 2, 4, 3, 2)
    pool = lambda map_: resample_time(pool_space(map_, stream), 3)  # noqa: E731
    assert gradcheck(pool, (map_BCTHW.requires_grad_(),))


@each_loss
@given(num=st.integers(2, 8), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_order_of_clips_does_not_matter(name: str, num: int, seed: int) -> None:
    x, y = pair(num, 4, seed)
    order = torch.randperm(num, generator=Generator().manual_seed(seed))
    torch.testing.assert_close(LOSSES[name](x[order], y[order]), LOSSES[name](x, y))


@each_contrast
@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_loss_is_symmetric_in_its_views(name: str, seed: int) -> None:
    x, y = pair(5, 4, seed)
    torch.testing.assert_close(LOSSES[name](x, y), LOSSES[name](y, x))


@each_contrast
def test_wrong_pairs_cost_more_than_right_ones(name: str) -> None:
    """Similar views of one clip have a lower loss than the same views in wrong pairs."""
    x = draw(6, 8)
    y = x + 0.1 * draw(6, 8, seed=1)
    assert LOSSES[name](x, y) < LOSSES[name](x, y.roll(1, dims=0))


@each_contrast
@pytest.mark.parametrize("other", ["identical", "constant", "zero"])
@pytest.mark.parametrize("num", [2, 6])
def test_loss_and_gradient_are_finite_at_edge_cases(name: str, other: str, num: int) -> None:
    x = draw(num, 4, dtype=torch.float32)
    constant = torch.ones(num, 4)
    y = {"identical": x.clone(), "constant": constant, "zero": 0 * constant}[other]
    x.requires_grad_()
    y.requires_grad_()
    loss = LOSSES[name](x, y)
    loss.backward()
    assert torch.isfinite(loss)
    for grad in (x.grad, y.grad):
        assert torch.isfinite(grad).all()
        assert grad.abs().max() < 1e6


@each_contrast
def test_collapse_gives_the_closed_form(name: str) -> None:
    x, y = (torch.ones(5, 4).requires_grad_() for _ in range(2))
    loss = LOSSES[name](x, y)
    loss.backward()
    assert math.isclose(loss.item(), COLLAPSED_LOSS[name], rel_tol=1e-5)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(y.grad).all()


def test_nt_xent_of_orthogonal_clips_has_a_closed_form() -> None:
    """Each anchor has its other view at cosine 1 and two views at 0: ln(1 + 2 e^(-1/t))."""
    x = torch.eye(2)
    expected = math.log(1 + 2 * math.exp(-1 / 0.5))
    assert math.isclose(nt_xent(x, x, 0.5).item(), expected, rel_tol=1e-6)


def test_max_margin_loss_is_zero_beyond_the_margin() -> None:
    x = 3.0 * torch.eye(4)  # other clips are 3 sqrt(2) apart
    assert math.isclose(max_margin_loss(x, x, margin=4.0).item(), 0.0, abs_tol=2e-6)
    assert max_margin_loss(x, x, margin=4.5) > 0.2


def test_no_gradient_from_negatives_beyond_the_margin() -> None:
    x, y = torch.tensor([[0.0], [0.2]]), torch.tensor([[0.0], [5.0]])
    y.requires_grad_()
    max_margin_loss(x, y, margin=1.0).backward()
    assert y.grad[1].item() == 0.5  # drawn to its pair, x_1, by a mean of two; x_0 is far
    assert y.grad[0].item() == 0.5  # pushed off x_1, which is within the margin; its pair is met


@given(scale=st.floats(0.01, 100.0), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_nt_xent_ignores_vector_lengths(scale: float, seed: int) -> None:
    x, y = pair(4, 5, seed)
    torch.testing.assert_close(nt_xent(scale * x, y, 0.2), nt_xent(x, y, 0.2))


def test_l2_normalise_does_not_scale_up_tiny_vectors() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-6, 0.0]])
    torch.testing.assert_close(l2_normalise(x)[0], torch.tensor([0.6, 0.8]))
    assert (l2_normalise(x)[1] == 0).all()
    assert l2_normalise(x)[2].norm() < 0.1


def test_mean_squared_error_never_broadcasts() -> None:
    with pytest.raises(AssertionError):
        mean_squared_error(torch.zeros(2, 3), torch.zeros(2, 1))


def test_binary_cross_entropy_is_finite_for_large_logits() -> None:
    loss = binary_cross_entropy(torch.tensor([-1e4, 1e4]), torch.tensor([True, False]))
    assert math.isclose(loss.item(), 1e4, rel_tol=1e-6)


@each_loss
def test_autocast_does_not_change_a_loss(name: str) -> None:
    x, y = (z.float() for z in pair(6, 16, seed=3))
    expected = LOSSES[name](x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LOSSES[name](x, y), expected)


@each_loss
def test_half_precision_is_cast_to_float32_first(name: str) -> None:
    x, y = (z.bfloat16() for z in pair(6, 16, seed=3))
    loss = LOSSES[name](x, y)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, LOSSES[name](x.float(), y.float()))


def test_pooling_space_keeps_the_time_series() -> None:
    image = torch.arange(3.0).view(1, 1, 3, 1, 1).expand(2, 4, 3, 5, 6)
    sound = torch.arange(3.0).view(1, 1, 1, 1, 3).expand(2, 4, 1, 5, 3)
    expected = torch.arange(3.0).expand(2, 4, 3)
    torch.testing.assert_close(pool_space(image, Stream.FLOW), expected)
    torch.testing.assert_close(pool_space(sound, Stream.AUDIO), expected)


def test_resampling_averages_or_repeats_steps() -> None:
    series = torch.tensor([[[1.0, 3.0, 5.0, 7.0]]])
    assert resample_time(series, 2).flatten().tolist() == [2.0, 6.0]
    assert resample_time(series, 4).flatten().tolist() == [1.0, 3.0, 5.0, 7.0]
    assert resample_time(torch.tensor([[[2.0]]]), 3).flatten().tolist() == [2.0, 2.0, 2.0]
