"""Encoder folders: `config.json` and `model.safetensors`, written whole or not at all.

Shapes: B clip, T frame, H height, W width, C channel, D embedding.
"""

import json
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import evossl
from evossl.config import Backbone, Model, PositiveInt, SearchSpace
from evossl.errors import EncoderWarning, RunError, UserError
from evossl.export.preprocess import Clean, prepare
from evossl.io.files import write_atomically
from evossl.io.validation import explain
from evossl.models.encoder import Encoder, build_encoder
from evossl.types import Stream

MEAN, STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)  # as `views` normalises pixels
FORMAT = 1  # of config.json; a change that older readers would misread adds one
CONFIG, WEIGHTS, ONNX = "config.json", "model.safetensors", "model.onnx"


class EncoderConfig(Model):
    """`config.json`: all that is needed to build the encoder and to show it clips.

    Attributes:
        stages: channels of each stage's map. width: D.
        frames, size, fps, short_side, mean, std: as `preprocess` uses them.
        ignores: what the encoder was asked not to tell apart.
        warning: issued on load; for a winner that is no better than the controls.
        provenance: where it comes from (run, trial, seed, weights, ...): plain data.
    """

    format: int = FORMAT
    evossl_version: str = evossl.__version__
    stream: Literal["rgb"] = "rgb"
    backbone: Backbone
    stages: dict[str, PositiveInt]
    width: PositiveInt
    frames: PositiveInt
    size: PositiveInt
    fps: Annotated[float, Field(gt=0)]
    short_side: PositiveInt
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    ignores: tuple[str, ...]
    warning: str | None = None
    provenance: dict[str, Any] = {}

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        encoder: Encoder,
        *,
        warning: str | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> "EncoderConfig":
        """Return the config of the RGB encoder of a search space."""
        clip = space.clip
        shape = encoder.shape((Stream.RGB.channels, clip.frames, clip.size, clip.size))
        return cls(
            backbone=space.backbone,
            stages={stage: map_[0] for stage, map_ in shape.maps.items()},
            width=shape.width,
            frames=clip.frames,
            size=clip.size,
            fps=space.cache.fps,
            short_side=space.cache.short_side,
            ignores=space.ignores,
            warning=warning,
            provenance=provenance or {},
        )


class VideoEncoder(nn.Module):
    """An exported encoder, to be used as it is or fine-tuned.

    Args:
        encoder: the RGB encoder.
        config: what it was trained with.
    """

    def __init__(self, encoder: Encoder, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) of normalised clips (B, 3, T, H, W); any T, H, W, not only the config's.

        Raises:
            UserError: another shape, or pixels that are not floats.
        """
        _check_input(x)
        return cast(Tensor, self.encoder(x).embedding_BD)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Return the stages' dense features by name ("stage1", ...), each (B, C, T', H', W').

        Raises:
            UserError: another shape, or pixels that are not floats.
        """
        _check_input(x)
        return dict(self.encoder(x).maps)

    def preprocess(
        self, frames: Tensor | NDArray[np.uint8] | list[NDArray[np.uint8]], fps: float | None = None
    ) -> Tensor:
        """Return (B, 3, T, H, W), normalised, on the encoder's device: the clip as it is scored.

        Frames are taken at the config's rate from the middle (the last one is repeated where there
        are too few), scaled to the config's short side, cropped at the centre and normalised.

        Args:
            frames: uint8 RGB, (T, H, W, 3) or (B, T, H, W, 3), of any size and length; or a list of
                equal frames.
            fps: frames a second; None says that they are at the config's rate.

        Raises:
            UserError: not uint8, another shape, no frame, or a rate that is not positive.
        """
        device = next(self.parameters()).device
        if isinstance(frames, list):  # torch would read a list pixel by pixel
            frames = np.asarray(frames)
        return prepare(torch.as_tensor(frames), fps, self._clean, device)

    @property
    def _clean(self) -> Clean:
        c = self.config
        return Clean(c.frames, c.size, c.fps, c.short_side, c.mean, c.std)


def _check_input(x: Tensor) -> None:
    if x.ndim != 5 or x.shape[1] != Stream.RGB.channels or not x.is_floating_point():
        raise UserError(
            f"an encoder takes float clips (B, 3, T, H, W), not {x.dtype} {tuple(x.shape)}; "
            "`encoder.preprocess(frames)` makes them of uint8 frames (B, T, H, W, 3)"
        )


