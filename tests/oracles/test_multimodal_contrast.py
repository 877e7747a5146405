import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.task_loader import load_catalogue
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import view_batches_with_time as real

PLACES = [site.streams for site in load_catalogue()["multimodal_contrast"].places]
places = pytest.mark.parametrize("streams", PLACES, ids="+".join)


@places
@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_loss_is_max_margin_on_the_unit_sphere(
    streams: tuple[Stream, Stream], margin: float
) -> None:
    case = hand.build(Term("multimodal_contrast", Place(streams)), margin=margin)
    batch = hand.make_batch(case.views)
    x, y = (
        [naive.to_unit(row) for row in naive.rows(case.task.projector[s](batch[s].embedding_BD))]
        for s in streams
    )
    expected = naive.max_margin_loss(torch.tensor(x).double(), torch.tensor(y).double(), margin)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@places
def test_both_streams_show_the_same_time_and_crop(streams: tuple[Stream, Stream]) -> None:
    case = real.build("multimodal_contrast", *streams)
    batch = real.build_batch(case.views, real.moving_bar(num=4))
    first, second = (batch[stream].applied for stream in streams)
    assert torch.equal(first.start_B, second.start_B)
    assert torch.equal(first.crop_B4, second.crop_B4)


def test_each_stream_has_its_own_projector() -> None:
    task = hand.build(Term("multimodal_contrast", Place((Stream.RGB, Stream.GRAY)))).task
    assert set(task.projector) == {"rgb", "gray"}
    assert not torch.equal(task.projector["rgb"][0].weight, task.projector["gray"][0].weight)


def test_default_margin_is_sixty_degrees() -> None:
    """The chord of an angle of 60 degrees is 2 sin(60 / 2) = 1."""
    task = hand.build(Term("multimodal_contrast", Place((Stream.RGB, Stream.AUDIO)))).task
    assert math.isclose(task.margin, 2 * math.sin(math.radians(60) / 2))
