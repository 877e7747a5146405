"""Features of videos for evaluation: clean clips spread over each video, averaged.

Shapes: B video of a batch, N video, K clip of a video, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evossl.config import Cache
from evossl.data.cache.clip_cache import ClipCache, FillReport
from evossl.data.index.index import Video
from evossl.data.loader import ClipLoader
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder
from evossl.models.encoder import build_encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, View

NUM_CLIPS = 3
BATCH = 16
STRETCH_SECONDS = 10.0  # of a long video, around its middle: bounds the memory of a batch
CALIBRATION_VIDEOS = 256
CLEAN_VIEW = View(Stream.RGB, space=CLEAN)


class Clips(Protocol):
    """What evaluation needs of a `ClipLoader`: long stretches of videos by row."""

    def clips(self, indices: Sequence[int], draw: int) -> ClipBatch:
        """Return a stretch of each video: draw 0 its centre, others a random one each."""


def open_clips(
    videos: Sequence[Video],
    config: EncoderConfig,
    cache: Path,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ClipLoader, FillReport]:
    """Decode videos as an encoder wants them; return a loader of the readable ones.

    Args:
        videos: readable ones of an index.
        config: of the encoder: rate and size.
        cache: folder of the clip cache.
        seed: of the stretches that fine-tuning is shown.
        progress: called with (videos decoded, videos in all).

    Returns:
        A loader whose rows are `report.readable`, and the report, with those set aside.

    Raises:
        RunError: no video can be decoded, or the disk is full.
    """
    store = ClipCache(cache, Cache(fps=config.fps, short_side=config.short_side))
    report = store.fill(videos, progress=progress)
    seconds = min(STRETCH_SECONDS, max(video.seconds for video in report.readable))
    stretch = max(config.frames, math.ceil(seconds * config.fps))
    readable = report.readable
    loader = ClipLoader(store, readable, stretch=stretch, batch_size=BATCH, seed=seed, sound=False)
    return loader, report


def view_settings(config: EncoderConfig, ignores: tuple[str, ...] = ()) -> ViewSettings:
    """Return the view settings of an encoder's clips; no sound is made."""
    return ViewSettings(config.frames, config.size, mel_bands=1, ignores=ignores)


def clean_clips(clips: ClipBatch, config: EncoderConfig, num_clips: int) -> Iterator[Tensor]:
    """Yield `num_clips` clean inputs (B, 3, T, H, W), evenly spread over the stretches, in order.

    Clip k of K starts at share (k + 1/2) / K of the starts there are: one clip is the middle.
    """
    settings = view_settings(config)
    room_B = (clips.num_frames_B - config.frames).clamp(min=0)
    for k in range(num_clips):
        start_B = (room_B * (2 * k + 1) + num_clips) // (2 * num_clips)
        part = _from(clips, start_B, config.frames)
        yield build_views([CLEAN_VIEW], part, settings, seed=0, step=0)[CLEAN_VIEW.input_key].pixels


def _from(clips: ClipBatch, start_B: Tensor, frames: int) -> ClipBatch:
    """The `frames` frames from each start, so that a view of as many has one place to stand."""
    last_B1 = clips.num_frames_B[:, None] - 1
    index_BT = start_B[:, None] + torch.arange(frames, device=start_B.device)
    rows_B1 = torch.arange(len(clips), device=start_B.device)[:, None]
    return replace(
        clips,
        frames_BLHWC=clips.frames_BLHWC[rows_B1, torch.minimum(index_BT, last_B1)],
        num_frames_B=(clips.num_frames_B - start_B).clamp(max=frames),
    )


@torch.no_grad()
def extract_features(
    encoder: VideoEncoder,
    loader: Clips,
    videos: Sequence[int],
    *,
    num_clips: int = NUM_CLIPS,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return features_ND: each video's embedding, the mean over its clean clips.

    Args:
        encoder: in any mode; its features are taken in eval mode.
        loader: of the videos.
        videos: rows of the loader.
        num_clips: clips of each video.
        progress: called with (videos done, videos in all).
    """
    mean = mean_over_clips(encoder, encoder.config, loader, videos, num_clips, progress)
    return np.asarray(mean.numpy(), dtype=np.float32)


@torch.no_grad()
def mean_over_clips(
    network: torch.nn.Module,
    config: EncoderConfig,
    loader: Clips,
    videos: Sequence[int],
    num_clips: int = NUM_CLIPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return what a network gives of each video's clean clips, averaged; float32 on the CPU."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    parts = []
    for start in range(0, len(videos), BATCH):
        clips = loader.clips(videos[start : start + BATCH], draw=0).to(device)
        given = [network(x).float() for x in clean_clips(clips, config, num_clips)]
        parts.append(torch.stack(given).mean(dim=0).cpu())
        if progress:
            progress(min(start + BATCH, len(videos)), len(videos))
    network.train(was_training)
    return torch.cat(parts)


def calibrate(encoder: VideoEncoder, loader: Clips, videos: Sequence[int]) -> None:
    """Estimate BatchNorm's statistics on clean clips of (at most 256 of) the videos."""
    device = next(encoder.parameters()).device
    chosen = [videos[i] for i in spread(len(videos), CALIBRATION_VIDEOS)]

    def batches() -> Iterator[Tensor]:
        for start in range(0, len(chosen), BATCH):
            clips = loader.clips(chosen[start : start + BATCH], draw=0).to(device)
            yield from clean_clips(clips, encoder.config, 1)

    update_bn_statistics(encoder.encoder, batches())


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of `count` rows, evenly spread."""
    return [round(row) for row in np.linspace(0, count - 1, min(count, most)).tolist()]


def random_init(
    config: EncoderConfig, loader: Clips, videos: Sequence[int], *, seed: int, device: torch.device
) -> VideoEncoder:
    """Return an untrained encoder of the same architecture, BatchNorm calibrated on the videos.

    Calibrated because a network whose activations grow or vanish from layer to layer would be a
    baseline too easy to beat. No label is read for it.

    Args:
        config: of the encoder it is compared with.
        loader: of the videos.
        videos: rows of the loader.
        seed: of the weights.
        device: of the encoder.

    Raises:
        RunError: fewer than two videos to calibrate on.
    """
    encoder = build_encoder(Stream.RGB, config.backbone, seed).to(device)
    untrained = VideoEncoder(encoder, config).eval()
    calibrate(untrained, loader, videos)
    return untrained
