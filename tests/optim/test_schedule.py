"""The learning-rate schedule at hand-computed steps, and the weight-decay groups."""

import itertools
import math

import pytest
from torch import nn

from evossl.optim.schedule import lr_factor, parameter_groups


def test_the_schedule_is_a_linear_warmup_then_a_half_cosine() -> None:
    shares = [lr_factor(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert shares[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(shares[10:]))
    assert shares[55] == pytest.approx(0.5)
    assert shares[70] == pytest.approx(0.5 * (1 + math.cos(math.pi * 60 / 90)))
    assert shares[99] < 0.001


def test_a_single_step_has_the_peak_learning_rate() -> None:
    assert lr_factor(0, 1, 0.1) == 1.0
    assert lr_factor(0, 1, 1.0) == 1.0


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, 2))
    model[3].bias.requires_grad_(False)
    decayed, free = parameter_groups(model.parameters(), 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in decayed["params"]] == [id(model[0].weight), id(model[3].weight)]
    norm = [model[0].bias, model[1].weight, model[1].bias]
    assert [id(p) for p in free["params"]] == [id(p) for p in norm]
