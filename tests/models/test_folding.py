"""BatchNorm folded into convolutions: the same outputs, and nothing folded that must not be."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.models.encoder import BACKBONES, build_encoder
from evossl.models.folding import fold_batch_norms
from evossl.types import Stream

Draw = Callable[..., Tensor]
NOT_TRACEABLE = {"slowfast"}  # its forward pass depends on the number of frames
WITHOUT_BATCH_NORM = {"mvit"}


def with_random_statistics(network: nn.Module) -> nn.Module:
    """Give every BatchNorm weights and statistics that are neither 0 nor 1."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network.eval()


def num_batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_a_folded_backbone_has_the_same_features(name: str, draw: Draw) -> None:
    backbone = Backbone(name=name, width=8)
    network = with_random_statistics(build_encoder(Stream.RGB, backbone, 0).network)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    folded = fold_batch_norms(network)
    x = draw(2, 3, 8, 64, 64)
    with torch.no_grad():
        wanted, found = network(x), folded(x)
    spread = float(wanted.embedding_BD.std())
    torch.testing.assert_close(
        found.embedding_BD, wanted.embedding_BD, rtol=1e-5, atol=1e-5 * spread
    )
    for stage, map_ in wanted.maps.items():
        torch.testing.assert_close(
            found.maps[stage], map_, rtol=1e-5, atol=1e-5 * float(map_.abs().max())
        )
    if name not in NOT_TRACEABLE:
        assert num_batch_norms(folded) == 0
    if name not in WITHOUT_BATCH_NORM:
        assert num_batch_norms(network) > 0
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())


class Block(nn.Module):
    """A convolution, with or without a bias, and a BatchNorm of it; `combine` is the output."""

    def __init__(
        self,
        combine: Callable[["Block", Tensor], Tensor],
        norm: nn.BatchNorm3d | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(4, 4, 3, padding=1, bias=bias)
        self.norm = norm or nn.BatchNorm3d(4)
        self._combine = combine

    def forward(self, x: Tensor) -> Tensor:
        return self._combine(self, x)


def _plain(block: Block, x: Tensor) -> Tensor:
    return block.norm(block.conv(x))


def _with_shortcut(block: Block, x: Tensor) -> Tensor:
    out = block.conv(x)
    return out + block.norm(out)


def _twice(block: Block, x: Tensor) -> Tensor:
    return block.norm(block.conv(block.conv(x)))


def _norm_first(block: Block, x: Tensor) -> Tensor:
    return block.conv(block.norm(x))


def _depends_on_values(block: Block, x: Tensor) -> Tensor:
    return block.norm(block.conv(x)) if x.sum() > -1e9 else x


@pytest.mark.parametrize(
    ("block", "num_left"),
    [
        (Block(_plain), 0),
        (Block(_plain, bias=False), 0),
        (Block(_plain, nn.BatchNorm3d(4, affine=False)), 0),
        (Block(_plain, nn.BatchNorm3d(4, track_running_stats=False)), 1),
        (Block(_with_shortcut), 1),
        (Block(_twice), 1),
        (Block(_norm_first), 1),
        (Block(_depends_on_values), 1),
    ],
)
def test_only_a_batch_norm_of_one_convolution_is_folded(
    block: Block, num_left: int, draw: Draw
) -> None:
    if block.norm.running_mean is not None:
        block.norm.running_mean.copy_(draw(4))
    network, x = block.double().eval(), draw(2, 4, 4, 8, 8).double()
    folded = fold_batch_norms(network)
    assert num_batch_norms(folded) == num_left
    torch.testing.assert_close(folded(x), network(x), rtol=1e-9, atol=1e-9)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
