"""Queues and memory banks: bounded, exact, and restored by a checkpoint."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from evossl.losses.distance import l2_normalise
from evossl.models.heads.memory_bank import EmbeddingQueue, MemoryBank


def draw(num: int, width: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(num, width, generator=Generator().manual_seed(seed))


def ids(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def as_pairs(memory: EmbeddingQueue | MemoryBank) -> set[tuple[int, tuple[float, ...]]]:
    rows = [tuple(row) for row in memory.row_FD.tolist()]
    return set(zip(memory.video_id_F.tolist(), rows, strict=True))


@given(size=st.integers(1, 9), batches=st.lists(st.integers(0, 12), max_size=6))
@settings(max_examples=60, deadline=None)
def test_queue_holds_and_counts_the_newest_rows(size: int, batches: list[int]) -> None:
    queue, kept = EmbeddingQueue(size, 3), []
    for step, num in enumerate(batches):
        row_ND, video_id_N = draw(num, seed=step), torch.arange(num) + 100 * step
        queue.enqueue(row_ND, video_id_N)
        kept += list(zip(video_id_N.tolist(), map(tuple, row_ND.tolist()), strict=True))
    assert len(queue) == len(queue.row_FD) == min(size, len(kept))
    assert as_pairs(queue) == set(kept[-size:])


def test_empty_queue_has_no_rows() -> None:
    queue = EmbeddingQueue(4, 3)
    assert (len(queue), queue.row_FD.shape, queue.video_id_F.shape) == (0, (0, 3), (0,))


def test_queue_stores_no_autograd_graph() -> None:
    queue = EmbeddingQueue(4, 3)
    queue.enqueue(draw(2).requires_grad_() * 2, ids(0, 1))
    assert queue.row_FD.grad_fn is None


@given(
    batches=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), max_size=5),
    keep=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_memory_bank_keeps_a_running_mean_per_video(batches: list[list[int]], keep: float) -> None:
    bank, naive = MemoryBank(6, 3, keep), {}
    for step, videos in enumerate(batches):
        row_BD = draw(len(videos), seed=step)
        bank.update(row_BD, ids(*videos))
        for video in set(videos):
            clips = [
                l2_normalise(row) for row, own in zip(row_BD, videos, strict=True) if own == video
            ]
            new = l2_normalise(torch.stack(clips).sum(dim=0))
            naive[video] = (
                l2_normalise(keep * naive[video] + (1 - keep) * new) if video in naive else new
            )
    assert set(bank.video_id_F.tolist()) == naive.keys()
    assert len(bank) == len(naive)
    row_6D, known_6 = bank.read(torch.arange(6))
    for video in range(6):
        assert bool(known_6[video]) == (video in naive)
        if video in naive:
            torch.testing.assert_close(row_6D[video], naive[video], rtol=1e-4, atol=1e-5)


def test_full_bank_drops_the_first_added_video() -> None:
    bank = MemoryBank(3, 3)
    bank.update(draw(3), ids(7, 8, 9))
    bank.update(draw(2, seed=1), ids(7, 30))  # 7 is seen again: it still came first
    assert set(bank.video_id_F.tolist()) == {8, 9, 30}
    assert bank.read(ids(7, 30))[1].tolist() == [False, True]
    assert len(bank) == 3


def test_order_of_clips_does_not_change_the_bank() -> None:
    first, second = MemoryBank(4, 3), MemoryBank(4, 3)
    row_BD, video_id_B = draw(5), ids(3, 1, 3, 0, 2)
    order = torch.tensor([4, 2, 0, 3, 1])
    first.update(row_BD, video_id_B)
    second.update(row_BD[order], video_id_B[order])
    assert torch.equal(first.video_id_F, second.video_id_F)
    torch.testing.assert_close(first.row_FD, second.row_FD)


@pytest.mark.parametrize("build", [EmbeddingQueue, MemoryBank])
def test_checkpoint_restores_queue_and_bank_exactly(
    tmp_path: Path, build: type[EmbeddingQueue | MemoryBank]
) -> None:
    """Later rows go where they would have gone without the interruption."""
    before, after = build(4, 3), build(4, 3)

    def feed(memory: nn.Module, seed: int) -> None:
        put = memory.enqueue if isinstance(memory, EmbeddingQueue) else memory.update
        put(draw(3, seed=seed), torch.arange(3) + 2 * seed)

    feed(before, 0)
    feed(before, 1)
    save_file(before.state_dict(), tmp_path / "memory.safetensors")
    after.load_state_dict(load_file(tmp_path / "memory.safetensors"))
    feed(before, 2)
    feed(after, 2)
    assert len(before) == 4
    state = after.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in before.state_dict().items())


@pytest.mark.parametrize("build", [EmbeddingQueue, MemoryBank])
def test_size_of_0_is_refused(build: type[EmbeddingQueue | MemoryBank]) -> None:
    with pytest.raises(ValueError, match="at least 1 row, got 0"):
        build(0, 3)


def test_momentum_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        MemoryBank(3, 3, momentum=1.5)
