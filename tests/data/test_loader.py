"""The loader: a pure function of (seed, step), with the right pixels, sound and padding.

The cached videos are hand-made: all pixels of frame t of video v are 10 * v + t, and sample s of
its sound is s.
"""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evossl.config import Cache
from evossl.data import loader as loader_module
from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.clip_file import clip_bytes, clip_path
from evossl.data.decode.decoder import DecodeError
from evossl.data.index.index import Video
from evossl.data.loader import ClipLoader
from evossl.errors import RunError
from evossl.types import ClipBatch
from tests.helpers.clip_files import as_video

FPS = 8.0  # 2000 samples a frame
SIZES = [(4, 6), (4, 4), (6, 4), (4, 8), (4, 6)]
LENGTHS = [20, 3, 12, 1, 7]
SOUND = [True, True, False, False, True]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    folder = tmp_path_factory.mktemp("cache")
    cache = ClipCache(folder, Cache(fps=FPS, short_side=4))
    for v, video in enumerate(VIDEOS):
        values = (10 * v + np.arange(LENGTHS[v])).astype(np.uint8)
        frames = np.tile(values[:, None, None, None], (1, *SIZES[v], 3))
        sound = (np.arange(2000 * LENGTHS[v]) / 32767).astype(np.float32) if SOUND[v] else None
        path = clip_path(folder, cache.key(video))
        CacheBudget(folder, None).store(path, clip_bytes(frames, sound), evict=False)
    return cache


VIDEOS = [as_video(f"/{name}.mp4") for name in "abcde"]


def make(cache: ClipCache, *, batch_size: int = 3, seed: int = 0, stretch: int = 5) -> ClipLoader:
    return ClipLoader(cache, VIDEOS, stretch=stretch, batch_size=batch_size, seed=seed)


def equal(a: ClipBatch, b: ClipBatch) -> bool:
    return a.fps == b.fps and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ClipBatch.__dataclass_fields__
        if name != "fps"
    )


def starts(batch: ClipBatch) -> list[int]:
    """Return the first frame of each clip, computed from its pixels."""
    first = batch.frames_BLHWC[:, 0, 0, 0, 0].long() - 10 * batch.video_id_B
    return first.tolist()


