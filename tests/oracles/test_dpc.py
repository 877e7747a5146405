import math

import pytest
import torch
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.prediction import dpc_loss
from evossl.task import Place, TaskBatch, Term
from evossl.task_loader import load_catalogue
from evossl.types import EncoderShape, Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.naive_losses import rows

RGB = Term("dpc", Place((Stream.RGB,)))
OPTIONS = {"blocks": 5, "predicted_blocks": 2}
EDGES = ("random", "two clips", "still videos", "all in one point")


def make_edge_batch(edge: str, case: hand.Case) -> TaskBatch:
    """Return a batch of random maps, of equal maps in all blocks of a clip, or of one constant."""
    batch = hand.make_batch(case.views, num=2 if edge == "two clips" else 5)
    map_ = batch["blocks"].maps["stage4"]
    with torch.no_grad():
        if edge == "still videos":
            map_.copy_(map_[:, :1].expand_as(map_).clone())
        if edge == "all in one point":
            map_.fill_(0.5)
    return batch


def naive_loss(prediction_NC: list[list[float]], target_NC: list[list[float]]) -> float:
    """Return the mean of -log exp(p_i . z_i) / sum_j exp(p_i . z_j)."""
    total = 0.0
    for i, p in enumerate(prediction_NC):
        dots = [sum(a * b for a, b in zip(p, z, strict=True)) for z in target_NC]
        total += math.log(sum(math.exp(dot - max(dots)) for dot in dots)) + max(dots) - dots[i]
    return total / len(prediction_NC)


def roll_out(case: hand.Case, map_BNCTHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return predictions and targets, one row per clip, predicted block and position."""
    task, predictions, targets = case.task, [], []
    for block_NCTHW in map_BNCTHW:
        z_NCHW = task.input_projection(block_NCTHW.mean(dim=2))
        state = None
        for z_CHW in z_NCHW[:3]:
            state = task.aggregator(z_CHW[None].relu(), state)
        for z_CHW in z_NCHW[3:]:
            guess = task.predictor(state)
            state = task.aggregator(guess.relu(), state)
            places = [(h, w) for h in range(z_CHW.shape[1]) for w in range(z_CHW.shape[2])]
            predictions += [guess[0, :, h, w] for h, w in places]
            targets += [z_CHW[:, h, w] for h, w in places]
    return predictions, targets


@pytest.mark.parametrize("edge", EDGES)
def test_loss_equals_its_formula(edge: str) -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = make_edge_batch(edge, case)
    found = roll_out(case, batch["blocks"].maps["stage4"])
    expected = naive_loss(*(rows(torch.stack(x)) for x in found))
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


def test_collapsed_maps_cost_log_num_targets() -> None:
    case = hand.build(RGB, **OPTIONS)
    loss = case.task.loss(make_edge_batch("all in one point", case))
    assert math.isclose(loss.item(), math.log(5 * 2 * 4), rel_tol=1e-5)  # clips, steps, positions


@pytest.mark.parametrize("other", ["video", "time", "position"])
def test_negatives_differ_in_video_time_or_position(other: str) -> None:
    """The loss is ln 2 if another target fits as well as the own one, otherwise almost 0."""
    target_BPHC = 30 * torch.eye(8).reshape(2, 2, 2, 8)  # orthogonal targets
    prediction_BPHC = target_BPHC.clone() / 30
    axis = {"video": 0, "time": 1, "position": 2}[other]
    first, second = (target_BPHC.select(axis, i) for i in (0, 1))
    flat = (prediction_BPHC.flatten(0, 2), target_BPHC.flatten(0, 2))
    assert dpc_loss(*flat) < 1e-6
    second.copy_(first)
    loss = dpc_loss(prediction_BPHC.flatten(0, 2), target_BPHC.flatten(0, 2))
    assert loss > math.log(2) / 2


def test_gradient_matches_finite_differences() -> None:
    pair = torch.randn(2, 5, 3, generator=Generator().manual_seed(0), dtype=torch.float64)
    assert gradcheck(dpc_loss, tuple(x.requires_grad_() for x in pair.unbind()))


def test_gradient_reaches_past_and_future_blocks() -> None:
    case = hand.build(RGB, **OPTIONS)
    batch = hand.make_batch(case.views)
    case.task.loss(batch).backward()
    slope_N = batch["blocks"].maps["stage4"].grad.abs().sum(dim=(0, 2, 3, 4, 5))
    assert (slope_N > 0).all()


def test_finer_maps_are_averaged_to_4_by_4() -> None:
    shape = EncoderShape(8, {"stage4": (8, 4, 14, 14)}, (3, 8, 112, 112))
    task = load_catalogue()["dpc"](Place((Stream.RGB,), shapes={Stream.RGB: shape}), **OPTIONS)
    map_BNCTHW = torch.randn(2, 5, 8, 2, 14, 14, generator=Generator().manual_seed(0))
    batch = hand.make_batch(hand.build(RGB, **OPTIONS).views, num=2)
    batch["blocks"].features.maps["stage4"] = map_BNCTHW
    assert task.size == (4, 4)
    chance = math.log(2 * 2 * 16)
    assert abs(task.loss(batch).item() - chance) < 2


def test_blocks_are_consecutive_clips_with_one_crop() -> None:
    case = real.build("dpc", Stream.RGB)
    batch = real.build_batch(case.views, real.moving_bar(num=4))
    blocks = batch["blocks"]
    assert blocks.pixels.shape == (4, 3, 3, hand.FRAMES, hand.SIZE, hand.SIZE)
    assert blocks.applied.start_B.shape == (4,)
    assert case.views["blocks"].jitter_frames


@pytest.mark.parametrize(
    "options", [{"predicted_blocks": 0}, {"predicted_blocks": 3}, {"blocks": 1}]
)
def test_past_and_predicted_blocks_are_required(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="predicted_blocks must be 1 or more and less than blocks"):
        hand.build(RGB, **options)
