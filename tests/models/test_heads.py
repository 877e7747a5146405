"""MLP heads have the papers' layers; the decoder gives any shape and costs less than encoders."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evossl.config import Backbone
from evossl.models.encoder import build_encoder
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.models.heads.mlp import mlp
from evossl.types import Stream

extent = st.integers(1, 9)


def kinds(head: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in head]


def test_mlp_is_linear_batchnorm_relu_linear() -> None:
    head = mlp((6, 8, 4))
    assert kinds(head) == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [(p.in_features, p.out_features) for p in head if isinstance(p, nn.Linear)] == [
        (6, 8),
        (8, 4),
    ]
    assert head[0].bias is None  # BatchNorm would take it away
    assert head[3].bias is not None


def test_batchnorm_layers_follow_the_norm_options() -> None:
    layer = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds(mlp((6, 8, 8, 4), last_norm=True)) == [*layer, *layer, "Linear", "BatchNorm1d"]
    assert kinds(mlp((6, 8, 4), norm=False)) == ["Linear", "ReLU", "Linear"]
    assert all(p.bias is not None for p in mlp((6, 8, 4), norm=False) if isinstance(p, nn.Linear))
    assert kinds(mlp((6, 4))) == ["Linear"]


@settings(max_examples=25, deadline=None)
@given(
    map_size=st.tuples(extent, extent, extent),
    out=st.tuples(st.integers(1, 3), st.integers(1, 16), st.integers(1, 35), st.integers(1, 35)),
)
def test_decoder_gives_any_shape_and_passes_gradients(
    map_size: tuple[int, int, int], out: tuple[int, int, int, int]
) -> None:
    decoder = ClipDecoder((5, *map_size), out)
    map_BCTHW = torch.randn(2, 5, *map_size, requires_grad=True)
    pixels = decoder(map_BCTHW)
    assert pixels.shape == (2, *out)
    pixels.square().sum().backward()
    assert map_BCTHW.grad is not None
    assert map_BCTHW.grad.any()


def test_channels_last_does_not_change_a_decoder() -> None:
    decoder = ClipDecoder((8, 2, 2, 2), (3, 4, 16, 16)).eval()
    map_BCTHW = torch.randn(2, 8, 2, 2, 2)
    plain = decoder(map_BCTHW)
    last = decoder.to(memory_format=torch.channels_last_3d)(
        map_BCTHW.to(memory_format=torch.channels_last_3d)
    )
    torch.testing.assert_close(last, plain)


def test_decoder_preserves_positions() -> None:
    """A change in one corner of the map changes only that corner of the pixels."""
    decoder = ClipDecoder((4, 2, 4, 4), (1, 8, 32, 32)).eval()
    map_BCTHW = torch.randn(1, 4, 2, 4, 4)
    other = map_BCTHW.clone()
    other[:, :, 0, 0, 3] += 5.0
    with torch.no_grad():
        changed = (decoder(map_BCTHW) - decoder(other)).abs()[0, 0] > 0
    assert changed[0, :8, 24:].any()
    assert not changed[:, 20:].any()
    assert not changed[:, :, :12].any()
    assert not changed[7].any()


def test_decoder_can_overfit_a_clip() -> None:
    """Overfitting two clips reduces the error below a tenth."""
    torch.manual_seed(0)
    decoder = ClipDecoder((8, 2, 2, 2), (3, 4, 16, 16))
    map_BCTHW, target = torch.randn(2, 8, 2, 2, 2), torch.randn(2, 3, 4, 2, 2)
    target = target.repeat_interleave(8, 3).repeat_interleave(8, 4)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (decoder(map_BCTHW) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.1 * target.square().mean()


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3", "stage4"])
@pytest.mark.parametrize(
    ("stream", "shape"), [(Stream.RGB, (3, 8, 32, 32)), (Stream.AUDIO, (1, 1, 40, 67))]
)
def test_decoder_costs_less_than_the_encoder(
    stream: Stream, shape: tuple[int, int, int, int], stage: str
) -> None:
    """FLOPs of the forward and backward pass of 8 clips, counted by torch, at width 8."""
    encoder = build_encoder(stream, Backbone(width=8), seed=0)
    map_shape = encoder.shape(shape).maps[stage]
    decoder = ClipDecoder(map_shape, shape)
    pixels, map_BCTHW = torch.randn(8, *shape), torch.randn(8, *map_shape, requires_grad=True)
    with FlopCounterMode(display=False) as encoding:
        encoder(pixels).embedding_BD.sum().backward()
    with FlopCounterMode(display=False) as decoding:
        decoder(map_BCTHW).sum().backward()
    assert 0 < decoding.get_total_flops() < encoding.get_total_flops()
