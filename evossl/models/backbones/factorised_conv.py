"""Factorised convolutions: 3-D convolutions over space or over time alone, computed in 2-D.

In channels-last memory, (B, T, H, W, C), a 1 x k x k convolution is a 2-D convolution of the view
(B * T, C, H, W), a k x 1 x 1 one a 2-D convolution of the view (B, C, T, H * W), and a 1 x 1 x 1
one a matrix product. These views copy nothing, and the 2-D kernels of a CPU are faster than its 3-D
ones (docs/performance.md). On a GPU the outputs are the same; its speed has not been measured.

Shapes: B clip, C channel, T time, H height, W width.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

UNUSED = (1, 1, 0)  # kernel, stride and padding of an axis that a convolution leaves as it is


class FactorisedConv3d(nn.Conv3d):
    """A 3-D convolution that computes in 2-D where its kernel allows it.

    Its weights, their names and its outputs are those of `nn.Conv3d`, apart from rounding. An input
    in another memory format is copied. `nn.Conv3d` computes all other kernels.
    """

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Return the output map, in channels-last memory."""
        x_BCTHW = x_BCTHW.contiguous(memory_format=torch.channels_last_3d)
        # On the meta device, `conv2d` returns another memory format; elsewhere this copies nothing.
        return self._convolve(x_BCTHW).contiguous(memory_format=torch.channels_last_3d)

    def _convolve(self, x_BCTHW: Tensor) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or not self._is_safe:
            return super().forward(x_BCTHW)
        time, *space = zip(self.kernel_size, self.stride, self.padding, strict=True)
        if set(self.kernel_size) == {1} and not any(self.padding) and self.groups == 1:
            return self._mix_channels(x_BCTHW)
        if time == UNUSED:
            return self._convolve_space(x_BCTHW)
        if space == [UNUSED, UNUSED]:
            return self._convolve_time(x_BCTHW)
        return super().forward(x_BCTHW)

    @property
    def _is_safe(self) -> bool:
        """Whether the 2-D gradients are right, which in torch 2.14 they are not for some groups.

        With a batch of one, in channels-last memory and float64, `conv2d` returns wrong gradients
        of the weights if several groups have several channels each.
        """
        return self.groups in (1, self.in_channels)

    def _mix_channels(self, x_BCTHW: Tensor) -> Tensor:
        # With strides, `conv2d` would be as fast, but torch 2.14 crashes in its backward pass for
        # one sample in channels-last memory.
        time, height, width = self.stride
        x_BTHWC = x_BCTHW[:, :, ::time, ::height, ::width].permute(0, 2, 3, 4, 1)
        return F.linear(x_BTHWC, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)

    def _convolve_space(self, x_BCTHW: Tensor) -> Tensor:
        frames = x_BCTHW.transpose(1, 2)
        out = F.conv2d(
            frames.flatten(0, 1),
            self.weight.squeeze(2),
            self.bias,
            self.stride[1:],
            _zeros_around(self)[1:],
            self.dilation[1:],
            self.groups,
        )
        return out.view(*frames.shape[:2], *out.shape[1:]).transpose(1, 2)

    def _convolve_time(self, x_BCTHW: Tensor) -> Tensor:
        out = F.conv2d(
            x_BCTHW.flatten(3),
            self.weight.squeeze(4),
            self.bias,
            (self.stride[0], 1),
            (_zeros_around(self)[0], 0),
            (self.dilation[0], 1),
            self.groups,
        )
        return out.view(*out.shape[:3], *x_BCTHW.shape[3:])


def _zeros_around(conv: nn.Conv3d) -> tuple[int, ...]:
    assert not isinstance(conv.padding, str)
    return conv.padding


def factorise_convolutions(network: Module) -> Module:
    """Return the network with its 3-D convolutions computed in 2-D where their kernels allow it.

    The modules are changed in place, and keep their weights and names. All weights are converted to
    channels-last memory, in which maps then stay from the first convolution on.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.__class__ = FactorisedConv3d
    return network.to(memory_format=torch.channels_last_3d)
