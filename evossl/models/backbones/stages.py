"""Staged networks: a stem followed by stages, the structure of most backbones.

Shapes: B clip, C channel, T time, H height, W width, D embedding.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Bottleneck

from evossl.types import Features

NUM_STAGES = 4


class StagedNetwork(nn.Module):
    """A stem, then `stage1`, `stage2`, ...; the embedding is the mean of the last map."""

    def __init__(self, stem: nn.Module, stages: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleDict({f"stage{i}": stage for i, stage in enumerate(stages, 1)})

    def forward(self, pixels_BCTHW: Tensor) -> Features:
        """Return the features of a batch of clips."""
        map_BCTHW = self.stem(pixels_BCTHW)
        maps = {}
        for name, stage in self.stages.items():
            map_BCTHW = stage(map_BCTHW)
            maps[name] = map_BCTHW
        return Features(map_BCTHW.mean(dim=(2, 3, 4)), maps)


def residual_stages(
    block: type[BasicBlock] | type[Bottleneck],
    conv: Callable[..., nn.Module],
    width: int,
    strides: tuple[int, int, int, int],
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2),
) -> list[nn.Module]:
    """Return four stages of residual blocks, with 1, 2, 4, 8 x `width` x expansion channels.

    Args:
        block: torchvision's basic or bottleneck block.
        conv: torchvision's convolution of the block, for example `Conv2Plus1D`.
        width: channels of the stem's map.
        strides: of each stage. `conv.get_downsample_stride` decides whether time is strided, too.
        blocks: number of blocks of each stage.
    """
    inner = [width * 2**i for i in range(NUM_STAGES)]
    outer = [width, *(channels * block.expansion for channels in inner)]
    return [
        nn.Sequential(
            block(dim_in, channels, conv, stride, _shortcut(dim_in, dim_out, conv, stride)),
            *(block(dim_out, channels, conv) for _ in range(1, count)),
        )
        for (dim_in, dim_out), channels, stride, count in zip(
            pairwise(outer), inner, strides, blocks, strict=True
        )
    ]


def _shortcut(
    dim_in: int, dim_out: int, conv: Callable[..., nn.Module], stride: int
) -> nn.Module | None:
    """Return a strided 1x1x1 convolution, or None if the block keeps the shape of the map."""
    if dim_in == dim_out and stride == 1:
        return None
    steps = conv.get_downsample_stride(stride)  # type: ignore[attr-defined]
    return nn.Sequential(
        nn.Conv3d(dim_in, dim_out, kernel_size=1, stride=steps, bias=False),
        nn.BatchNorm3d(dim_out),
    )


def init_convolutions(network: nn.Module) -> None:
    """Initialise 3-D convolutions with He's normal distribution (fan out), as for ResNets."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
