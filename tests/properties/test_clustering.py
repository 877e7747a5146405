"""Clustering losses: Sinkhorn codes, centred targets, and which view predicts which.

Shapes: G view that gives targets, V view that predicts, B clip, N sample, K cluster.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss.swav_loss import sinkhorn as lightlys_sinkhorn
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.clustering import (
    centre_and_sharpen,
    different_view_pairs,
    multi_view_cross_entropy,
    sinkhorn,
)
from tests.helpers import naive_losses as naive


def draw(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=Generator().manual_seed(seed), dtype=torch.float64)


@given(num=st.integers(2, 7), clusters=st.integers(1, 6), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_sinkhorn_equals_the_paper_and_lightly(num: int, clusters: int, seed: int) -> None:
    score_NK = draw(num, clusters, seed=seed)
    ours = sinkhorn(score_NK, 0.3, 3)
    torch.testing.assert_close(ours, torch.tensor(naive.sinkhorn(score_NK, 0.3, 3)).double())
    torch.testing.assert_close(ours, lightlys_sinkhorn(score_NK, 3, 0.3))


def test_codes_sum_to_1_and_fill_clusters_equally() -> None:
    code_NK = sinkhorn(draw(12, 4), 0.3, 100)
    torch.testing.assert_close(code_NK.sum(dim=1), torch.ones(12).double())
    torch.testing.assert_close(code_NK.sum(dim=0), torch.full((4,), 3.0).double())


def test_codes_spread_over_clusters() -> None:
    """Balanced codes keep SwAV from putting all clips into one cluster."""
    score_NK = 0.1 * draw(12, 4)
    score_NK[:, 0] += 5
    assert (score_NK.argmax(dim=1) == 0).all()
    assert sinkhorn(score_NK, 0.05, 50).argmax(dim=1).bincount(minlength=4).max() <= 6


def test_large_scores_give_finite_codes() -> None:
    score_NK = torch.tensor([[1.0, -1.0], [0.9, -0.2]]) * 100
    code_NK = sinkhorn(score_NK, 0.05, 3)
    assert torch.isfinite(code_NK).all()
    assert torch.equal(code_NK.argmax(dim=1), torch.tensor([0, 1]))


def test_equal_scores_give_equal_codes() -> None:
    torch.testing.assert_close(sinkhorn(torch.zeros(3, 4), 0.05, 3), torch.full((3, 4), 0.25))


def test_targets_are_the_softmax_of_centred_scores() -> None:
    score_GBK, centre_K = draw(2, 3, 4), draw(4, seed=1)
    for row, target in zip(
        naive.rows(score_GBK.flatten(0, 1)),
        centre_and_sharpen(score_GBK, centre_K, 0.2).flatten(0, 1),
        strict=True,
    ):
        off = [(s - c) / 0.2 for s, c in zip(row, centre_K.tolist(), strict=True)]
        torch.testing.assert_close(target, torch.tensor(naive.softmax(off)).double())


def test_codes_and_targets_have_no_gradient() -> None:
    score_BK = draw(3, 4).requires_grad_()
    assert not sinkhorn(score_BK, 0.1, 3).requires_grad
    assert not centre_and_sharpen(score_BK, torch.zeros(4), 0.1).requires_grad


@given(clips=st.integers(2, 4), clusters=st.integers(2, 5), seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_loss_equals_its_formula(clips: int, clusters: int, seed: int) -> None:
    logit_VBK, target_GBK = draw(3, clips, clusters, seed=seed), draw(2, clips, clusters)
    target_GBK = target_GBK.softmax(dim=-1)
    for matched_GV in (
        different_view_pairs(2, 3),
        torch.tensor([[False, True, True], [False] * 3]),
    ):
        expected = naive.multi_view_cross_entropy(logit_VBK, target_GBK, matched_GV)
        loss = multi_view_cross_entropy(logit_VBK, target_GBK, matched_GV)
        assert math.isclose(loss.item(), expected, rel_tol=1e-9)


def test_gradient_matches_finite_differences() -> None:
    logit_VBK, target_GBK = draw(3, 2, 4), draw(2, 2, 4, seed=1).softmax(dim=-1)
    inputs = (logit_VBK.requires_grad_(), target_GBK.requires_grad_())
    assert gradcheck(
        lambda x, y: multi_view_cross_entropy(x, y, different_view_pairs(2, 3)), inputs
    )


def test_no_view_predicts_its_own_target() -> None:
    assert different_view_pairs(2, 3).tolist() == [[False, True, True], [True, False, True]]
    logit_VBK = draw(2, 3, 4).requires_grad_()
    target_GBK = draw(1, 3, 4, seed=1).softmax(dim=-1)
    multi_view_cross_entropy(logit_VBK, target_GBK, different_view_pairs(1, 2)).backward()
    assert (logit_VBK.grad[0] == 0).all()
    assert logit_VBK.grad[1].abs().min() > 0


def test_loss_is_lowest_where_prediction_equals_target() -> None:
    """The lowest loss is the target's entropy: cross entropy is entropy plus a divergence."""
    target_GBK = draw(1, 3, 4).softmax(dim=-1)
    matched_GV = torch.ones(1, 1, dtype=torch.bool)
    entropy = -(target_GBK * target_GBK.log()).sum(dim=-1).mean()
    loss = multi_view_cross_entropy(target_GBK.log(), target_GBK, matched_GV)
    torch.testing.assert_close(loss, entropy)
    assert (
        multi_view_cross_entropy(target_GBK.log() + 0.1 * draw(1, 3, 4), target_GBK, matched_GV)
        > loss
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_cast_to_float32_first(dtype: torch.dtype) -> None:
    score_NK, target_GBK = draw(6, 4).to(dtype), draw(1, 6, 4).softmax(dim=-1).to(dtype)
    matched_GV = torch.ones(1, 1, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        code_NK = sinkhorn(score_NK, 0.05, 3)
        loss = multi_view_cross_entropy(score_NK[None], target_GBK, matched_GV)
    assert torch.equal(code_NK, sinkhorn(score_NK.float(), 0.05, 3))
    assert torch.equal(
        loss, multi_view_cross_entropy(score_NK[None].float(), target_GBK.float(), matched_GV)
    )
