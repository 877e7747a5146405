"""Encoder: a stream's network, folding of pieces, and the shapes it gives.

A backbone is one file with `build(channels, backbone) -> nn.Module`, a network that takes
(B, C, T, H, W) to `Features`, and one line in `BACKBONES`.

Shapes: B clip, N piece, C channel, T time, H height, W width, D embedding.
"""

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.errors import UserError, unknown
from evossl.models.backbones import audio_resnet, c3d, csn, mvit, r2plus1d, r3d, s3d, slowfast, x3d
from evossl.rng import derive_seed
from evossl.types import EncoderShape, Features, Stream

Shape = tuple[int, int, int, int]

BACKBONES: Mapping[str, Callable[[int, Backbone], nn.Module]] = {
    "c3d": c3d.build,
    "csn": csn.build,
    "mvit": mvit.build,
    "r2plus1d": r2plus1d.build,
    "r3d": r3d.build,
    "s3d": s3d.build,
    "slowfast": slowfast.build,
    "x3d": x3d.build,
}


class Encoder(nn.Module):
    """A stream's network; the pieces of a sample go through it together.

    Args:
        network: takes (B, C, T, H, W) to `Features` of the batch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Features:
        """Return the features of a view.

        Args:
            pixels: (B, C, T, H, W), sound (B, 1, 1, F, T); (B, N, ...) for a view of pieces, whose
                features are (B, N, D) and maps (B, N, C, T, H, W).
        """
        assert pixels.ndim in (5, 6), f"pixels are (B, C, T, H, W) or (B, N, ...), {pixels.shape}"
        if pixels.ndim == 5:
            return cast(Features, self.network(pixels))
        pieces = pixels.shape[:2]
        flat = self.network(pixels.flatten(0, 1))
        maps = {stage: map_.unflatten(0, pieces) for stage, map_ in flat.maps.items()}
        return Features(flat.embedding_BD.unflatten(0, pieces), maps)

    def shape(self, input: Shape) -> EncoderShape:  # noqa: A002 - the word of EncoderShape
        """Return the shapes of what an input (C, T, H, W) gives; nothing is computed or changed.

        A forward on the meta device: no weight, statistic or random state is touched. Two clips,
        because BatchNorm in train mode refuses one value a channel.
        """
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        pixels = torch.empty(2, *input, device="meta", dtype=next(self.parameters()).dtype)
        with torch.no_grad():
            features = torch.func.functional_call(self, meta, (pixels,))
        maps = {stage: cast(Shape, tuple(map_.shape[1:])) for stage, map_ in features.maps.items()}
        return EncoderShape(features.embedding_BD.shape[1], maps, input)


def build_encoder(stream: Stream, backbone: Backbone, seed: int) -> Encoder:
    """Return a stream's encoder with initial weights that are a function of (seed, stream) alone.

    Torch's random state is left as it was.

    Raises:
        UserError: no backbone of that name (the message has the nearest known one), or one that
            has no such depth or width.
    """
    if backbone.name not in BACKBONES:
        raise UserError(unknown("backbone", backbone.name, BACKBONES))
    build = audio_resnet.build if stream is Stream.AUDIO else BACKBONES[backbone.name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "encoder", stream))
        return Encoder(build(stream.channels, backbone))
