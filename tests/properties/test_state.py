"""A resumed training is bit-identical to an uninterrupted one, with queues and centres."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from evossl.config import SearchSpace
from evossl.training.history import read_history
from evossl.training.loop import train
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from evossl.types import ClipBatch
from tests.helpers.published_methods import METHODS, method_alone, with_teacher
from tests.helpers.training_cases import MemoryLoader, make_model, make_space

STEPS, SAVED = 3, 2
OPTIONS: dict[str, dict[str, object]] = {"swav": {"queue_size": 6}, "rho_swav": {"queue_size": 6}}
"""SwAV has no queue by default; this one is full after a step."""


class NewVideos(MemoryLoader):
    """Half of a batch's videos were in the batch before, so that a bank moves and adds rows."""

    def batch(self, step: int) -> ClipBatch:
        clips = super().batch(step)
        return replace(clips, video_id_B=clips.video_id_B + step * self.num // 2)


def space_of(method: str, folder: Path) -> SearchSpace:
    keys = method_alone(method, **OPTIONS.get(method, {}))
    return with_teacher(make_space(backbone={"name": "c3d", "width": 2}, **keys), folder)


def run(space: SearchSpace, model: MultiTaskModel, folder: Path, resume: bool = False) -> Any:
    loader: Any = NewVideos()
    ones = {term.name: 1.0 for term in model.terms}
    schedule = Schedule(STEPS, log_every=1, save_every=SAVED)
    return train(model, loader, Objective(ones, ones), schedule, folder, resume=resume)


def checkpoint_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint: weights, buffers and the optimiser's state."""
    parts = ("model", "optimiser")
    files = {part: load_file(folder / "checkpoint" / f"{part}.safetensors") for part in parts}
    return {f"{part}.{name}": x for part, file in files.items() for name, x in file.items()}


def losses(folder: Path) -> list[Any]:
    return [(line["loss"], line["grad_norm"]) for line in read_history(folder / "history.jsonl")]


@torch.no_grad()
def scrambled(model: MultiTaskModel) -> MultiTaskModel:
    """Change every weight and buffer, so that only the checkpoint can restore them."""
    for value in model.state_dict().values():
        value.add_(1)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_resumed_training_is_bit_identical(method: str, tmp_path: Path) -> None:
    space = space_of(method, tmp_path)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(run(space, make_model(space), whole))
    stopped = run(space, make_model(space), parts)
    while next(stopped).step <= SAVED:
        pass  # one step further than what was saved
    stopped.close()
    list(run(space, scrambled(make_model(space)), parts, resume=True))
    assert len(losses(whole)) == STEPS
    assert losses(parts) == losses(whole)
    before, after = checkpoint_tensors(whole), checkpoint_tensors(parts)
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
