"""Backbones with the weights of pytorchvideo's and torchvision's networks give their outputs."""

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


class LibraryNetwork(nn.Module):
    """A network of a library; `embed` computes its embedding of a clip."""

    def __init__(self, network: nn.Module, embed: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.embed = embed

    def forward(self, pixels: Tensor) -> Tensor:
        return self.embed(self.network, pixels)


def pooled(network: nn.Module, pixels: Tensor) -> Tensor:
    return network(pixels).mean(dim=(2, 3, 4))


def r3d18() -> LibraryNetwork:
    network = r3d_18()
    network.fc = nn.Identity()
    return LibraryNetwork(network, lambda network, x: network(x))


def r3d50() -> LibraryNetwork:
    network = VideoResNet(Bottleneck, [Conv3DSimple] * 4, [3, 4, 6, 3], BasicStem)
    network.fc = nn.Identity()
    return LibraryNetwork(network, lambda network, x: network(x))


def s3d_network() -> LibraryNetwork:
    return LibraryNetwork(s3d().features, pooled)


def csn50() -> LibraryNetwork:
    network = create_csn(model_depth=50, stem_dim_out=8)
    return LibraryNetwork(nn.Sequential(*network.blocks[:-1]), pooled)


def x3d_network() -> LibraryNetwork:
    network = create_x3d(stem_dim_in=4, input_clip_length=8, input_crop_size=64)
    return LibraryNetwork(nn.Sequential(*network.blocks[:-1]), pooled)


def slowfast(depth: int) -> LibraryNetwork:
    network = create_slowfast(
        model_depth=depth,
        stem_dim_outs=(8, 1),
        head=None,
        head_pool=nn.AdaptiveAvgPool3d,
        head_output_size=((1, 1, 1), (1, 1, 1)),
    )
    return LibraryNetwork(network, lambda network, x: network([x[:, :, ::4], x]).flatten(1))


# The blocks of MViTv2-S as torchvision lists them, but with keys pooled half as much per axis.
HEADS = [1, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 8, 8]
CHANNELS_IN = [96, 96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 768]
CHANNELS_OUT = [96, 192, 192, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 384, 768, 768]
POOLS = [1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1]
KEYS = [4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def mvit(frames: int = 16, size: int = 64) -> LibraryNetwork:
    """Torchvision's network at a twelfth of its width; the mean of all tokens but the first."""
    blocks = [
        MSBlockConfig(heads, dim_in // 12, dim_out // 12, [3] * 3, [3] * 3, [1, q, q], [1, k, k])
        for heads, dim_in, dim_out, q, k in zip(
            HEADS, CHANNELS_IN, CHANNELS_OUT, POOLS, KEYS, strict=True
        )
    ]
    network = MViT((size, size), frames, blocks, True, False, True, True)
    network.head = nn.Identity()

    def tokens(network: nn.Module, pixels: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        handle = network.norm.register_forward_hook(lambda *args: outputs.append(args[2]))
        network(pixels)
        handle.remove()
        return outputs[0][:, 1:].mean(dim=1)

    return LibraryNetwork(network, tokens)


THEIRS = {
    ("r3d", 18, 64): r3d18,
    ("r3d", 50, 64): r3d50,
    ("s3d", 18, 64): s3d_network,
    ("csn", 50, 8): csn50,
    ("x3d", 18, 8): x3d_network,
    ("slowfast", 18, 8): partial(slowfast, 18),
    ("slowfast", 50, 8): partial(slowfast, 50),
    ("mvit", 18, 8): mvit,
}


def ours(name: str, depth: int, width: int) -> Encoder:
    backbone = Backbone(name=name, depth=depth, width=width)
    return build_encoder(Stream.RGB, backbone, seed=0).eval()


def fill(target: nn.Module, source: nn.Module) -> None:
    """Give both networks the same random weights, none 0 or 1; names may differ, order may not."""
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
def test_embeddings_match_the_library(case: tuple[str, int, int], draw: Draw) -> None:
    encoder, theirs = ours(*case), THEIRS[case]().eval()
    fill(theirs, encoder)
    pixels = draw(1, 3, 8, 32, 32) if case[2] == 64 else draw(1, 3, 16, 64, 64)
    pixels = pixels.double()  # so that rounding hides no difference
    with torch.no_grad():
        wanted = theirs.double()(pixels)
        torch.testing.assert_close(encoder.double()(pixels).embedding_BD, wanted)
    assert wanted.std() > 1e-3


def test_mvit_resamples_its_position_tables_linearly(
    draw: Draw,
) -> None:
    """At another size, it equals torchvision's network made for that size, given resampled tables.

    A table has 2 n - 1 entries for the distances -(n - 1) to n - 1; it is interpolated linearly at
    the centres of the new entries.
    """
    encoder, theirs = ours("mvit", 18, 8), mvit(frames=8, size=32).eval()
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