def test_a_batch_depends_on_seed_and_step_only(cache: ClipCache) -> None:
    forwards, backwards = make(cache), make(cache)
    first = [forwards.batch(step) for step in range(6)]
    for step in (5, 0, 3, 3):
        assert equal(backwards.batch(step), first[step])
    other = make(cache, seed=1)
    assert not all(equal(other.batch(step), first[step]) for step in range(6))


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 12), seed=st.integers(0, 1000))
def test_each_epoch_shows_each_video_once(cache: ClipCache, batch_size: int, seed: int) -> None:
    loader = make(cache, batch_size=batch_size, seed=seed)
    epochs = 4
    num_steps = -(-epochs * 5 // batch_size)
    order = [int(i) for step in range(num_steps) for i in loader.batch(step).video_id_B]
    assert len(order) == num_steps * batch_size
    for epoch in range(epochs):
        assert sorted(order[5 * epoch : 5 * epoch + 5]) == [0, 1, 2, 3, 4]


def test_epochs_differ_in_their_order(cache: ClipCache) -> None:
    loader = make(cache, batch_size=5)
    orders = {tuple(loader.batch(step).video_id_B.tolist()) for step in range(8)}
    assert len(orders) >= 6  # 120 orders: 8 draws with more than 2 repeats have odds of 1 in 10^4


def test_every_possible_start_is_equally_likely(cache: ClipCache) -> None:
    loader = make(cache, batch_size=5)
    seen: dict[int, Counter[int]] = {v: Counter() for v in range(5)}
    for step in range(400):
        batch = loader.batch(step)
        for v, start in zip(batch.video_id_B.tolist(), starts(batch), strict=True):
            seen[v][start] += 1
    assert sorted(seen[0]) == list(range(16))  # 20 frames, stretches of 5
    assert sorted(seen[1]) == sorted(seen[3]) == [0]
    assert sorted(seen[2]) == list(range(8))
    assert sorted(seen[4]) == [0, 1, 2]
    chi2 = sum((count - 25) ** 2 / 25 for count in seen[0].values())
    assert chi2 < 37.7  # the 0.999 quantile of chi-squared with 15 degrees of freedom


def test_a_video_twice_in_a_batch_has_two_starts(cache: ClipCache) -> None:
    loader = ClipLoader(cache, VIDEOS[:1], stretch=2, batch_size=40, seed=0)
    assert len(set(starts(loader.batch(0)))) > 10


def test_padding_repeats_the_last_frame(cache: ClipCache) -> None:
    batch = make(cache).clips([0, 1, 3], draw=1)
    assert batch.frames_BLHWC.dtype == torch.uint8
    assert batch.num_frames_B.tolist() == [5, 3, 1]
    (start, *_) = starts(batch)
    want = [[start + i for i in range(5)], [10, 11, 12, 12, 12], [30] * 5]
    assert batch.frames_BLHWC[:, :, 0, 0, 0].tolist() == want


def test_images_are_padded_with_zeros_to_the_largest(cache: ClipCache) -> None:
    batch = make(cache).clips([2, 3, 1], draw=0)
    assert batch.frames_BLHWC.shape == (3, 5, 6, 8, 3)
    assert batch.size_B2.tolist() == [[6, 4], [4, 8], [4, 4]]
    for b, (height, width) in enumerate(batch.size_B2.tolist()):
        image = batch.frames_BLHWC[b]
        assert (image[:, :height, :width] > 0).all()
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


def test_sound_is_of_the_frames_seconds_and_zero_beyond(cache: ClipCache) -> None:
    batch = make(cache).clips([0, 1, 2, 4], draw=2)
    assert batch.waveform_BS.shape == (4, 10_000)  # 5 frames / 8 fps * 16 kHz
    assert batch.has_audio_B.tolist() == [True, True, False, True]
    for b, (start, length) in enumerate(
        zip(starts(batch), batch.num_frames_B.tolist(), strict=True)
    ):
        want = torch.zeros(10_000)
        if batch.has_audio_B[b]:
            num_samples = 2000 * length
            want[:num_samples] = (2000 * start + torch.arange(num_samples)) / 32767
        torch.testing.assert_close(batch.waveform_BS[b], want, rtol=0, atol=1e-6)


def test_without_sound_the_frames_are_the_same(
    cache: ClipCache,
) -> None:
    silent = ClipLoader(cache, VIDEOS, stretch=5, batch_size=3, seed=0, sound=False).batch(2)
    heard = make(cache).batch(2)
    assert heard.has_audio_B.any()
    assert not silent.has_audio_B.any()
    assert not silent.waveform_BS.any()
    assert torch.equal(silent.frames_BLHWC, heard.frames_BLHWC)


def test_length_of_the_waveform_is_rounded_once(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, Cache(fps=12, short_side=4))
    path = clip_path(tmp_path, cache.key(VIDEOS[0]))
    frames = np.zeros((9, 4, 4, 3), np.uint8)
    CacheBudget(tmp_path, None).store(
        path, clip_bytes(frames, np.ones(12_000, np.float32)), evict=False
    )
    loader = ClipLoader(cache, VIDEOS[:1], stretch=7, batch_size=1, seed=0)
    for step in range(4):
        waveform = loader.batch(step).waveform_BS
        assert waveform.shape == (1, 9333)  # 7 / 12 * 16000 = 9333.3
        assert (waveform == 1).all()


def test_tensors_have_the_documented_types(cache: ClipCache) -> None:
    batch = make(cache).batch(0)
    assert len(batch) == 3
    assert batch.fps == FPS
    for name in ("num_frames_B", "size_B2", "video_id_B"):
        assert getattr(batch, name).dtype == torch.int64
    assert batch.waveform_BS.dtype == torch.float32
    assert batch.has_audio_B.dtype == torch.bool


def test_draw_zero_is_the_centre(cache: ClipCache) -> None:
    batch = make(cache).clips([0, 2, 4, 1], draw=0)
    assert starts(batch) == [7, 3, 1, 0]  # (frames - 5) // 2
    assert batch.video_id_B.tolist() == [0, 2, 4, 1]


def test_a_draw_does_not_depend_on_the_other_videos(cache: ClipCache) -> None:
    loader = make(cache)
    for draw in (1, 2, 3):
        together, alone = loader.clips([2, 0, 4], draw), loader.clips([0], draw)
        assert starts(together)[1] == starts(alone)[0]
    assert len({starts(loader.clips([0], draw))[0] for draw in range(1, 30)}) > 8


def test_draws_of_two_rows_are_independent(cache: ClipCache) -> None:
    twins = ClipLoader(cache, [VIDEOS[0], VIDEOS[0]], stretch=5, batch_size=2, seed=0)
    pairs = [starts(twins.clips([0, 1], draw)) for draw in range(1, 17)]
    assert sum(a == b for a, b in pairs) <= 6  # 16 starts: 1 pair expected, 7 have odds of 1e-4


def test_prefetch_gives_the_batches_in_order(cache: ClipCache) -> None:
    loader = make(cache)
    batches = list(loader.prefetch(2, 9))
    assert len(batches) == 7
    assert all(equal(batch, loader.batch(2 + i)) for i, batch in enumerate(batches))
    assert list(loader.prefetch(3, 3)) == []


def prefetchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "evossl-prefetch"]


