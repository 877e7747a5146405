"""The EMA decay of the momentum encoders rises from the space's `ema_decay` to 1."""

import math
from pathlib import Path
from typing import Any

import pytest

from evossl.training.loop import train
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from tests.helpers.training_cases import MemoryLoader, make_model, make_space

NAME, STEPS, START = "simclr.rgb", 4, 0.8


def test_the_ema_decay_rises_to_1_on_a_cosine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"batch_size": 2, "ema_decay": START, "accumulate": 2}
    space = make_space({"simclr": {"places": ["rgb"]}}, training=training)
    loader: Any = MemoryLoader(num=2)
    model, decays = make_model(space), []
    monkeypatch.setattr(model, "after_step", lambda seen, decay: decays.append(decay))
    objective = Objective({NAME: 1.0}, {NAME: 1.0})
    list(train(model, loader, objective, Schedule(STEPS), tmp_path))
    cosine = [math.cos(math.pi * step / STEPS) for step in range(STEPS)]
    assert decays == pytest.approx([1 - (1 - START) * (1 + c) / 2 for c in cosine])
