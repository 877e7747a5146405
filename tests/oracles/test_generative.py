import itertools
import math

import numpy as np
import pytest
import torch
from lightly.models.utils import normalize_mean_var
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.autograd import gradcheck

from evossl.losses.prediction import masked_pixel_loss
from evossl.task import Place, TaskBatch, Term
from evossl.types import Stream
from tests.helpers import handmade_batches as hand
from tests.helpers import view_batches_with_time as real

STREAMS = [Stream.RGB, Stream.GRAY, Stream.FLOW]
EDGES = ("random", "two clips", "a still clip", "a blank clip")
each_stream = pytest.mark.parametrize("stream", STREAMS)


def built(stream: Stream, **options: object) -> hand.Case:
    return hand.build(Term("generative", Place((stream,))), **options)


def make_edge_batch(edge: str, case: hand.Case) -> TaskBatch:
    batch = hand.make_batch(case.views, num=2 if edge == "two clips" else 4)
    pixels = batch["full"].pixels
    if edge == "a still clip":
        pixels.copy_(pixels[:, :, :1].expand_as(pixels).clone())
    if edge == "a blank clip":
        pixels.zero_()
    return batch


def expected(decoded: Tensor, pixels: Tensor, mask_BTHW: Tensor, frames: int = 2) -> float:
    """Return the mean squared error to (x - mean) / sqrt(variance + 1e-6), block by block."""
    mask = mask_BTHW.numpy()
    x, y = (z.detach().double().numpy() for z in (decoded, pixels))
    rows, columns = x.shape[3] // mask.shape[2], x.shape[4] // mask.shape[3]
    errors = []
    for b, t, i, j in zip(*mask.nonzero(), strict=True):
        at = np.s_[
            b, :, t * frames : (t + 1) * frames,
            i * rows : (i + 1) * rows, j * columns : (j + 1) * columns,
        ]  # fmt: skip
        given, wanted = flat(x[at]), flat(y[at])
        wanted = (wanted - wanted.mean(1, keepdims=True)) / np.sqrt(
            wanted.var(1, ddof=1, keepdims=True) + 1e-6
        )
        errors.append(((given - wanted) ** 2).mean())
    return float(np.mean(errors))


def flat(block_CTHW: NDArray[np.float64]) -> NDArray[np.float64]:
    return block_CTHW.reshape(len(block_CTHW), -1)


@each_stream
@pytest.mark.parametrize("edge", EDGES)
def test_loss_equals_its_formula(stream: Stream, edge: str) -> None:
    case = built(stream)
    batch = make_edge_batch(edge, case)
    decoded = case.task.decoder(batch["masked"].maps["stage4"])
    wanted = expected(decoded, batch["full"].pixels, batch["masked"].applied.mask_BTHW)
    assert math.isclose(case.task.loss(batch).item(), wanted, rel_tol=1e-5)


def test_block_targets_are_normalised_as_in_lightly() -> None:
    """The loss of predicting lightly's target is 0."""
    pixels = torch.randn(3, 1, 4, 8, 8, generator=Generator().manual_seed(0))
    mask_BTHW = torch.ones(3, 2, 2, 2, dtype=torch.bool)
    target = torch.empty_like(pixels)
    for t, i, j in itertools.product(range(2), range(2), range(2)):
        at = np.s_[:, :, 2 * t : 2 * t + 2, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        target[at] = normalize_mean_var(pixels[at].flatten(1)).view_as(target[at])
    assert masked_pixel_loss(target, pixels, mask_BTHW) < 1e-10
    assert masked_pixel_loss(pixels, pixels, mask_BTHW) > 1e-3


def test_only_masked_blocks_count() -> None:
    generator = Generator().manual_seed(0)
    decoded, pixels = torch.randn(2, 2, 3, 4, 8, 8, generator=generator)
    mask_BTHW = torch.zeros(2, 2, 2, 2, dtype=torch.bool)
    mask_BTHW[0, 1, 0, 1] = True
    decoded.requires_grad_()
    masked_pixel_loss(decoded, pixels, mask_BTHW).backward()
    touched = decoded.grad.abs().sum(dim=1) > 0
    assert touched[0, 2:, :4, 4:].all()
    assert touched.sum() == 2 * 4 * 4


def test_short_last_block_counts_as_any_other() -> None:
    generator = Generator().manual_seed(0)
    decoded, pixels = torch.randn(2, 2, 3, 5, 8, 8, generator=generator)
    mask_BTHW = torch.ones(2, 3, 2, 2, dtype=torch.bool)
    held = (torch.cat([x, x[:, :, -1:]], dim=2) for x in (decoded, pixels))
    short, whole = (
        masked_pixel_loss(decoded, pixels, mask_BTHW),
        masked_pixel_loss(*held, mask_BTHW),
    )
    torch.testing.assert_close(short, whole)


def test_gradient_matches_finite_differences() -> None:
    generator = Generator().manual_seed(0)
    pair = torch.randn(2, 1, 2, 2, 4, 4, generator=generator, dtype=torch.float64)
    mask_BTHW = torch.tensor([True, False, True, True]).view(1, 1, 2, 2)
    decoded, pixels = (x.requires_grad_() for x in pair.unbind())
    assert gradcheck(lambda x, y: masked_pixel_loss(x, y, mask_BTHW), (decoded, pixels))


@each_stream
def test_student_sees_the_target_with_masked_tubes(stream: Stream) -> None:
    batch = real.build_batch(built(stream, mask_ratio=0.75).views, real.moving_bar(num=4))
    masked, whole = batch["masked"], batch["full"]
    mask_BTHW = masked.applied.mask_BTHW
    assert mask_BTHW.shape == (4, hand.FRAMES // 2, 4, 4)
    assert (mask_BTHW.sum(dim=(2, 3)) == 12).all()
    assert (mask_BTHW == mask_BTHW[:, :1]).all()
    hidden = mask_BTHW.repeat_interleave(2, 1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    assert torch.equal(masked.pixels, whole.pixels.masked_fill(hidden[:, None], 0.0))


@pytest.mark.parametrize("options", [{"mask_ratio": -0.1}, {"mask_ratio": 90}, {"patch_size": 0}])
def test_impossible_mask_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a mask needs a ratio in"):
        built(Stream.RGB, **options)
