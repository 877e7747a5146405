"""Backbones give the numbers of pytorchvideo's and torchvision's networks, weight for weight."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from pytorchvideo.models.csn import create_csn
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import Tensor, nn
from torchvision.models.video import r3d_18, s3d
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.resnet import BasicStem, Bottleneck, Conv3DSimple, VideoResNet

from evossl.config import Backbone
from evossl.models.encoder import Encoder, build_encoder
from evossl.types import Stream

Draw = Callable[..., Tensor]


class Shown(nn.Module):
    """A library's network; `show` makes its embedding of a clip."""

    def __init__(self, network: nn.Module, show: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.show = show

    def forward(self, pixels: Tensor) -> Tensor:
        return self.show(self.network, pixels)


def pooled(network: nn.Module, pixels: Tensor) -> Tensor:
    return network(pixels).mean(dim=(2, 3, 4))


def r3d18() -> Shown:
    network = r3d_18()
    network.fc = nn.Identity()
    return Shown(network, lambda network, x: network(x))


def r3d50() -> Shown:
    network = VideoResNet(Bottleneck, [Conv3DSimple] * 4, [3, 4, 6, 3], BasicStem)
    network.fc = nn.Identity()
    return Shown(network, lambda network, x: network(x))


def separable() -> Shown:
    return Shown(s3d().features, pooled)


def separated() -> Shown:
    network = create_csn(model_depth=50, stem_dim_out=8)
    return Shown(nn.Sequential(*network.blocks[:-1]), pooled)


def expanded() -> Shown:
    network = create_x3d(stem_dim_in=4, input_clip_length=8, input_crop_size=64)
    return Shown(nn.Sequential(*network.blocks[:-1]), pooled)


def two_ways(depth: int) -> Shown:
    network = create_slowfast(
        model_depth=depth,
        stem_dim_outs=(8, 1),
        head=None,
        head_pool=nn.AdaptiveAvgPool3d,
        head_output_size=((1, 1, 1), (1, 1, 1)),
    )
    return Shown(network, lambda network, x: network([x[:, :, ::4], x]).flatten(1))


# MViTv2-S as torchvision lists it, block for block; its keys are pooled 8, 4, 4, 2, ..., 1, 1.
HEADS = [1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 8, 8]
CHANNELS_IN = [96, 96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 768]
CHANNELS_OUT = [96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 768, 768]
POOLS = [1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1]
KEYS = [4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def transformer(frames: int = 16, size: int = 64) -> Shown:
    """At width 8, a twelfth of theirs; the mean of its tokens but the first."""
    blocks = [
        MSBlockConfig(heads, dim_in // 12, dim_out // 12, [3] * 3, [3] * 3, [1, q, q], [1, k, k])
        for heads, dim_in, dim_out, q, k in zip(
            HEADS, CHANNELS_IN, CHANNELS_OUT, POOLS, KEYS, strict=True
        )
    ]
    network = MViT((size, size), frames, blocks, True, False, True, True)
    network.head = nn.Identity()

    def tokens(network: nn.Module, pixels: Tensor) -> Tensor:
        kept: list[Tensor] = []
        handle = network.norm.register_forward_hook(lambda *args: kept.append(args[2]))
        network(pixels)
        handle.remove()
        return kept[0][:, 1:].mean(dim=1)

    return Shown(network, tokens)


THEIRS = {
    ("r3d", 18, 64): r3d18,
    ("r3d", 50, 64): r3d50,
    ("s3d", 18, 64): separable,
    ("csn", 50, 8): separated,
    ("x3d", 18, 8): expanded,
    ("slowfast", 18, 8): partial(two_ways, 18),
    ("slowfast", 50, 8): partial(two_ways, 50),
    ("mvit", 18, 8): transformer,
}


def ours(name: str, depth: int, width: int) -> Encoder:
    backbone = Backbone(name=name, depth=depth, width=width)
    return build_encoder(Stream.RGB, backbone, seed=0).eval()


def fill(target: nn.Module, source: nn.Module) -> None:
    """Random weights for `source`, none zero or one; the same for `target`, whatever the names."""
    generator = torch.Generator().manual_seed(0)
    by_order: Iterator[Tensor] = iter(source.state_dict().values())
    with torch.no_grad():
        for tensor in target.state_dict().values():
            twin = next(by_order)
            assert twin.shape == tensor.shape
            if tensor.ndim == 1:
                twin.copy_(torch.rand(twin.shape, generator=generator) + 0.5)
            tensor.copy_(twin)
    assert next(by_order, None) is None


@pytest.mark.parametrize("case", THEIRS, ids=lambda case: f"{case[0]}{case[1]}")
def test_embeddings_are_the_library_s(case: tuple[str, int, int], draw: Draw) -> None:
    encoder, theirs = ours(*case), THEIRS[case]().eval()
    fill(theirs, encoder)
    pixels = draw(1, 3, 8, 32, 32) if case[2] == 64 else draw(1, 3, 16, 64, 64)
    with torch.no_grad():
        wanted = theirs(pixels)
        torch.testing.assert_close(encoder(pixels).embedding_BD, wanted, rtol=1e-4, atol=1e-5)
    assert wanted.std() > 1e-3


def test_mvit_at_another_size_is_theirs_made_for_it_with_tables_drawn_out_linearly(
    draw: Draw,
) -> None:
    """Tables of 2 n - 1 distances, -(n - 1) to n - 1, read at the centres of as many cells."""
    encoder, theirs = ours("mvit", 18, 8), transformer(frames=8, size=32).eval()
    for value, twin in zip(
        encoder.state_dict().values(), theirs.state_dict().values(), strict=True
    ):
        if value.shape == twin.shape:
            twin.copy_(value)
        else:
            old, new = len(value), len(twin)
            places = (np.arange(new) + 0.5) * old / new - 0.5
            columns = [np.interp(places, np.arange(old), column) for column in value.T.numpy()]
            twin.copy_(torch.from_numpy(np.stack(columns, axis=1)))
    pixels = draw(2, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels).embedding_BD, theirs(pixels))
