"""CSN: a ResNet with depthwise 3 x 3 x 3 convolutions; 1 x 1 x 1 convolutions mix channels.

Tran, Wang, Torresani, Feiszli, Video Classification with Channel-Separated Convolutional Networks,
ICCV 2019: the interaction-reduced variant, ir-CSN-50.
"""

from torch import nn

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.models.backbones.factorised_conv import factorise_convolutions
from evossl.models.backbones.pytorchvideo import adapted, create_csn
from evossl.models.backbones.stages import StagedNetwork

DEPTH = 50


def build(channels: int, backbone: Backbone) -> nn.Module:
    """Return pytorchvideo's network, with `width` channels in the stem.

    The embedding has D = 32 x width. The last map has 1/16 of the pixels per side and 1/8 of the
    frames. Unlike the paper's, the stem has no pooling (the default of pytorchvideo), because clips
    are small here.

    Raises:
        UserError: the depth is not 50.
    """
    if backbone.depth != DEPTH:
        raise UserError(f"backbone.depth: csn exists only with depth {DEPTH}, got {backbone.depth}")
    network = create_csn(
        input_channel=channels, model_depth=DEPTH, model_num_class=1, stem_dim_out=backbone.width
    )
    stem, *stages, _head = network.blocks
    return factorise_convolutions(adapted(StagedNetwork(stem, stages)))
