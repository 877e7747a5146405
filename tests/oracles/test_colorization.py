import math
from itertools import product

import pytest
import torch
from torch import Generator

from evossl.losses.colour import ab_bins, to_ab
from evossl.task import Place, TaskBatch, Term
from evossl.types import PIXEL_MEAN, PIXEL_SD, ClipBatch, Stream
from evossl.views.spec import Role
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_pretext_losses as naive
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import SINGLE_VIEW_EDGES

PLACES = [Term("colorization", Place((Stream.RGB,)))]
PLACES += [Term("colorization", Place((Stream.GRAY, Stream.RGB), directed=True))]
places = pytest.mark.parametrize("term", PLACES, ids=lambda term: term.name)


def codes(batch: TaskBatch) -> list[list[dict[int, float]]]:
    """Return the soft encodings of each clip: every fourth frame, means of 4 x 4 pixels."""
    image = (batch["colours"].pixels.double() * PIXEL_SD + PIXEL_MEAN).clamp(0, 1)
    middles, clips = ab_bins().tolist(), []
    for rgb in image:
        _, frames, height, width = rgb.shape
        spots = product(range(0, frames, 4), range(height // 4), range(width // 4))
        means = [
            rgb[:, t, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean(dim=(1, 2)) for t, y, x in spots
        ]
        colours = to_ab(torch.stack(means)).tolist()
        clips.append([naive.soft_code(colour, middles) for colour in colours])
    return clips


@places
@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
def test_loss_is_the_rebalanced_cross_entropy(term: Term, edge: str) -> None:
    case, batch = checks.build_edge_case(term, edge)
    with torch.no_grad():
        case.task.colour_prior.frequency_Q.copy_(
            torch.linspace(0, 2, len(ab_bins())).softmax(dim=0)
        )
    weight = naive.rebalancing_weights(case.task.colour_prior.frequency_Q.double().tolist())
    logit_BQX = case.task.decoder(batch["luma"].maps["stage4"]).flatten(2).double()
    costs = []
    for log_share_QX, clip in zip(logit_BQX.log_softmax(dim=1).tolist(), codes(batch), strict=True):
        for x, code in enumerate(clip):
            surprise = -sum(share * log_share_QX[q][x] for q, share in code.items())
            costs.append(weight[max(code, key=code.__getitem__)] * surprise)
    assert math.isclose(case.task.loss(batch).item(), sum(costs) / len(costs), rel_tol=1e-5)


def test_checkpoint_restores_colour_frequencies() -> None:
    case = hand.build(PLACES[0])
    batch = hand.make_batch(case.views, num=2)
    case.task.after_step(batch)
    met = [0.0] * len(ab_bins())
    clips = codes(batch)
    for code in (code for clip in clips for code in clip):
        for q, share in code.items():
            met[q] += share / sum(map(len, clips))
    expected = 0.99 / len(met) + 0.01 * torch.tensor(met)
    torch.testing.assert_close(case.task.colour_prior.frequency_Q, expected, rtol=1e-4, atol=1e-7)
    again = hand.build(PLACES[0], seed=1)
    again.task.load_state_dict(case.task.state_dict())
    assert torch.equal(again.task.colour_prior.frequency_Q, case.task.colour_prior.frequency_Q)
    assert torch.equal(again.task.loss(batch), case.task.loss(batch))


@places
def test_input_is_the_luma_of_the_target_pixels(
    term: Term,
) -> None:
    case = hand.build(term)
    batch = real.build_batch(case.views, colourful())
    luma, rgb = (batch[name].pixels for name in ("luma", "colours"))
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1, 1)
    expected = ((rgb * PIXEL_SD + PIXEL_MEAN) * weights).sum(dim=1, keepdim=True)
    shown = luma * PIXEL_SD + PIXEL_MEAN
    torch.testing.assert_close(shown, expected.expand_as(shown), atol=1e-4, rtol=1e-4)
    assert case.views["colours"].encoder is Role.NONE


def colourful(num: int = 4) -> ClipBatch:
    clips = real.moving_bar(num)
    image = torch.randint(0, 256, (num, 1, 8, 8, 3), generator=Generator().manual_seed(0))
    side = clips.frames_BLHWC.shape[2]
    image = image.repeat_interleave(side // 8 + 1, 2).repeat_interleave(side // 8 + 1, 3)
    frames = image[:, :, :side, :side].byte().expand_as(clips.frames_BLHWC)
    return ClipBatch(**{**vars(clips), "frames_BLHWC": frames.contiguous()})
