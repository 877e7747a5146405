"""Encoders: shapes, seeds and pieces; outputs equal to those of pytorchvideo and torchvision."""

import itertools
from collections.abc import Callable

import pytest
import torch
from pytorchvideo.models.r2plus1d import create_r2plus1d
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet
from torchvision.models.video import r2plus1d_18

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.models.encoder import Encoder, build_encoder
from evossl.types import Stream

Draw = Callable[..., Tensor]
SMALL = Backbone(width=8)
INPUTS = {
    Stream.RGB: (3, 8, 32, 32),
    Stream.GRAY: (1, 8, 32, 32),
    Stream.FLOW: (2, 8, 32, 32),
    Stream.AUDIO: (1, 1, 40, 67),
}


def set_weights(target: nn.Module, source: nn.Module) -> None:
    """Copy the tensors of `source` to `target` in order; their names differ."""
    values = list(source.state_dict().values())
    names = list(target.state_dict())
    assert len(names) == len(values)
    target.load_state_dict(dict(zip(names, values, strict=True)))


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stream", list(Stream))
@pytest.mark.parametrize(("name", "depth"), [("r2plus1d", 18), ("r2plus1d", 50), ("c3d", 18)])
def test_shape_matches_a_real_forward_pass(
    stream: Stream, name: str, depth: int, draw: Draw
) -> None:
    encoder = build_encoder(stream, Backbone(name=name, depth=depth, width=8), seed=0)
    shape = encoder.shape(INPUTS[stream])
    features = encoder(draw(2, *INPUTS[stream]))
    assert features.embedding_BD.shape == (2, shape.width)
    assert list(features.maps) == list(shape.maps) == ["stage1", "stage2", "stage3", "stage4"]
    assert {stage: tuple(map_.shape[1:]) for stage, map_ in features.maps.items()} == shape.maps
    assert shape.input == INPUTS[stream]


