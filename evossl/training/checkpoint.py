"""Checkpoints of a training: a folder with two safetensors files and a JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evossl.errors import UserError
from evossl.io.files import write_atomically


def save_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Write model, optimiser and `state` (plain data, such as the step) to `folder`, atomically.

    Raises:
        RunError: the disk is full; an earlier checkpoint is unchanged.
    """
    optimiser_state = {
        f"{index}.{name}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    }

    def write(beside: Path) -> None:
        beside.mkdir()
        save_file(_contiguous(model.state_dict()), beside / "model.safetensors")
        save_file(_contiguous(optimiser_state), beside / "optimiser.safetensors")
        (beside / "state.json").write_text(json.dumps(dict(state)), encoding="utf-8")

    write_atomically(folder, write)


def load_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore model and optimiser from `folder`, and return the saved `state`.

    Raises:
        UserError: not a checkpoint, a damaged one, or one of another model.
    """
    state = read_state(folder)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
        optimiser_state = load_file(folder / "optimiser.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder}: a damaged checkpoint ({error}); delete the folder to start again"
        ) from error
    except RuntimeError as error:
        raise UserError(f"{folder}: a checkpoint of another model: {error}") from error
    layout = optimiser.state_dict()
    for key, value in optimiser_state.items():
        index, name = key.split(".", 1)
        layout["state"].setdefault(int(index), {})[name] = value
    optimiser.load_state_dict(layout)
    return state


def read_state(folder: Path) -> dict[str, Any]:
    """Return the `state` that a checkpoint was saved with.

    Raises:
        UserError: not a checkpoint.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{folder}: not a checkpoint ({error})") from error
    assert isinstance(state, dict)
    return state


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors needs them: on the CPU, contiguous, sharing no memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def save_encoder_state(folder: Path, encoder: nn.Module, stream: str) -> None:
    """Write the weights of one stream's encoder so that `load_encoder_state` can read them.

    Raises:
        RunError: the disk is full; earlier weights are unchanged.
    """
    weights = {f"encoders.{stream}.{name}": w for name, w in encoder.state_dict().items()}

    def write(beside: Path) -> None:
        beside.mkdir()
        save_file(_contiguous(weights), beside / "model.safetensors")

    write_atomically(folder, write)


def load_encoder_state(folder: Path, encoder: nn.Module, stream: str) -> None:
    """Load the weights of one stream's encoder from a checkpoint, without building any heads.

    Raises:
        UserError: not a checkpoint, a damaged one, or one of another backbone.
    """
    try:
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder}: not a readable checkpoint ({error})") from error
    prefix = f"encoders.{stream}."
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise UserError(f"{folder}: a checkpoint of another backbone: {error}") from error
