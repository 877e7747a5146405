import math

import pytest
import torch
from torch import nn

from evossl.task import Place, Term
from evossl.task_loader import load_catalogue
from evossl.types import Stream
from evossl.views.spec import WEAK, View
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import view_batches_with_time as real

CONFIDENT_LOGIT = 4.0
PLACES = [site.streams for site in load_catalogue()["multimodal_alignment"].places]


@pytest.mark.parametrize("streams", PLACES, ids="+".join)
def test_loss_is_the_binary_cross_entropy_of_synchrony(streams: tuple[Stream, ...]) -> None:
    case = hand.build(Term("multimodal_alignment", Place(streams)))
    batch = hand.make_batch(case.views)
    first, second = batch["first"], batch["second"]
    both_B2D = torch.cat([first.embedding_BD, second.embedding_BD], dim=1)
    logit_B = case.task.classifier(both_B2D).flatten()
    expected = naive.binary_cross_entropy(logit_B, ~second.applied.shifted_B)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("streams", [(Stream.RGB, Stream.AUDIO), (Stream.GRAY, Stream.AUDIO)])
def test_positive_class_means_synchronised_pixels_and_sound(streams: tuple[Stream, ...]) -> None:
    """An encoder that knows the answer has the loss log(1 + e^-4), not log(1 + e^4)."""
    case = real.build("multimodal_alignment", *streams)
    first, second = streams
    in_step = {"first": View(first, space=WEAK), "second": View(second, space=WEAK)}
    clips = real.moving_bar()
    now = real.build_batch(in_step, clips)
    assert torch.equal(now["first"].applied.start_B, now["second"].applied.start_B)
    batch = real.build_batch(case.views, clips)
    assert torch.equal(batch["first"].pixels, now["first"].pixels)
    same_B = (batch["second"].pixels == now["second"].pixels).flatten(1).all(dim=1)
    assert 0 < same_B.sum() < len(same_B)

    case.task.classifier = nn.Linear(sum(hand.SHAPES[s].width for s in streams), 1)
    real.return_first_feature(case.task.classifier)
    embedding_BD = torch.zeros(len(same_B), hand.SHAPES[first].width)
    embedding_BD[:, 0] = torch.where(same_B, CONFIDENT_LOGIT, -CONFIDENT_LOGIT)
    shown = real.with_embedding(batch, "first", embedding_BD)
    shown = real.with_embedding(
        shown, "second", torch.zeros(len(same_B), hand.SHAPES[second].width)
    )
    loss = case.task.loss(shown)
    assert math.isclose(loss.item(), math.log1p(math.exp(-CONFIDENT_LOGIT)), rel_tol=1e-4)


def test_shift_is_at_least_half_a_window() -> None:
    case = real.build("multimodal_alignment", Stream.RGB, Stream.AUDIO)
    batch = real.build_batch(case.views, real.moving_bar())
    away_B = (batch["first"].applied.start_B - batch["second"].applied.start_B).abs()
    shifted_B = batch["second"].applied.shifted_B
    assert (away_B[shifted_B] >= hand.FRAMES / 2).all()
    assert (away_B[~shifted_B] == 0).all()
