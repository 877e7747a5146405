import math

import pytest
import torch

from evossl.task import Place, Term
from evossl.task_loader import load_catalogue
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real
from tests.helpers.naive_losses import mean_squared_error

PLACES = [site.streams for site in load_catalogue()["cross_modal_transfer"].places]
places = pytest.mark.parametrize("streams", PLACES, ids="->".join)


@places
def test_loss_is_the_mean_squared_error_of_the_target(
    streams: tuple[Stream, Stream],
) -> None:
    source, target = streams
    case = hand.build(Term("cross_modal_transfer", Place(streams, directed=True)))
    batch = hand.make_batch(case.views)
    assert batch["source"].pixels.shape[1:] == hand.SHAPES[source].input
    assert batch["target"].pixels.shape[1:] == hand.SHAPES[target].input
    decoded = case.task.decoder(batch["source"].maps["stage4"])
    expected = mean_squared_error(decoded, batch["target"].pixels)
    assert math.isclose(case.task.loss(batch).item(), expected, rel_tol=1e-5)


@places
def test_source_and_target_share_time_and_crop(streams: tuple[Stream, Stream]) -> None:
    case = real.build("cross_modal_transfer", *streams, directed=True)
    batch = real.build_batch(case.views, real.moving_bar(num=4))
    source, target = batch["source"].applied, batch["target"].applied
    assert torch.equal(source.start_B, target.start_B)
    assert torch.equal(source.crop_B4, target.crop_B4)


@pytest.mark.parametrize("source", [Stream.AUDIO, Stream.RGB])
def test_cross_modal_adapter_preserves_time(source: Stream) -> None:
    """A change at one time step of the input changes only that time step of the output."""
    target = Stream.RGB if source is Stream.AUDIO else Stream.AUDIO
    stage = "stage2"  # has several time steps
    task = hand.build(Term("cross_modal_transfer", Place((source, target), directed=True))).task
    adapter_class = type(task.decoder[0])
    map_shape, out_shape = hand.SHAPES[source].maps[stage], hand.SHAPES[target].input
    adapter = adapter_class(source, map_shape, out_shape)
    map_axis, seed_axis = (4, 2) if source is Stream.AUDIO else (2, 4)
    before = torch.zeros(2, *map_shape)
    after = before.clone()
    after.select(map_axis, 1).fill_(1.0)
    moved = (adapter(after) - adapter(before)).abs()
    assert moved.shape[1:] == adapter.shape
    others = [step for step in range(moved.shape[seed_axis]) if step != 1]
    assert moved.select(seed_axis, 1).sum() > 0
    assert moved.index_select(seed_axis, torch.tensor(others)).sum() == 0
