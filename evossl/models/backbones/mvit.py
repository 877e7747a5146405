"""MViT: a video transformer with four stages, each with fewer tokens and more channels.

Li, Wu, Fan, Mangalam, Xiong, Malik, Feichtenhofer, MViTv2: Improved Multiscale Vision Transformers
for Classification and Detection, CVPR 2022: the blocks of MViTv2-S, whose width is 96.

Shapes: B clip, C channel, T time, H height, W width, N token.
"""

from itertools import accumulate, pairwise
from typing import cast

from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT

from evossl.config import Backbone
from evossl.types import Features

BLOCKS = (1, 2, 11, 2)  # per stage
TABLE_INPUT = (16, (64, 64))  # frames and pixels for which the position tables are made


class VideoTransformer(nn.Module):
    """A transformer on patches of clips of any length and size.

    Positions are relative; torchvision's attention resamples their tables for other input sizes.
    The class token takes part in attention but is in no map.
    """

    def __init__(self, patches: nn.Conv3d, network: MViT) -> None:
        super().__init__()
        self.patches = patches
        self.token = network.pos_encoding
        blocks = cast(nn.ModuleList, network.blocks)
        spans = pairwise([0, *accumulate(BLOCKS)])
        self.stages = nn.ModuleDict(
            {f"stage{i}": blocks[start:end] for i, (start, end) in enumerate(spans, 1)}
        )
        self.norm = network.norm

    def forward(self, pixels_BCTHW: Tensor) -> Features:
        """Return the features of a batch of clips; the embedding is the last map's mean."""
        patches_BCTHW = self.patches(pixels_BCTHW)
        size = tuple(patches_BCTHW.shape[2:])
        x_BNC = self.token(patches_BCTHW.flatten(2).transpose(1, 2))
        maps = {}
        for name, stage in self.stages.items():
            for block in cast(nn.ModuleList, stage):
                x_BNC, size = block(x_BNC, size)
            if name == "stage4":
                x_BNC = self.norm(x_BNC)
            maps[name] = x_BNC[:, 1:].transpose(1, 2).unflatten(2, size)
        return Features(maps["stage4"].mean(dim=(2, 3, 4)), maps)


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return torchvision's network, with `width` channels in stage 1.

    The embedding has D = 8 x width. The last map has 1/32 of the pixels per side and 1/2 of the
    frames. `depth` is ignored. There is no stochastic depth, because it would draw from torch's
    global random state.
    """
    frames, size = TABLE_INPUT
    network = MViT(
        spatial_size=size,
        temporal_size=frames,
        block_setting=_blocks(backbone.width),
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
    )
    patches = nn.Conv3d(channels, backbone.width, (3, 7, 7), (2, 4, 4), (1, 3, 3))
    return VideoTransformer(patches, network)


def _blocks(width: int) -> list[MSBlockConfig]:
    """Return the blocks of MViTv2-S, with keys pooled half as much per axis.

    112 pixels then have as many keys as 224 pixels have in the paper.
    """
    blocks = []
    for stage, count in enumerate(BLOCKS):
        dim_out, key_stride = width << stage, max(1, 4 >> stage)
        for i in range(count):
            is_transition = stage > 0 and i == 0
            blocks.append(
                MSBlockConfig(
                    num_heads=1 << stage,
                    input_channels=dim_out // 2 if is_transition else dim_out,
                    output_channels=dim_out,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if is_transition else [1, 1, 1],
                    stride_kv=[1, key_stride, key_stride],
                )
            )
    return blocks
