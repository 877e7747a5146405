"""The builders that we use of pytorchvideo, and a fix for the strides that they set.

Importing pytorchvideo also compiles a loss of fvcore that is not used here, with a deprecated
function; the warning about it is suppressed.
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
    """Return the network with its strides as ints: torch.export and ONNX refuse NumPy integers."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(int(step) for step in module.stride)
    return network
