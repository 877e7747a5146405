"""Precise BatchNorm: population statistics, whatever statistics and mode were before."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evossl.errors import RunError
from evossl.models.encoder import Encoder
from evossl.models.precise_bn import update_bn_statistics

Draw = Callable[..., Tensor]


def statistics(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_a_layer_gets_the_population_mean_and_variance(draw: Draw) -> None:
    layer = nn.BatchNorm3d(3)
    x = draw(7, 3, 2, 4, 5) * 3 + torch.arange(3).view(3, 1, 1, 1) * 100
    update_bn_statistics(layer, [x[:2], x[2:7]])
    for channel in range(3):
        values = x[:, channel].double().numpy().ravel()
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert np.isclose(layer.running_mean[channel].item(), mean, rtol=1e-6)
        assert np.isclose(layer.running_var[channel].item(), variance, rtol=1e-4)


def test_batch_boundaries_do_not_matter(draw: Draw) -> None:
    x = draw(12, 4, 3, 3, 3)
    one, other = nn.BatchNorm3d(4), nn.BatchNorm3d(4)
    update_bn_statistics(one, [x])
    update_bn_statistics(other, [x[:2], x[2:5], x[5:]])
    torch.testing.assert_close(statistics(one), statistics(other))


def test_one_batch_normalises_alike_in_train_and_eval_mode(rgb: Encoder, draw: Draw) -> None:
    pixels = draw(8, 3, 8, 32, 32)
    update_bn_statistics(rgb, [pixels])
    wanted = rgb.train()(pixels).embedding_BD.detach()
    update_bn_statistics(rgb, [pixels])
    torch.testing.assert_close(rgb.eval()(pixels).embedding_BD, wanted, rtol=1e-3, atol=1e-3)


def test_updating_twice_changes_nothing(rgb: Encoder, draw: Draw) -> None:
    batches = [draw(4, 3, 8, 32, 32), draw(4, 3, 8, 32, 32) * 2 + 1]
    update_bn_statistics(rgb, batches)
    first = statistics(rgb)
    update_bn_statistics(rgb, batches)
    second = statistics(rgb)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_previous_statistics_are_forgotten(rgb: Encoder, draw: Draw) -> None:
    batches = [draw(4, 3, 8, 32, 32)]
    update_bn_statistics(rgb, batches)
    first = statistics(rgb)
    for name, buffer in rgb.named_buffers():
        if "running" in name:
            buffer.fill_(float("nan"))
    update_bn_statistics(rgb, batches)
    assert all(torch.equal(buffer, first[name]) for name, buffer in rgb.named_buffers())


def test_nothing_but_the_statistics_changes(rgb: Encoder, draw: Draw) -> None:
    rgb.eval()
    rgb.network.get_submodule("stages.stage2").train()
    modes = [part.training for part in rgb.modules()]
    weights = [p.clone() for p in rgb.parameters()]
    counts = [b.clone() for name, b in rgb.named_buffers() if "num_batches" in name]
    names = list(rgb.state_dict())
    update_bn_statistics(rgb, [draw(2, 3, 8, 32, 32)])
    assert [part.training for part in rgb.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(rgb.parameters(), weights, strict=True))
    after = [b for name, b in rgb.named_buffers() if "num_batches" in name]
    assert all(torch.equal(a, b) for a, b in zip(after, counts, strict=True))
    assert list(rgb.state_dict()) == names
    norms = [part for part in rgb.modules() if isinstance(part, nn.BatchNorm3d)]
    assert all(part.momentum == 0.1 and not part._forward_pre_hooks for part in norms)
    assert all(p.grad is None for p in rgb.parameters())


def test_dropout_is_off_during_the_update(draw: Draw) -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(2))
    x = draw(50, 2)
    update_bn_statistics(model, [x])
    torch.testing.assert_close(model[1].running_var, x.var(dim=0, correction=0))


def test_an_interrupted_update_changes_nothing(rgb: Encoder, draw: Draw) -> None:
    def broken() -> Iterator[Tensor]:
        yield draw(2, 3, 8, 32, 32)
        raise OSError("the disk went away")

    before, names = statistics(rgb), list(rgb.state_dict())
    with pytest.raises(OSError, match="went away"):
        update_bn_statistics(rgb, broken())
    assert list(rgb.state_dict()) == names
    assert all(torch.equal(a, before[name]) for name, a in statistics(rgb).items())


def test_a_batch_of_one_clip_is_left_out(draw: Draw) -> None:
    x = draw(5, 2)
    one, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    update_bn_statistics(one, [x[:4], x[4:]])
    update_bn_statistics(other, [x[:4]])
    assert torch.equal(one.running_mean, other.running_mean)


def test_only_batches_of_one_clip_are_refused(draw: Draw) -> None:
    with pytest.raises(RunError, match="at least one batch of 2 or more clean clips"):
        update_bn_statistics(nn.BatchNorm1d(2), [draw(1, 2)])


@pytest.mark.parametrize(("layer", "num_drawn"), [(nn.LayerNorm(2), 0), (nn.BatchNorm1d(2), 3)])
def test_without_batchnorm_no_batch_is_drawn(draw: Draw, layer: nn.Module, num_drawn: int) -> None:
    network = nn.Sequential(nn.Linear(2, 2), layer).train()
    before = copy.deepcopy(network.state_dict())
    batches = iter([draw(4, 2), draw(4, 2), draw(4, 2)])
    update_bn_statistics(network, batches)
    assert 3 - len(list(batches)) == num_drawn
    same = all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert same == (num_drawn == 0)
    assert all(part.training for part in network.modules())
