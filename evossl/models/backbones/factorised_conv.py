"""Factorised convolutions: 3-D convolutions over space or over time alone, computed in 2-D.

In channels-last memory, (B, T, H, W, C), a 1 x k x k convolution is a 2-D convolution of the view
(B * T, C, H, W), a k x 1 x 1 one a 2-D convolution of the view (B, C, T, H * W), and a 1 x 1 x 1
one a matrix product. These views copy nothing, and the 2-D kernels of a CPU are faster than its 3-D
ones (docs/performance.md). On a GPU the outputs are the same; its speed has not been measured.

All other kernels stay 3-D. Large kernels over space have plain memory: in channels-last memory,
torch copies the gradient of their weights twice, from one memory format to the other and back.

Shapes: B clip, C channel, T time, H height, W width.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

MIN_PLAIN_WEIGHTS = 2**19
"""From this number of weights on, a convolution over space computes in plain memory.

Time of one convolution, forward and backward, in plain memory with copies of its input and output,
over that in channels-last memory (2026-12-01, 8 clips): for 3 x 3 x 3 and 128 channels 1.14
(4 x 16 x 16) and 1.08 (2 x 8 x 8), 256 channels 0.83 (2 x 8 x 8), 512 channels 0.41 (1 x 4 x 4);
for 1 x 3 x 3 and 128 channels 1.17 (8 x 8 x 8), 256 channels 0.85 (4 x 4 x 4), 512 channels 0.57
(2 x 2 x 2). Kernels over time alone gain nothing.
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
        return super().forward(x_BCTHW.contiguous() if self._is_plain else x_BCTHW)

    @property
    def prefers_plain_memory(self) -> bool:
        """Whether this kernel is faster in plain memory, with weights in plain memory."""
        spans_space = max(self.kernel_size[1:]) > 1
        return spans_space and self.groups == 1 and self.weight.numel() >= MIN_PLAIN_WEIGHTS

    @property
    def _is_plain(self) -> bool:
        return self.prefers_plain_memory and self.weight.is_contiguous()

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
        images = frames.flatten(0, 1)
        out = F.conv2d(
            images.contiguous() if self._is_plain else images,
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
    kernels over space are in plain memory; see `MIN_PLAIN_WEIGHTS`.
    """
    network.to(memory_format=torch.channels_last_3d)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.__class__ = FactorisedConv3d
            if module.prefers_plain_memory:
                module.weight.data = module.weight.data.contiguous()
    return network
