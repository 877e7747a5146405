"""Factorised convolutions equal `nn.Conv3d` in outputs and gradients; the weights keep names."""

import itertools
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.models.backbones import factorised_conv
from evossl.models.backbones.factorised_conv import FactorisedConv3d, factorise_convolutions
from evossl.models.encoder import BACKBONES, build_encoder
from evossl.types import Stream

Draw = Callable[..., Tensor]
LAST = torch.channels_last_3d
KERNELS = {
    "space": {"kernel_size": (1, 3, 3), "padding": (0, 1, 1)},
    "wide": {"kernel_size": (1, 7, 5), "padding": (0, 3, 0)},
    "dilated": {"kernel_size": (1, 3, 3), "padding": (0, 2, 2), "dilation": (1, 2, 2)},
    "time": {"kernel_size": (3, 1, 1), "padding": (1, 0, 0)},
    "sparse": {"kernel_size": (3, 1, 1), "padding": (2, 0, 0), "dilation": (2, 1, 1)},
    "point": {"kernel_size": 1},
    "padded": {"kernel_size": 1, "padding": 1},
    "full": {"kernel_size": 3, "padding": 1},
    "mirrored": {"kernel_size": (1, 3, 3), "padding": (0, 1, 1), "padding_mode": "reflect"},
    "same": {"kernel_size": (1, 3, 3), "padding": "same"},
}
STRIDES = [1, (1, 2, 2), (2, 1, 1), 2]
CHANNELS = [(4, 6, 1), (4, 8, 4), (6, 4, 2), (1, 3, 1)]  # in, out, groups
SHAPES = [(2, 5, 7, 6), (1, 4, 8, 8)]  # clips, time, height, width
CASES = [
    (kernel, stride, channels)
    for kernel, stride, channels in itertools.product(KERNELS, STRIDES, CHANNELS)
    if kernel != "same" or stride == 1
]


def results(conv: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """The output and all gradients, for a loss that weights every output differently."""
    x = pixels.detach().requires_grad_()
    out = conv(x)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    (out * weight).sum().backward()
    grads = {name: p.grad for name, p in conv.named_parameters()}
    return {"out": out.detach(), "x": x.grad, **grads}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_equal_conv3d(case: tuple[Any, ...], bias: bool, draw: Draw) -> None:
    kernel, stride, (dim_in, dim_out, groups) = case
    torch.manual_seed(0)
    plain = nn.Conv3d(
        dim_in, dim_out, **KERNELS[kernel], stride=stride, groups=groups, bias=bias
    ).double()
    ours = factorise_convolutions(deepcopy(plain))
    assert isinstance(ours, FactorisedConv3d)
    for clips, *extents in SHAPES:
        pixels = draw(clips, dim_in, *extents)
        for dtype, places in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            plain.zero_grad()
            wanted = results(plain.double(), pixels.double())
            for layout in (pixels, pixels.contiguous(memory_format=LAST)):
                ours.zero_grad()
                for name, found in results(ours.to(dtype), layout.to(dtype)).items():
                    scale = max(1.0, float(wanted[name].abs().max()))
                    error = (found.double() - wanted[name]).abs().max()
                    assert error <= places * scale, (name, dtype, error)


@pytest.mark.parametrize("kernel", ["space", "time", "point", "full"])
def test_channels_last_maps_stay_channels_last(kernel: str, draw: Draw) -> None:
    conv = factorise_convolutions(nn.Conv3d(4, 6, **KERNELS[kernel]))
    x = draw(2, 4, 4, 6, 6).contiguous(memory_format=LAST).requires_grad_()
    out = conv(x)
    out.backward(torch.ones_like(out))
    assert out.is_contiguous(memory_format=LAST)
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("kernel", ["space", "full", "same", "mirrored"])
def test_a_convolution_of_many_weights_has_them_plain(
    kernel: str, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = nn.Conv3d(4, 6, **KERNELS[kernel])
    x = draw(2, 4, 4, 6, 6)
    wanted = results(plain, x)
    assert not factorise_convolutions(deepcopy(plain)).weight.is_contiguous()
    monkeypatch.setattr(factorised_conv, "MIN_PLAIN_WEIGHTS", plain.weight.numel())
    ours = factorise_convolutions(deepcopy(plain))
    assert ours.weight.is_contiguous()
    for layout in (x, x.contiguous(memory_format=LAST)):
        ours.zero_grad()
        for name, found in results(ours, layout).items():
            torch.testing.assert_close(found, wanted[name], rtol=1e-5, atol=1e-4)
        assert ours(layout).is_contiguous(memory_format=LAST)


@pytest.mark.parametrize("kernel", ["space", "time", "point"])
def test_no_view_of_a_channels_last_map_copies_it(kernel: str, draw: Draw) -> None:
    conv = factorise_convolutions(nn.Conv3d(4, 6, **KERNELS[kernel], bias=False))
    x = draw(2, 4, 4, 6, 6).contiguous(memory_format=LAST)
    with torch.no_grad(), torch.profiler.profile() as profile:
        conv(x)
    called = {event.key for event in profile.key_averages()}
    assert called & {"aten::conv2d", "aten::linear"}
    assert not called & {"aten::copy_", "aten::clone", "aten::conv3d"}


@pytest.mark.parametrize("stream", [Stream.RGB, Stream.AUDIO])
@pytest.mark.parametrize("name", sorted({*BACKBONES} - {"c3d", "mvit"}))
def test_an_encoder_gives_the_outputs_of_plain_conv3d(
    name: str, stream: Stream, draw: Draw
) -> None:
    """In float64, in which rounding hides nothing, with the same names of weights."""
    ours = build_encoder(stream, Backbone(name=name, width=8), seed=0).double()
    plain = deepcopy(ours)
    for module in plain.modules():
        if isinstance(module, FactorisedConv3d):
            module.__class__ = nn.Conv3d
    assert list(plain.state_dict()) == list(ours.state_dict())
    pixels = draw(*((2, 1, 1, 40, 67) if stream is Stream.AUDIO else (2, 3, 5, 32, 32))).double()
    found, wanted = ours(pixels), plain(pixels)
    for stage, map_ in wanted.maps.items():
        torch.testing.assert_close(found.maps[stage], map_)
    found.embedding_BD.square().sum().backward()
    wanted.embedding_BD.square().sum().backward()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7)
