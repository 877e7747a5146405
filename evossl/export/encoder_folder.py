"""Encoder folders: `config.json` and `model.safetensors`, both written or neither.

Shapes: B clip, T frame, H height, W width, C channel, D embedding.
"""

import json
import warnings
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from evossl._version import __version__
from evossl.config import Backbone, Model, PositiveFloat, PositiveInt, SearchSpace
from evossl.errors import EncoderWarning, RunError, UserError
from evossl.export.preprocess import InputFormat, preprocess_frames
from evossl.io.files import write_atomically
from evossl.io.validation import explain
from evossl.models.encoder import Encoder, build_encoder
from evossl.models.folding import fold_batch_norms
from evossl.types import PIXEL_MEAN, PIXEL_SD, Stream

MEAN, STD = (PIXEL_MEAN,) * 3, (PIXEL_SD,) * 3  # of RGB, as views are normalised
FORMAT = 1  # of config.json; raise it if an older evossl would misread a new config
CONFIG, WEIGHTS, ONNX = "config.json", "model.safetensors", "model.onnx"


class EncoderConfig(Model):
    """The content of `config.json`: how to build the encoder and how to preprocess its clips.

    Attributes:
        stages: channels of each stage's feature map.
        width: D, the size of an embedding.
        frames, size, fps, short_side, mean, std: see `InputFormat`.
        ignores: what the encoder was trained to be invariant to.
        warning: issued on loading, such as for a winner that is no better than the controls.
        provenance: where the encoder comes from (run, trial, seed, weights, ...), as plain data.
    """

    format: int = FORMAT
    evossl_version: str = __version__
    stream: Literal["rgb"] = "rgb"
    backbone: Backbone
    stages: dict[str, PositiveInt]
    width: PositiveInt
    frames: PositiveInt
    size: PositiveInt
    fps: PositiveFloat
    short_side: PositiveInt
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    ignores: tuple[str, ...]
    warning: str | None = None
    provenance: dict[str, Any] = {}

    @classmethod
    def from_space(
        cls,
        space: SearchSpace,
        encoder: Encoder,
        *,
        warning: str | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> "EncoderConfig":
        """Return the config of an RGB encoder that was trained in a search space."""
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
    """An exported encoder, ready for use or for fine-tuning.

    Args:
        encoder: the RGB encoder.
        config: of its folder.
    """

    def __init__(self, encoder: Encoder, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings (B, D) of normalised clips (B, 3, T, H, W) of any T, H and W.

        Raises:
            UserError: the clips have another shape, or are not floats.
        """
        _check_input(x)
        return cast(Tensor, self.encoder(x).embedding_BD)

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Return the feature map of each stage ("stage1", ...), each (B, C, T', H', W').

        Raises:
            UserError: the clips have another shape, or are not floats.
        """
        _check_input(x)
        return dict(self.encoder(x).maps)

    def for_inference(self) -> "VideoEncoder":
        """Return a faster copy in eval mode, which cannot be trained or exported.

        Its BatchNorms are folded into the convolutions before them. Embeddings and feature maps
        differ from this encoder's by rounding: 1e-5 of their spread. Changes that are made to this
        encoder later do not reach the copy.
        """
        folded = Encoder(fold_batch_norms(self.encoder.network))
        return VideoEncoder(folded, self.config).eval()

    def preprocess(
        self, frames: Tensor | NDArray[np.uint8] | list[NDArray[np.uint8]], fps: float | None = None
    ) -> Tensor:
        """Return normalised clips (B, 3, T, H, W) on the encoder's device, as they were scored.

        Frames are selected at the config's rate from the middle of the video (a video that is too
        short repeats its last frame), scaled to the config's short side, cropped at the centre and
        normalised.

        Args:
            frames: uint8 RGB, (T, H, W, 3) or (B, T, H, W, 3), of any size and length; or a list of
                frames of equal size.
            fps: frames per second; None means that they are at the config's rate.

        Raises:
            UserError: frames that are not uint8, another shape, no frame, or a rate that is not
                positive.
        """
        device = next(self.parameters()).device
        if isinstance(frames, list):  # torch would convert a list pixel by pixel
            frames = np.asarray(frames)
        return preprocess_frames(torch.as_tensor(frames), fps, self._input_format, device)

    @property
    def _input_format(self) -> InputFormat:
        c = self.config
        return InputFormat(c.frames, c.size, c.fps, c.short_side, c.mean, c.std)


def _check_input(x: Tensor) -> None:
    if x.ndim != 5 or x.shape[1] != Stream.RGB.channels or not x.is_floating_point():
        raise UserError(
            f"an encoder takes float clips (B, 3, T, H, W), not {x.dtype} {tuple(x.shape)}; "
            "`encoder.preprocess(frames)` returns them from uint8 frames (B, T, H, W, 3)"
        )


def export_encoder(
    encoder: Encoder, folder: Path, config: EncoderConfig, *, replace: bool = False
) -> None:
    """Write an encoder folder. If that fails, nothing is changed.

    Args:
        encoder: the RGB encoder.
        folder: created, with its parents.
        config: `EncoderConfig.from_space(space, encoder)`.
        replace: whether to replace an encoder folder that exists.

    Raises:
        UserError: the folder holds other files, or an encoder and `replace` is false.
        RunError: a weight is not finite, or the folder cannot be written.
    """
    _check_replaceable(folder, replace)
    tensors = {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items()}
    broken = [name for name, t in tensors.items() if not torch.isfinite(t).all()]
    if broken:
        raise RunError(
            f"{folder}: not exported, because {broken[0]} has values that are not finite"
        )

    def write(beside: Path) -> None:
        beside.mkdir()
        text = json.dumps(config.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        (beside / CONFIG).write_text(text, encoding="utf-8")
        save_file(tensors, beside / WEIGHTS, metadata={"format": "pt"})

    write_atomically(folder, write)


def _check_replaceable(folder: Path, replace: bool) -> None:
    """Refuse a folder that holds files, unless they are an encoder's and `replace` is true.

    Raises:
        UserError: names the folder and one of its files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: this is a file; give another folder")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if not names:
        return
    is_encoder = {CONFIG, WEIGHTS} <= names <= {CONFIG, WEIGHTS, ONNX}
    if not is_encoder:
        raise UserError(f"{folder}: holds other files ({min(names)}); give another folder")
    if not replace:
        raise UserError(
            f"{folder}: holds an encoder; replace it explicitly, or give another folder"
        )


def load_encoder(path: str | Path) -> VideoEncoder:
    """Return the encoder of a folder that `evossl export` wrote, on the CPU and in eval mode.

    Called with normalised clips (B, 3, T, H, W), it returns embeddings (B, D). `.stages(x)` returns
    feature maps, and `.preprocess(frames)` makes clips from raw uint8 frames.

    Raises:
        UserError: no encoder in the folder, a damaged file, another format, or weights that do not
            fit the config; the message names the file and the key.

    Warns:
        EncoderWarning: the config holds a warning.
    """
    folder = Path(path)
    config = read_config(folder)
    weights = _read_weights(folder / WEIGHTS)
    try:
        with torch.device("meta"):  # draws no weights, which would be overwritten
            encoder = build_encoder(Stream.RGB, config.backbone, seed=0)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}; export it again") from error
    except RuntimeError as error:  # torch: sizes that overflow
        raise UserError(f"{folder / CONFIG}: backbone: cannot be built: {error}") from error
    _check_weights(folder / WEIGHTS, encoder.state_dict(), weights)
    assert weights.keys() >= dict(encoder.named_buffers()).keys(), (
        "a buffer that is not saved would stay empty"
    )
    built = encoder.state_dict()
    laid_out = {name: _with_strides_of(built[name], tensor) for name, tensor in weights.items()}
    encoder.load_state_dict(laid_out, assign=True)
    if config.warning is not None:
        warnings.warn(f"{folder}: {config.warning}", EncoderWarning, stacklevel=2)
    return VideoEncoder(encoder, config).eval()


def _with_strides_of(model: Tensor, values: Tensor) -> Tensor:
    """Return the values with the exact strides of a tensor of the same shape.

    Convolutions select a kernel by them, even by those of dimensions of size 1. So the loaded
    encoder computes the same as the exported one, to the bit.
    """
    empty = torch.empty_strided(model.shape, model.stride(), dtype=model.dtype)
    return empty.copy_(values)


def read_config(folder: Path) -> EncoderConfig:
    """Return the config of an encoder folder without reading the weights.

    Raises:
        UserError: no encoder in the folder, a damaged file, or another format.
    """
    file = folder / CONFIG
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}); give the folder that `evossl export` wrote"
        ) from error
    except ValueError as error:
        raise UserError(f"{file}: damaged, not JSON; export it again") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        found = raw.get("format") if isinstance(raw, dict) else None
        raise UserError(
            f"{file}: format {found!r}, but this evossl ({__version__}) reads format {FORMAT}; "
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


def _check_weights(file: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Refuse weights that are not exactly those of the config's backbone.

    Raises:
        UserError: names the first weight that is missing, unexpected or of another shape.
    """
    for name in sorted(expected.keys() - found.keys()):
        raise UserError(f"{file}: {name} is missing, but {CONFIG}'s backbone needs it")
    for name in sorted(found.keys() - expected.keys()):
        raise UserError(f"{file}: {name} is unexpected: {CONFIG}'s backbone has no such weight")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise UserError(
                f"{file}: {name} has shape {tuple(found[name].shape)}, but {CONFIG}'s backbone "
                f"needs {tuple(tensor.shape)}"
            )
