"""The optimiser that a space chooses: its class, learning rates and weight decay."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from evossl.config import Backbone, Optimiser
from evossl.models.encoder import BACKBONES, build_encoder
from evossl.optim.lars import Lars
from evossl.optim.optimisers import build_optimiser
from evossl.types import Stream
from tests.helpers.training_cases import make_model, make_space

KINDS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "lars": Lars}
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)


@pytest.mark.parametrize("name", KINDS)
def test_heads_have_their_own_learning_rate(name: str) -> None:
    choice = Optimiser(name=name, lr=0.5, head_lr_mult=10, weight_decay=0.1)
    encoder, head = nn.Linear(2, 2), nn.Linear(2, 2)
    optimiser = build_optimiser(encoder.parameters(), head.parameters(), choice)
    assert type(optimiser) is KINDS[name]
    schedule = LambdaLR(optimiser, lambda step: 0.5**step)
    for lr in (0.5, 0.25):
        rate = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
        assert [rate[id(p)] for p in encoder.parameters()] == [lr, lr]
        assert [rate[id(p)] for p in head.parameters()] == [10 * lr, 10 * lr]
        optimiser.step()
        schedule.step()
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0, 0.1, 0.0]
    assert all(group.get("nesterov", True) for group in optimiser.param_groups)


def test_the_learning_rates_are_set_at_construction() -> None:
    optimiser = build_optimiser([], nn.Linear(2, 2).parameters(), Optimiser(lr=0.5, head_lr_mult=3))
    assert [group["lr"] for group in optimiser.param_groups if group["params"]] == [1.5, 1.5]


def test_encoders_and_heads_are_all_that_is_trained() -> None:
    model = make_model(make_space())
    optimiser = build_optimiser(model.encoders.parameters(), model.heads.parameters(), Optimiser())
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.trained()}


@pytest.mark.parametrize("name", BACKBONES)
def test_only_biases_and_norms_have_no_weight_decay(name: str) -> None:
    with torch.device("meta"):
        encoder = build_encoder(Stream.RGB, Backbone(name=name, width=8), seed=0)
    groups = build_optimiser(encoder.parameters(), [], Optimiser(weight_decay=0.1)).param_groups
    decays = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    for part in encoder.modules():
        for key, weight in part.named_parameters(recurse=False):
            is_free = isinstance(part, NORMS) or key in ("bias", "class_token")
            assert (id(weight) in decays) == (not is_free), (type(part), key)
