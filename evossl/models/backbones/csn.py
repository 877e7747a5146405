"""CSN: a ResNet whose 3 x 3 x 3 convolutions keep channels apart and whose 1 x 1 x 1 ones mix them.

Tran, Wang, Torresani, Feiszli, Video Classification with Channel-Separated Convolutional Networks,
ICCV 2019: the interaction-reduced one, ir-CSN-50.
"""

from torch import nn

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.models.backbones.pytorchvideo import create_csn, with_int_strides
from evossl.models.backbones.stages import Stages

DEPTH = 50


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network: D = 32 x width, space / 16, time / 8.

    The stem has no pool, by its builder's default and unlike the paper's: clips are small here.

    Raises:
        UserError: another depth.
    """
    if backbone.depth != DEPTH:
        raise UserError(f"backbone.depth: csn has only {DEPTH}, got {backbone.depth}")
    network = create_csn(
        input_channel=channels, model_depth=DEPTH, model_num_class=1, stem_dim_out=backbone.width
    )
    stem, *stages, _head = network.blocks
    return with_int_strides(Stages(stem, stages))
