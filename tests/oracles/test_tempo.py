import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from evossl.config import Ignore
from evossl.task import Place, Term
from evossl.types import Stream
from evossl.views.build import build_views
from tests.helpers import handmade_batches as hand
from tests.helpers import naive_losses as naive
from tests.helpers import naive_pretext_losses as naive_pretext
from tests.helpers import oracle_checks as checks
from tests.helpers import view_batches_with_time as real
from tests.helpers.loss_edge_cases import EDGES, SINGLE_VIEW_EDGES

streams = pytest.mark.parametrize("stream", [Stream.RGB, Stream.GRAY])


def case(variant: str, stream: Stream = Stream.RGB, **options: object) -> hand.Case:
    return hand.build(Term("tempo", Place((stream,), variant=variant)), **options)


@streams
@pytest.mark.parametrize("edge", SINGLE_VIEW_EDGES)
def test_speed_loss_is_the_cross_entropy_of_the_stride(stream: Stream, edge: str) -> None:
    term = Term("tempo", Place((stream,), variant="speed"))
    tempo, batch = checks.build_edge_case(term, edge, strides=[4, 1, 2])
    num = len(batch.video_id_B)
    stride_B = torch.tensor([1, 2, 4, 4, 1, 2])[:num]
    clip = replace(batch["clip"], applied=replace(batch["clip"].applied, stride_B=stride_B))
    batch = replace(batch, views={"clip": clip})
    logit_BK = tempo.task.classifier(clip.embedding_BD)
    expected = naive_pretext.cross_entropy(logit_BK, torch.tensor([0, 1, 2, 2, 0, 1])[:num])
    assert math.isclose(tempo.task.loss(batch).item(), expected, rel_tol=1e-5)


@streams
@pytest.mark.parametrize("edge", EDGES)
def test_consistency_loss_is_nt_xent(stream: Stream, edge: str) -> None:
    tempo, batch = checks.build_edge_case(
        Term("tempo", Place((stream,), variant="consistency")), edge
    )
    slow, fast = (tempo.task.projector(batch[name].embedding_BD) for name in ("slow", "fast"))
    expected = naive.nt_xent(slow, fast, 0.1)
    assert math.isclose(tempo.task.loss(batch).item(), expected, rel_tol=1e-5)


@streams
def test_consistency_always_compares_two_speeds(stream: Stream) -> None:
    views = case("consistency", stream).views
    batch = real.build_batch(views, real.moving_bar(num=40), ignores=get_args(Ignore))
    assert set(batch["slow"].applied.stride_B.tolist()) == {1}
    assert set(batch["fast"].applied.stride_B.tolist()) == {3}


@streams
def test_label_is_the_speed_shown_by_the_pixels(stream: Stream) -> None:
    """The displacement of the bar per frame shows the speed."""
    tempo = case("speed", stream)
    batch = real.build_batch(tempo.views, real.moving_bar(num=60, speed=1))
    clip = batch["clip"]
    width_B = clip.applied.crop_B4[:, 3] * real.moving_bar(num=1).frames_BLHWC.shape[3]
    step_B = real.clock_BT(clip, stream).diff(dim=1).mean(dim=1) * width_B / hand.SIZE
    inside_B = (clip.pixels.amax(dim=(1, 3, 4)) > 0).all(dim=1)
    shown_B = step_B.round().long()[inside_B]
    assert set(shown_B.tolist()) == {1, 2, 3}
    assert torch.equal(shown_B, clip.applied.stride_B[inside_B])


def test_too_short_videos_are_excluded_at_any_speed() -> None:
    """Otherwise being short would reveal a low speed."""
    tempo = case("speed")
    clips = real.moving_bar(num=90, length=25)
    clips = replace(clips, num_frames_B=torch.tensor([16, 23, 24]).repeat(30))
    made = build_views(tempo.views.values(), clips, real.SETTINGS, seed=0, step=0)
    (clip,) = made.values()
    assert clip.valid_B.tolist() == [False, False, True] * 30
    counts = torch.bincount(clip.applied.stride_B[clip.valid_B])[1:]
    assert len(counts) == 3
    assert counts.min() > 3


@pytest.mark.parametrize("speeds", [[2], [1, 1], [0, 1], []])
def test_fewer_than_two_strides_are_refused(speeds: list[int]) -> None:
    with pytest.raises(ValueError, match="two or more numbers"):
        case("speed", strides=speeds)