def test_strides_are_32_in_space_and_4_in_time() -> None:
    encoder = build_encoder(Stream.RGB, SMALL, seed=0)
    for size, frames in itertools.product((32, 64, 112), (4, 8, 16)):
        shape = encoder.shape((3, frames, size, size))
        assert shape.maps["stage4"] == (256, frames // 4, -(-size // 32), -(-size // 32))


def test_sound_maps_are_as_wide_as_image_maps() -> None:
    for depth in (18, 50):
        backbone = Backbone(depth=depth, width=8)
        image = build_encoder(Stream.RGB, backbone, 0).shape(INPUTS[Stream.RGB])
        sound = build_encoder(Stream.AUDIO, backbone, 0).shape(INPUTS[Stream.AUDIO])
        assert image.width == sound.width
        assert [m[0] for m in image.maps.values()] == [m[0] for m in sound.maps.values()]
        assert {m[1] for m in sound.maps.values()} == {1}


@pytest.mark.parametrize("training", [True, False])
def test_shape_changes_no_state(training: bool) -> None:
    encoder = build_encoder(Stream.RGB, SMALL, seed=0).train(training)
    twin = build_encoder(Stream.RGB, SMALL, seed=0)
    before = torch.get_rng_state()
    encoder.shape(INPUTS[Stream.RGB])
    assert equal_states(encoder, twin)
    assert all(part.training is training for part in encoder.modules())
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_depend_only_on_seed_and_stream() -> None:
    torch.manual_seed(1)
    first = build_encoder(Stream.RGB, SMALL, seed=3)
    build_encoder(Stream.FLOW, SMALL, seed=3)
    torch.manual_seed(2)
    assert equal_states(first, build_encoder(Stream.RGB, SMALL, seed=3))
    assert not equal_states(first, build_encoder(Stream.RGB, SMALL, seed=4))
    gray = build_encoder(Stream.GRAY, SMALL, seed=3)
    deep = "network.stages.stage4.res_blocks.1.branch2.conv_a.weight"
    assert gray.state_dict()[deep].shape == first.state_dict()[deep].shape
    assert not torch.equal(gray.state_dict()[deep], first.state_dict()[deep])


def test_an_unknown_backbone_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown backbone 'r2plusd1': did you mean 'r2plus1d'\?"):
        build_encoder(Stream.RGB, Backbone(name="r2plusd1"), seed=0)


def test_pieces_are_folded_into_the_batch_and_back(rgb: Encoder, draw: Draw) -> None:
    pixels = draw(2, 3, 3, 4, 32, 32)
    together = rgb(pixels)  # in train mode, BatchNorm sees all pieces as one batch
    flat = rgb(pixels.reshape(6, 3, 4, 32, 32))
    assert torch.equal(together.embedding_BD, flat.embedding_BD.reshape(2, 3, -1))
    assert together.maps["stage2"].shape == (2, 3, *flat.maps["stage2"].shape[1:])
    assert torch.equal(together.maps["stage2"].flatten(0, 1), flat.maps["stage2"])


def test_the_embedding_is_the_mean_of_the_last_map(rgb: Encoder, draw: Draw) -> None:
    features = rgb.eval()(draw(2, 3, 8, 64, 64)).detach()
    naive = [
        [channel.double().sum().item() / channel.numel() for channel in clip]
        for clip in features.maps["stage4"]
    ]
    torch.testing.assert_close(features.embedding_BD, torch.tensor(naive))


@pytest.mark.parametrize("training", [True, False])
def test_depth_50_matches_pytorchvideo(training: bool, rgb: Encoder, draw: Draw) -> None:
    theirs = create_r2plus1d(
        model_depth=50, stem_dim_out=8, model_num_class=5, head_pool_kernel_size=(2, 1, 1)
    )
    theirs.blocks[-1] = nn.Flatten()
    set_weights(theirs, rgb)
    pixels = draw(3, 3, 8, 32, 32)
    their_map = theirs.double().train(training)(pixels.double()).view(3, 256, 2, 1, 1)
    ours = rgb.double().train(training)(pixels.double())
    torch.testing.assert_close(ours.maps["stage4"], their_map)


def test_c3d_is_four_convolutions_with_batchnorm(draw: Draw) -> None:
    """Compared with a sequence of torch's functions."""
    encoder = build_encoder(Stream.RGB, Backbone(name="c3d", width=4), seed=0).train()
    x = draw(3, 3, 8, 32, 32)
    ours = encoder(x)
    values = iter(encoder.parameters())
    for stride, pad in (
        ((1, 2, 2), (1, 2, 2)),
        ((1, 2, 2), (1, 1, 1)),
        ((2, 2, 2), (1, 1, 1)),
        ((1, 1, 1), (1, 1, 1)),
    ):
        x = functional.conv3d(x, next(values), stride=stride, padding=pad)
        x = functional.batch_norm(x, None, None, next(values), next(values), training=True).relu()
    assert x.shape == (3, 64, 4, 4, 4)
    torch.testing.assert_close(ours.maps["stage4"], x)
    torch.testing.assert_close(ours.embedding_BD, x.mean(dim=(2, 3, 4)))


def test_depth_18_matches_torchvision(draw: Draw) -> None:
    ours = build_encoder(Stream.RGB, Backbone(depth=18, width=64), seed=0).eval()
    theirs = r2plus1d_18().eval()
    theirs.fc = nn.Identity()
    set_weights(theirs, ours)
    pixels = draw(1, 3, 4, 32, 32)
    torch.testing.assert_close(ours(pixels).embedding_BD, theirs(pixels))


@pytest.mark.parametrize("depth", [18, 50])
def test_sound_matches_torchvisions_resnet_without_its_pool(depth: int, draw: Draw) -> None:
    ours = build_encoder(Stream.AUDIO, Backbone(depth=depth, width=64), seed=0).eval()
    block = resnet.Bottleneck if depth == 50 else resnet.BasicBlock
    theirs = resnet.ResNet(block, [2, 2, 2, 2]).eval()
    theirs.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    theirs.maxpool, theirs.fc = nn.Identity(), nn.Identity()
    theirs.inplanes = 64
    theirs.layer1 = theirs._make_layer(block, 64, 2, stride=2).eval()
    # Their blocks hold conv, bn, conv, bn, ... in the same order; our kernels have depth 1.
    values = [v.squeeze(2) if v.ndim == 5 else v for v in ours.state_dict().values()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    sound = draw(2, 1, 1, 40, 67)
    torch.testing.assert_close(ours(sound).embedding_BD, theirs(sound.squeeze(2)))


@pytest.mark.parametrize("stream", list(Stream))
def test_every_weight_of_every_stream_gets_a_gradient(stream: Stream, draw: Draw) -> None:
    encoder = build_encoder(stream, Backbone(depth=18, width=8), seed=0)
    encoder(draw(4, *INPUTS[stream])).embedding_BD.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())


@pytest.mark.parametrize("stream", list(Stream))
def test_channels_last_keeps_the_outputs(stream: Stream, draw: Draw) -> None:
    encoder = build_encoder(stream, SMALL, seed=0).eval()
    pixels = draw(2, *INPUTS[stream])
    plain = encoder(pixels).embedding_BD
    last = encoder.to(memory_format=torch.channels_last_3d)(
        pixels.to(memory_format=torch.channels_last_3d)
    ).embedding_BD
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)


def test_bf16_autocast_is_near_float32(rgb: Encoder, draw: Draw) -> None:
    pixels = draw(4, 3, 8, 32, 32)
    plain = rgb(pixels).embedding_BD
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = rgb(pixels).embedding_BD
    assert torch.cosine_similarity(low.float(), plain, dim=1).min() > 0.98
    low.float().square().sum().backward()
    # Values are not checked: torch 2.14's bf16 convolution on the CPU sometimes leaves the gradient
    # of one kernel uninitialised (seen in 1 of 12 runs). Training uses bf16 on GPUs only.
    assert all(p.grad is not None for p in rgb.parameters())
