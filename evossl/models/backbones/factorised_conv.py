"""Factorised convolutions: 3-D convolutions over space or over time alone, computed in 2-D.

In channels-last memory, (B, T, H, W, C), a 1 x k x k convolution is a 2-D convolution of the view
(B * T, C, H, W), a k x 1 x 1 one a 2-D convolution of the view (B, C, T, H * W), and a 1 x 1 x 1
one a matrix product. These views copy nothing, and the 2-D kernels of a CPU are faster than its 3-D
ones (docs/performance.md). On a GPU the outputs are the same; its speed has not been measured.

A k x k x k convolution stays 3-D. If it has many weights, they have plain memory: in channels-last
memory the CPU's kernel returns the gradient of the weights in plain memory, and torch converts it
twice, which takes as long as the rest of the backward pass.

Shapes: B clip, C channel, T time, H height, W width.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

MIN_PLAIN_WEIGHTS = 2**20
"""From this number of weights on, a 3-D convolution computes in plain memory.

One convolution, forward and backward, in plain memory with a copy of its input and output, over
channels-last memory (2026-12-01, 8 clips): 1.14 and 1.08 for 128 x 128 x 27 weights (128 channels,
4 x 16 x 16 and 2 x 8 x 8), 0.83 for 256 x 256 x 27 (256, 2 x 8 x 8), 0.41 for 512 x 512 x 27
(512, 1 x 4 x 4).
"""

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
            return self._convolve_in_3d(x_BCTHW)
        time, *space = zip(self.kernel_size, self.stride, self.padding, strict=True)
        if set(self.kernel_size) == {1} and not any(self.padding) and self.groups == 1:
            return self._mix_channels(x_BCTHW)
        if time == UNUSED:
            return self._convolve_space(x_BCTHW)
        if space == [UNUSED, UNUSED]:
            return self._convolve_time(x_BCTHW)
        return self._convolve_in_3d(x_BCTHW)

    def _convolve_in_3d(self, x_BCTHW: Tensor) -> Tensor:
        if self.weight.is_contiguous() and self.has_many_weights:
            x_BCTHW = x_BCTHW.contiguous()
        return super().forward(x_BCTHW)

    @property
    def has_many_weights(self) -> bool:
        """Whether a 3-D convolution with this kernel is faster in plain memory."""
        return self.groups == 1 and self.weight.numel() >= MIN_PLAIN_WEIGHTS

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

    The modules are changed in place, and keep their weights and names. Weights are converted to
    channels-last memory, in which maps then stay from the first convolution on. Only those of large
    3-D kernels remain in plain memory; see `MIN_PLAIN_WEIGHTS`.
    """
    network.to(memory_format=torch.channels_last_3d)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.__class__ = FactorisedConv3d
            if min(module.kernel_size) > 1 and module.has_many_weights:
                module.weight.data = module.weight.data.contiguous()
    return network
