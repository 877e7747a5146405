import pytest
import torch
from torch import nn

from evossl.config import Optimiser
from evossl.training.optim import build_optimiser, set_learning_rate


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_optimiser_is_the_one_chosen_and_takes_a_rate(name: str, kind: type) -> None:
    choice = Optimiser(name=name, lr=0.5, weight_decay=0.1)
    optimiser = build_optimiser(nn.Linear(2, 2).parameters(), choice)
    assert type(optimiser) is kind
    assert [group["lr"] for group in optimiser.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0]
    assert all(group.get("nesterov", True) for group in optimiser.param_groups)
    set_learning_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
