"""The builders that we use of pytorchvideo, and an adaptation of the networks that they return.

Importing pytorchvideo also compiles a loss of fvcore that is not used here, with a deprecated
function; the warning about it is suppressed.
"""

import warnings
from typing import TypeVar

from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
    from pytorchvideo.models.csn import create_csn
    from pytorchvideo.models.r2plus1d import create_r2plus1d
    from pytorchvideo.models.resnet import ResBlock
    from pytorchvideo.models.slowfast import create_slowfast
    from pytorchvideo.models.x3d import create_x3d_res_stage, create_x3d_stem

__all__ = [
    "adapted",
    "create_csn",
    "create_r2plus1d",
    "create_slowfast",
    "create_x3d_res_stage",
    "create_x3d_stem",
]

Module = TypeVar("Module", bound=nn.Module)


def adapted(network: Module) -> Module:
    """Return the network with int strides, and with ReLUs and residual sums computed in place.

    torch.export and ONNX refuse pytorchvideo's strides, which are NumPy integers. In place, a step
    touches less memory; the outputs are the same to the bit. Every ReLU and every residual branch
    follows a normalisation, whose output nothing else reads.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = tuple(int(step) for step in module.stride)
        elif isinstance(module, nn.ReLU):
            module.inplace = True
        elif isinstance(module, ResBlock):
            module.branch_fusion = _add_in_place
    return network


def _add_in_place(shortcut: Tensor, branch: Tensor) -> Tensor:
    return branch.add_(shortcut)
