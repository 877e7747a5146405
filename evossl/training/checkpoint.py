"""Checkpoints of a training: a folder with two safetensors files and a JSON file."""

import json
from collections import defaultdict
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
    names = _parameter_names(model, optimiser)
    optimiser_state = {
        f"{names[index]}.{key}": value
        for index, entry in optimiser.state_dict()["state"].items()
        for key, value in entry.items()
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
    weights, optimiser_state = _read_tensors(folder)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{folder}: a checkpoint of another model: {error}") from error
    _load_optimiser(folder, model, optimiser, optimiser_state)
    return state


def inherit_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Load from `folder` what a model has in common with the model that was saved there.

    The encoder of a stream, its momentum encoder, and the heads of a term with their queues and
    centres are loaded whole, with their optimiser state, if the checkpoint has them in the same
    shapes. The rest keeps its initial weights, except that a momentum encoder which the checkpoint
    lacks becomes a copy of the loaded encoder.

    Raises:
        UserError: not a checkpoint, a damaged one, or one of another backbone.
    """
    weights, optimiser_state = _read_tensors(folder)
    own = model.state_dict()
    theirs = _shapes_by_part(weights)
    inherited = {
        part for part, shapes in _shapes_by_part(own).items() if theirs.get(part) == shapes
    }
    if not any(part.startswith("encoders.") for part in inherited):
        raise UserError(f"{folder}: a checkpoint of another backbone")
    for name in own:
        online = name.replace("momentum.", "encoders.", 1)
        source = name if _part(name) in inherited else online
        if _part(source) in inherited:
            own[name] = weights[source]
    model.load_state_dict(own)
    common = {key: value for key, value in optimiser_state.items() if _part(key) in inherited}
    _load_optimiser(folder, model, optimiser, common)


def _part(name: str) -> str:
    """Return the encoder or the heads that a tensor belongs to ("encoders.rgb")."""
    return ".".join(name.split(".", 2)[:2])


def _shapes_by_part(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, torch.Size]]:
    shapes: dict[str, dict[str, torch.Size]] = defaultdict(dict)
    for name, tensor in tensors.items():
        shapes[_part(name)][name] = tensor.shape
    return shapes


def _parameter_names(model: nn.Module, optimiser: torch.optim.Optimizer) -> list[str]:
    """Return the names of the optimiser's parameters in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(p)] for group in optimiser.param_groups for p in group["params"]]


def _read_tensors(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of the model and of the optimiser, by name."""
    try:
        weights = load_file(folder / "model.safetensors")
        return weights, load_file(folder / "optimiser.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{folder}: a damaged checkpoint ({error}); delete the folder to start again"
        ) from error


def _load_optimiser(
    folder: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
) -> None:
    """Set the state of the parameters that have one in `tensors`; the others keep theirs."""
    index = {name: i for i, name in enumerate(_parameter_names(model, optimiser))}
    layout = optimiser.state_dict()
    for key, value in tensors.items():
        name, entry = key.rsplit(".", 1)
        if name not in index:
            raise UserError(f"{folder}: a checkpoint of another model: it has a parameter {name}")
        layout["state"].setdefault(index[name], {})[entry] = value
    optimiser.load_state_dict(layout)


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
