"""Features of videos for evaluation: the mean over clean clips, evenly spaced over each video.

Shapes: B video of a batch, N video, K clip of a video, D embedding.
"""

import math
from collections.abc import Iterator, Sequence
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
from evossl.models.precise_bn import update_bn_statistics
from evossl.models.random_init import random_init
from evossl.types import ClipBatch, Progress, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, View

CLIPS_PER_VIDEO = 3
BATCH_SIZE = 16
MAX_STRETCH_SECONDS = 10.0  # of a long video, around its middle; bounds the memory of a batch
MAX_CALIBRATION_VIDEOS = 256
CLEAN_VIEW = View(Stream.RGB, space=CLEAN)


class Clips(Protocol):
    """The part of `ClipLoader` that evaluation needs."""

    def clips(self, indices: Sequence[int], draw: int) -> ClipBatch:
        """Return a stretch of each video: its centre for draw 0, a random one for any other."""


def open_clips(
    videos: Sequence[Video],
    config: EncoderConfig,
    cache: Path,
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[ClipLoader, FillReport]:
    """Decode videos at an encoder's rate and size; return a loader of the readable ones.

    Args:
        videos: readable ones of an index.
        config: of the encoder.
        cache: folder of the clip cache.
        seed: of the stretches that fine-tuning draws.
        progress: called with (videos decoded, videos in total).

    Returns:
        A loader whose rows are `report.readable`; and the report, with the rejected videos.

    Raises:
        RunError: no video can be decoded, or the disk is full.
    """
    store = ClipCache(cache, Cache(fps=config.fps, short_side=config.short_side))
    report = store.fill(videos, progress=progress)
    readable = report.readable
    seconds = min(MAX_STRETCH_SECONDS, max(video.seconds for video in readable))
    stretch = max(config.frames, math.ceil(seconds * config.fps))
    loader = ClipLoader(
        store, readable, stretch=stretch, batch_size=BATCH_SIZE, seed=seed, sound=False
    )
    return loader, report


def view_settings(config: EncoderConfig, ignores: tuple[str, ...] = ()) -> ViewSettings:
    """Return the view settings of an encoder's RGB clips."""
    return ViewSettings(config.frames, config.size, mel_bands=1, ignores=ignores)


def clean_clips(clips: ClipBatch, config: EncoderConfig, num_clips: int) -> Iterator[Tensor]:
    """Yield `num_clips` clean inputs (B, 3, T, H, W), evenly spaced over the stretches, in order.

    Clip k of K starts at the fraction (k + 1/2) / K of the possible starts, so that a single clip
    is the middle one.
    """
    settings = view_settings(config)
    last_start_B = (clips.num_frames_B - config.frames).clamp(min=0)
    for k in range(num_clips):
        start_B = (last_start_B * (2 * k + 1) + num_clips) // (2 * num_clips)
        part = _cut(clips, start_B, config.frames)
        inputs = build_views([CLEAN_VIEW], part, settings, seed=0, step=0)
        yield inputs[CLEAN_VIEW.input_key].pixels


def _cut(clips: ClipBatch, start_B: Tensor, num_frames: int) -> ClipBatch:
    """Return exactly `num_frames` frames from each start, so that a view has a single position."""
    last_B1 = clips.num_frames_B[:, None] - 1
    index_BT = start_B[:, None] + torch.arange(num_frames, device=start_B.device)
    rows_B1 = torch.arange(len(clips), device=start_B.device)[:, None]
    return replace(
        clips,
        frames_BLHWC=clips.frames_BLHWC[rows_B1, torch.minimum(index_BT, last_B1)],
        num_frames_B=(clips.num_frames_B - start_B).clamp(max=num_frames),
    )


@torch.no_grad()
def extract_features(
    encoder: VideoEncoder,
    loader: Clips,
    videos: Sequence[int],
    *,
    num_clips: int = CLIPS_PER_VIDEO,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return features_ND: the mean of the embeddings of each video's clean clips.

    Args:
        encoder: in any mode; it is not changed.
        loader: of the videos.
        videos: rows of the loader.
        num_clips: clips per video.
        progress: called with (videos done, videos in total).
    """
    network = encoder.for_inference()
    mean = mean_over_clips(network, encoder.config, loader, videos, num_clips, progress)
    return np.asarray(mean.numpy(), dtype=np.float32)


@torch.no_grad()
def mean_over_clips(
    network: torch.nn.Module,
    config: EncoderConfig,
    loader: Clips,
    videos: Sequence[int],
    num_clips: int = CLIPS_PER_VIDEO,
    progress: Progress | None = None,
) -> Tensor:
    """Return a network's mean output over each video's clean clips; float32 on the CPU."""
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    means = []
    for start in range(0, len(videos), BATCH_SIZE):
        clips = loader.clips(videos[start : start + BATCH_SIZE], draw=0).to(device)
        outputs = [network(x).float() for x in clean_clips(clips, config, num_clips)]
        means.append(torch.stack(outputs).mean(dim=0).cpu())
        if progress:
            progress(min(start + BATCH_SIZE, len(videos)), len(videos))
    network.train(was_training)
    return torch.cat(means)


def calibrate(encoder: VideoEncoder, loader: Clips, videos: Sequence[int]) -> None:
    """Estimate BatchNorm's statistics on clean clips of at most 256 of the videos."""
    device = next(encoder.parameters()).device
    batches = calibration_batches(encoder.config, loader, videos, device)
    update_bn_statistics(encoder.encoder, batches)


def calibration_batches(
    config: EncoderConfig, loader: Clips, videos: Sequence[int], device: torch.device
) -> Iterator[Tensor]:
    """Yield one clean clip of each of at most 256 videos, evenly spaced over `videos`."""
    count = min(len(videos), MAX_CALIBRATION_VIDEOS)
    chosen = [videos[round(row)] for row in np.linspace(0, len(videos) - 1, count).tolist()]
    for start in range(0, len(chosen), BATCH_SIZE):
        clips = loader.clips(chosen[start : start + BATCH_SIZE], draw=0).to(device)
        yield from clean_clips(clips, config, 1)


def untrained_copy(
    encoder: VideoEncoder, loader: Clips, videos: Sequence[int], *, seed: int
) -> VideoEncoder:
    """Return an untrained encoder of the same architecture, on the same device.

    Its BatchNorm is calibrated on the videos; no label is used.

    Args:
        encoder: what it is compared with.
        loader: of the videos.
        videos: rows of the loader.
        seed: of the weights.

    Raises:
        RunError: fewer than two videos to calibrate on.
    """
    device = next(encoder.parameters()).device
    batches = calibration_batches(encoder.config, loader, videos, device)
    untrained = random_init(encoder.config.backbone, seed, batches, device)
    return VideoEncoder(untrained, encoder.config).eval()
