"""Encoder: the network of one stream, with support for views of several pieces.

A backbone is a file in `backbones/` with `build(channels, backbone) -> nn.Module` and an entry in
`BACKBONES`. Its network maps pixels (B, C, T, H, W) to `Features`.

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

MapShape = tuple[int, int, int, int]

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
    """The network of one stream; the pieces of a sample share one forward pass.

    Args:
        network: maps pixels (B, C, T, H, W) to the `Features` of the batch.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Features:
        """Return the features of a view.

        Args:
            pixels: (B, C, T, H, W), for sound (B, 1, 1, F, T). A view of pieces has (B, N, ...);
                its embeddings are then (B, N, D) and its maps (B, N, C, T, H, W).
        """
        assert pixels.ndim in (5, 6), (
            f"pixels must be (B, C, T, H, W) or (B, N, C, T, H, W), got {tuple(pixels.shape)}"
        )
        if pixels.ndim == 5:
            return cast(Features, self.network(pixels))
        batch_and_pieces = pixels.shape[:2]
        flat = self.network(pixels.flatten(0, 1))
        maps = {stage: map_.unflatten(0, batch_and_pieces) for stage, map_ in flat.maps.items()}
        return Features(flat.embedding_BD.unflatten(0, batch_and_pieces), maps)

    def shape(self, input: MapShape) -> EncoderShape:  # noqa: A002 - as in EncoderShape
        """Return the shapes of the features of an input (C, T, H, W), without computing them.

        A forward pass on the meta device: no weight, statistic or random state is read or changed.
        It takes two clips, because BatchNorm in train mode refuses one value per channel.
        """
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        meta = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
        pixels = torch.empty(2, *input, device="meta", dtype=next(self.parameters()).dtype)
        with torch.no_grad():
            features = torch.func.functional_call(self, meta, (pixels,))
        maps = {s: cast(MapShape, tuple(map_.shape[1:])) for s, map_ in features.maps.items()}
        return EncoderShape(features.embedding_BD.shape[1], maps, input)


def build_encoder(stream: Stream, backbone: Backbone, seed: int) -> Encoder:
    """Return an encoder whose initial weights depend only on the backbone, the seed and the stream.

    Torch's global random state is left unchanged. The audio stream always has the network of
    `audio_resnet`, whatever the backbone's name.

    Raises:
        UserError: there is no backbone of that name (the message suggests the nearest), or it does
            not have that depth or width.
    """
    if backbone.name not in BACKBONES:
        raise UserError(unknown("backbone", backbone.name, BACKBONES))
    build = audio_resnet.build if stream is Stream.AUDIO else BACKBONES[backbone.name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "encoder", stream))
        return Encoder(build(stream.channels, backbone))