def export_encoder(
    encoder: Encoder, folder: Path, config: EncoderConfig, *, replace: bool = False
) -> None:
    """Write the encoder's folder; whatever happens, it is there whole or not at all.

    Args:
        encoder: the RGB encoder.
        folder: made; its parents too.
        config: `EncoderConfig.of(space, encoder)`.
        replace: an encoder folder that is there is replaced.

    Raises:
        UserError: the folder holds something (without `replace`, or other than an encoder).
        RunError: a weight that is not finite; a folder that cannot be written.
    """
    _refuse_to_overwrite(folder, replace)
    tensors = {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()}
    broken = [name for name, t in tensors.items() if not torch.isfinite(t).all()]
    if broken:
        raise RunError(f"{folder}: not exported: {broken[0]} has values that are not finite")

    def write(beside: Path) -> None:
        beside.mkdir()
        text = json.dumps(config.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        (beside / CONFIG).write_text(text, encoding="utf-8")
        save_file(tensors, beside / WEIGHTS, metadata={"format": "pt"})

    write_atomically(folder, write)


def _refuse_to_overwrite(folder: Path, replace: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file is there; name another folder")
    held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if not held:
        return
    if not (is_encoder := {CONFIG, WEIGHTS} <= held <= {CONFIG, WEIGHTS, ONNX}) or not replace:
        remedy = "replace it explicitly, or name another folder" if is_encoder else "name another"
        what = "an encoder" if is_encoder else f"other things ({sorted(held)[0]})"
        raise UserError(f"{folder}: the folder holds {what}; {remedy}")


def load_encoder(path: str | Path) -> VideoEncoder:
    """Return the encoder of a folder that `export_encoder` wrote, on the CPU, in eval mode.

    x float (B, 3, T, H, W), normalised as its config says, to (B, D); `.stages(x)` gives dense
    features, `.preprocess` takes raw uint8 frames.

    Raises:
        UserError: no encoder there, a damaged file, a newer format, weights that are missing, left
            over or misshaped; the message names the file and the key.

    Warns:
        EncoderWarning: the config holds a warning.
    """
    folder = Path(path)
    config = read_config(folder)
    weights = _read_weights(folder / WEIGHTS)
    try:
        with torch.device("meta"):  # no weight is drawn that is overwritten anyhow
            encoder = build_encoder(Stream.RGB, config.backbone, seed=0)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}; export it again") from error
    except RuntimeError as error:  # torch: sizes that overflow
        raise UserError(f"{folder / CONFIG}: backbone: cannot be built: {error}") from error
    _check_weights(folder / WEIGHTS, encoder.state_dict(), weights)
    assert weights.keys() >= dict(encoder.named_buffers()).keys(), "an unsaved buffer stays empty"
    encoder.to_empty(device="cpu").load_state_dict(weights)
    if config.warning is not None:
        warnings.warn(f"{folder}: {config.warning}", EncoderWarning, stacklevel=2)
    return VideoEncoder(encoder, config).eval()


def read_config(folder: Path) -> EncoderConfig:
    """Return what an encoder's folder says of it; the weights are not read.

    Raises:
        UserError: no encoder there, a damaged file, a newer format.
    """
    file = folder / CONFIG
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}); an encoder is the folder that "
            "`evossl export` writes"
        ) from error
    except ValueError as error:
        raise UserError(f"{file}: damaged, not JSON; export it again") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        raise UserError(
            f"{file}: format {found!r}, and this evossl ({evossl.__version__}) reads {FORMAT}; "
            "load it with the evossl that wrote it, or a newer one"
        )
    try:
        return EncoderConfig.model_validate(raw)
    except ValidationError as error:
        first, *_ = explain(error, EncoderConfig)
        raise UserError(f"{file}: {first}; export it again") from None


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
    except SafetensorError as error:
        raise UserError(f"{file}: damaged, not safetensors: {error}; export it again") from error


def _check_weights(file: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Exactly the weights of the backbone, in their shapes."""
    for name in sorted(wanted.keys() - found.keys()):
        raise UserError(f"{file}: {name} is missing: not the weights of this {CONFIG}'s backbone")
    for name in sorted(found.keys() - wanted.keys()):
        raise UserError(f"{file}: {name} is left over: not the weights of this {CONFIG}'s backbone")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(tensor.shape)}"
            raise UserError(f"{file}: {name} is {shapes} as {CONFIG}'s backbone has it")
