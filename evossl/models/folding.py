"""Networks for inference: BatchNorm folded into the convolutions.

In eval mode BatchNorm multiplies and shifts each channel by constants. The weights and biases of a
convolution before it can do the same, which saves reading and writing its output once more.
"""

import copy
from collections import Counter
from typing import TypeVar

import torch
from torch import fx, nn

Module = TypeVar("Module", bound=nn.Module)


def fold_batch_norms(network: Module) -> Module:
    """Return a copy in eval mode whose convolutions do the work of the BatchNorms after them.

    Its outputs are those of the network in eval mode, apart from rounding. It takes no gradients.
    A BatchNorm remains if it does not follow a convolution, if anything else reads the output of
    that convolution, or if torch.fx cannot trace the network.
    """
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    modules = dict(folded.named_modules())
    for conv_name, norm_name in _foldable(folded):
        conv, norm = modules[conv_name], modules[norm_name]
        assert isinstance(conv, nn.Conv3d)
        assert isinstance(norm, nn.BatchNorm3d)
        _fold(conv, norm)
        folded.set_submodule(norm_name, nn.Identity())
    return folded


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_leaf = isinstance(m, nn.Conv3d | nn.BatchNorm3d)
        return is_leaf or super().is_leaf_module(m, module_qualified_name)


def _foldable(network: nn.Module) -> list[tuple[str, str]]:
    """Return (convolution, BatchNorm) by name, each of which the network applies once."""
    try:
        graph = _Tracer().trace(network)
    except (fx.proxy.TraceError, TypeError):  # its forward pass depends on values or sizes
        return []
    modules = dict(network.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    count = Counter(id(modules[node.target]) for node in calls)
    pairs = []
    for node in calls:
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        is_pair = isinstance(conv, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d)
        if is_pair and norm.running_var is not None and count[id(conv)] == count[id(norm)] == 1:
            pairs.append((str(before.target), str(node.target)))
    return pairs


@torch.no_grad()
def _fold(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
    """Change the weights of a convolution so that its output is that of the BatchNorm after it."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    bias = -norm.running_mean * scale
    if conv.bias is not None:
        bias = bias + conv.bias * scale
    if norm.affine:
        bias = bias + norm.bias
    conv.weight.copy_(conv.weight * scale.view(-1, 1, 1, 1, 1))
    conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
