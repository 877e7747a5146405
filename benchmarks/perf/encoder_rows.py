"""Rows about the encoder alone: against the libraries' networks, and against a matrix product.

All use one thread and clips of 8 x 64 x 64, and keep the memory that tensors free, as training
does. They count that thread's CPU time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from pytorchvideo.models.csn import create_csn
from pytorchvideo.models.r2plus1d import create_r2plus1d
from pytorchvideo.models.slowfast import create_slowfast
from pytorchvideo.models.x3d import create_x3d
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video import r3d_18, s3d

from evossl.config import Backbone
from evossl.models.encoder import Encoder, build_encoder
from evossl.training.memory_use import keep_freed_memory
from evossl.types import Stream
from perf.bench_folder import BenchFolder
from perf.measurement import Measurement, Row, measure_ratio, ratios_of, seconds_per_call

CLIPS = (8, 3, 8, 64, 64)  # clips, channels, frames, height, width
MATRIX = 2048  # rows and columns of the factors of the matrix product
PASSES = 3  # forward and backward passes per repeat
REPEATS = 15  # of the share of a matrix product


def _without_head(network: nn.Module) -> nn.Module:
    blocks = network.blocks
    assert isinstance(blocks, nn.ModuleList)
    return nn.Sequential(*blocks[:-1])


def _r2plus1d_50(width: int) -> nn.Module:
    return _without_head(
        create_r2plus1d(
            model_depth=50, model_num_class=1, stem_dim_out=width, head_pool_kernel_size=(1, 1, 1)
        )
    )


def _csn(width: int) -> nn.Module:
    return _without_head(create_csn(model_depth=50, stem_dim_out=width))


def _x3d(width: int) -> nn.Module:
    clip = {"input_clip_length": CLIPS[2], "input_crop_size": CLIPS[3]}
    return _without_head(create_x3d(stem_dim_in=width // 2, **clip))


def _r3d_18(width: int) -> nn.Module:
    assert width == 64, width
    return nn.Sequential(*list(r3d_18().children())[:5])


def _s3d(width: int) -> nn.Module:
    assert width == 64, width
    features = s3d().features
    assert isinstance(features, nn.Module)
    return features


class _SlowFast(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.network = create_slowfast(
            model_depth=50,
            stem_dim_outs=(width, width // 8),
            head=None,
            head_pool=nn.AdaptiveAvgPool3d,
            head_output_size=((1, 1, 1), (1, 1, 1)),
        )

    def forward(self, pixels_BCTHW: Tensor) -> Tensor:
        pooled: Tensor = self.network([pixels_BCTHW[:, :, ::4], pixels_BCTHW])
        return pooled


@dataclass(frozen=True)
class Rival:
    """A network of a library and the encoder of ours that computes the same.

    Attributes:
        backbone: ours.
        build: the library's network, without its head, for a width.
        target: the largest acceptable ratio of our time to the library's.
    """

    backbone: Backbone
    build: Callable[[int], nn.Module]
    target: float


RIVALS = {
    "R(2+1)D-50 of width 16": Rival(
        Backbone(name="r2plus1d", depth=50, width=16), _r2plus1d_50, 0.65
    ),
    "R(2+1)D-50 of width 64": Rival(
        Backbone(name="r2plus1d", depth=50, width=64), _r2plus1d_50, 0.65
    ),
    "S3D of width 64": Rival(Backbone(name="s3d", depth=18, width=64), _s3d, 0.8),
    "ir-CSN-50 of width 16": Rival(Backbone(name="csn", depth=50, width=16), _csn, 1.0),
    "X3D of width 24": Rival(Backbone(name="x3d", depth=18, width=24), _x3d, 1.0),
    "R3D-18 of width 64": Rival(Backbone(name="r3d", depth=18, width=64), _r3d_18, 1.0),
    "SlowFast-50 of width 16": Rival(Backbone(name="slowfast", depth=50, width=16), _SlowFast, 1.0),
}


def against_library(bench: BenchFolder, rival: Rival) -> Measurement:
    """Return the time of our forward and backward pass over that of the library's network."""
    keep_freed_memory()
    ours = build_encoder(Stream.RGB, rival.backbone, 0)
    theirs = rival.build(rival.backbone.width)
    _copy_weights(ours, theirs)
    x = torch.rand(CLIPS, generator=torch.Generator().manual_seed(0))

    def embed(network: nn.Module) -> Tensor:
        map_ = network(x)
        embedding: Tensor = map_.mean(dim=(2, 3, 4)) if map_.ndim == 5 else map_
        return embedding.flatten(1)

    with torch.no_grad():
        wanted, found = embed(theirs.eval()), ours.eval()(x).embedding_BD
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    ours.train(), theirs.train()
    return measure_ratio(
        lambda: _differentiate(ours, lambda: ours(x).embedding_BD),
        lambda: _differentiate(theirs, lambda: embed(theirs)),
        calls=1 if rival.backbone.width == 64 else PASSES,
        clock=time.thread_time,
    )


def _copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy the library's initial weights, in order: the names differ, and a head may follow."""
    source, target = theirs.state_dict().values(), ours.state_dict().values()
    with torch.no_grad():
        for tensor, twin in zip(islice(source, len(target)), target, strict=True):
            assert tensor.shape == twin.shape
            twin.copy_(tensor)


def _differentiate(network: nn.Module, embed: Callable[[], Tensor]) -> None:
    network.zero_grad(set_to_none=True)
    loss = embed().square().sum()
    loss.backward()  # type: ignore[no-untyped-call]


def share_of_matrix_product(bench: BenchFolder) -> Measurement:
    """Return the operations per second of a forward and backward pass over a matrix product's."""
    keep_freed_memory()
    encoder: Encoder = build_encoder(Stream.RGB, Backbone(name="r2plus1d", depth=50, width=64), 0)
    x, factor = torch.rand(CLIPS), torch.rand(MATRIX, MATRIX)

    def step() -> None:
        _differentiate(encoder, lambda: encoder(x).embedding_BD)

    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops()
    fraction = 2 * MATRIX**3 / operations  # of the step's operations
    pairs = []
    for _ in range(REPEATS):
        product = seconds_per_call(lambda: factor @ factor, clock=time.thread_time)
        pairs.append((product / fraction, seconds_per_call(step, clock=time.thread_time)))
    values = ratios_of(pairs).values
    product, ours = (sorted(side)[REPEATS // 2] for side in zip(*pairs, strict=True))
    speeds = f"{operations / ours / 1e9:.0f} and {operations / product / 1e9:.0f} GFLOP/s"
    return Measurement(values, f"{operations / 1e9:.0f} GFLOP: {speeds}")


ROWS = (
    *(
        Row(
            f"encoder-{rival.backbone.name}-{rival.backbone.depth}-{rival.backbone.width}",
            f"encoder, forward and backward, {name}",
            "the library's network with the same weights",
            rival.target,
            partial(against_library, rival=rival),
        )
        for name, rival in RIVALS.items()
    ),
    Row(
        "matrix-share",
        "operations per second of R(2+1)D-50 of width 64, forward and backward",
        f"a product of two {MATRIX} x {MATRIX} matrices",
        0.3,
        share_of_matrix_product,
        better="high",
    ),
)
