"""Momentum encoders: frozen copies in train mode, updated by EMA."""

import copy
import itertools
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from evossl.models.ema import cosine_ema_decay, momentum_copy, update_ema
from evossl.models.encoder import Encoder
from evossl.models.heads.mlp import mlp


def states(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_a_momentum_copy_is_frozen_and_in_train_mode(rgb: Encoder) -> None:
    rgb.eval()
    follower = momentum_copy(rgb)
    assert all(torch.equal(a, states(follower)[name]) for name, a in states(rgb).items())
    assert not any(p.requires_grad for p in follower.parameters())
    assert all(part.training for part in follower.modules())
    assert not any(part.training for part in rgb.modules())
    assert all(p.requires_grad for p in rgb.parameters())
    mine = {p.data_ptr() for p in rgb.parameters()}
    assert not mine & {p.data_ptr() for p in follower.parameters()}


@settings(max_examples=20, deadline=None)
@given(decay=st.floats(0, 1))
def test_weights_follow_the_formula_and_buffers_are_copied(decay: float) -> None:
    online, follower = mlp((3, 4, 2)), momentum_copy(mlp((3, 4, 2)))
    online(torch.randn(5, 3))  # changes the running statistics
    before, target = states(follower), states(online)
    update_ema([(online, follower)], decay)
    weights = {name for name, _ in online.named_parameters()}
    for name, now in states(follower).items():
        if name in weights:
            wanted = decay * before[name].double() + (1 - decay) * target[name].double()
            torch.testing.assert_close(now.double(), wanted, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(now, target[name])
    assert all(torch.equal(a, target[name]) for name, a in states(online).items())


def test_decay_0_copies_and_decay_1_keeps_the_weights() -> None:
    online, follower = mlp((3, 4, 2)), momentum_copy(mlp((3, 4, 2)))
    kept = copy.deepcopy(follower)
    update_ema([(online, follower)], 1.0)
    assert all(
        torch.equal(a, b) for a, b in zip(follower.parameters(), kept.parameters(), strict=True)
    )
    update_ema([(online, follower)], 0.0)
    assert all(torch.equal(a, states(online)[name]) for name, a in states(follower).items())


def test_every_pair_is_updated_without_a_graph() -> None:
    pairs = [(mlp((3, 2)), momentum_copy(mlp((3, 2)))) for _ in range(3)]
    before = [states(follower) for _, follower in pairs]
    update_ema(iter(pairs), 0.5)
    for (_, follower), old in zip(pairs, before, strict=True):
        assert not torch.equal(follower[0].weight, old["0.weight"])
        assert all(p.grad_fn is None for p in follower.parameters())


def test_a_network_without_buffers_is_updated() -> None:
    online, follower = nn.Linear(2, 2), momentum_copy(nn.Linear(2, 2))
    update_ema([(online, follower)], 0.0)
    assert torch.equal(follower.weight, online.weight)


@given(start=st.floats(0, 1))
def test_the_decay_rises_to_1_on_half_a_cosine(start: float) -> None:
    assert math.isclose(cosine_ema_decay(start, 0.0), start, abs_tol=1e-12)
    assert math.isclose(cosine_ema_decay(start, 0.5), (1 + start) / 2)
    assert cosine_ema_decay(start, 1.0) == 1.0
    decays = [cosine_ema_decay(start, step / 20) for step in range(21)]
    assert all(a <= b for a, b in itertools.pairwise(decays))
