"""What is taken of pytorchvideo: its builders, and their numbers made plain.

Its import scripts a loss of fvcore's that nobody here calls: the warning about it is kept down.
"""

import warnings
from typing import TypeVar

from torch import nn

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.slowfast import create_slowfast
    from pytorchvideo.models.x3d import create_x3d_res_stage, create_x3d_stem

__all__ = [
    "create_csn",
    "create_r2plus1d",
    "create_slowfast",
    "create_x3d_res_stage",
    "create_x3d_stem",
    "with_int_strides",
]

Module = TypeVar("Module", bound=nn.Module)


def with_int_strides(network: Module) -> Module:
    """Return the network with strides that are ints: torch.export and ONNX refuse numpy's."""
    for part in network.modules():
        if isinstance(part, nn.Conv3d):
            part.stride = tuple(int(step) for step in part.stride)
    return network