def test_closing_ends_the_thread_though_the_queue_is_full(cache: ClipCache) -> None:
    batches = make(cache).prefetch(0, 10_000)
    next(batches)
    assert len(prefetchers()) == 1
    batches.close()
    assert prefetchers() == []


def test_the_thread_stays_only_a_few_batches_ahead(
    cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make(cache)
    made: list[int] = []
    third = threading.Event()
    real_batch = loader.batch

    def batch(step: int) -> ClipBatch:
        made.append(step)
        if step == loader_module.PREFETCHED_BATCHES + 1:
            third.set()
        return real_batch(step)

    monkeypatch.setattr(loader, "batch", batch)
    batches = loader.prefetch(0, 100)
    next(batches)
    assert third.wait(timeout=60)
    batches.close()
    assert made == list(
        range(loader_module.PREFETCHED_BATCHES + 2)
    )  # one consumed, some queued, one ready


def test_what_the_thread_raises_is_raised_by_the_consumer(
    cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = make(cache)
    real_batch = loader.batch

    def batch(step: int) -> ClipBatch:
        if step == 2:
            raise RunError("no more")
        return real_batch(step)

    monkeypatch.setattr(loader, "batch", batch)
    got = []
    with pytest.raises(RunError, match="no more"):
        got.extend(loader.prefetch(0, 5))
    assert prefetchers() == []


def test_waiting_times_are_added_up(cache: ClipCache, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(loader_module.time, "perf_counter", lambda: next(ticks))
    loader = make(cache)
    for _ in loader.prefetch(0, 4):
        pass
    assert loader.wait_seconds == 4  # each wait reads the clock twice, one tick apart


def test_a_video_that_fails_is_replaced_by_another(cache: ClipCache, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"\x00\x00")
    videos = [as_video(bad), *VIDEOS[1:]]
    loaders = [ClipLoader(cache, videos, stretch=5, batch_size=5, seed=0) for _ in range(2)]
    first = [loaders[0].batch(step) for step in range(3)]
    assert list(loaders[0].failed) == [str(bad)]
    for step, batch in enumerate(first):
        assert 0 not in batch.video_id_B
        assert set(range(1, 5)) <= set(batch.video_id_B.tolist())
        assert equal(loaders[1].batch(step), batch)
    with pytest.raises(DecodeError):
        loaders[0].clips([1, 0], draw=0)


def test_when_every_video_fails_the_run_ends(cache: ClipCache, tmp_path: Path) -> None:
    bad: list[Video] = []
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(b"\x00\x00")
        bad.append(as_video(tmp_path / f"{number}.mp4"))
    loader = ClipLoader(cache, bad, stretch=5, batch_size=2, seed=0)
    with pytest.raises(RunError, match=r"videos in a row cannot be decoded: .*\.mp4: "):
        loader.batch(0)


def test_digital_silence_counts_as_no_sound(tmp_path: Path) -> None:
    cache = ClipCache(tmp_path, Cache(fps=8, short_side=4))
    frames = np.ones((8, 4, 4, 3), np.uint8)
    for video, loudness in zip(VIDEOS[:2], (0.0, 0.01), strict=True):
        sound = np.full(16_000, loudness, np.float32)
        path = clip_path(tmp_path, cache.key(video))
        CacheBudget(tmp_path, None).store(path, clip_bytes(frames, sound), evict=False)
    loader = ClipLoader(cache, VIDEOS[:2], stretch=8, batch_size=2, seed=0)
    assert loader.clips([0, 1], draw=0).has_audio_B.tolist() == [False, True]
