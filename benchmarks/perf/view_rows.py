"""Rows about what precedes a step: views, the wait for them, and other libraries' views."""

import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import count, pairwise
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from lightly.transforms.simclr_transform import SimCLRViewTransform
from PIL import Image
from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from training_step import Stepper

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import load_index
from evossl.data.loader import ClipLoader
from evossl.experiment.context import RunContext
from evossl.training import model as model_module
from evossl.types import PIXEL_MEAN, PIXEL_SD, Stream
from evossl.views.build import build_views
from evossl.views.flow import clip_flow
from evossl.views.spec import STRONG, View
from perf.bench_folder import BenchFolder
from perf.measurement import (
    NUM_REPEATS,
    Measurement,
    Row,
    measure_ratio,
    ratios_of,
    record_durations,
    seconds_per_call,
)
from perf.step_rows import PlainSimCLR

STEPS_PER_REPEAT = 4
NUM_WORKERS = 2  # of the other libraries' DataLoaders: one per core
WARM_UP_STEPS = 3
NUM_QUEUED_BATCHES = 2 * NUM_WORKERS  # prefetched by a DataLoader
IDLE_SECONDS = 1.0
LARGE_MODEL, SMALL_MODEL = "R(2+1)D-50 of width 16", "the demo's C3D of width 8"
NUM_EPOCHS = 40  # of a DataLoader in one; each epoch would start new processes


class LightlyClips(Dataset[list[Tensor]]):
    """Clips from the cache that we read too, each as two views by lightly's SimCLR transform.

    The transform is made for images, so every frame of a view gets it with the same random state.
    """

    def __init__(self, bench: BenchFolder, space: SearchSpace) -> None:
        videos, cache = load_index(bench.manifest).videos, ClipCache(bench.cache, space.cache)
        self.loader = ClipLoader(
            cache, videos, stretch=space.clip.stretch, batch_size=1, seed=0, sound=False
        )
        self.transform = SimCLRViewTransform(input_size=space.clip.size)
        self.frames = space.clip.frames

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> list[Tensor]:
        clip = self.loader.batch(index)
        length = int(clip.num_frames_B[0])
        height, width = clip.size_B2[0].tolist()
        views = []
        for view in range(2):
            rng = np.random.default_rng([index, view])
            start = int(rng.integers(max(length - self.frames, 0) + 1))
            frames = clip.frames_BLHWC[0, start : start + self.frames, :height, :width].numpy()
            views.append(
                torch.stack([self._frame(f, int(rng.integers(1 << 30))) for f in frames], 1)
            )
        return views

    def _frame(self, frame_HWC: np.ndarray[Any, Any], seed: int) -> Tensor:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - lightly draws from it
        torch.manual_seed(seed)
        return self.transform(Image.fromarray(frame_HWC))


def lightly(bench: BenchFolder, small: bool) -> Measurement:
    """Return the time of our SimCLR step with its views over that with lightly's DataLoader."""
    space = (bench.demo_space if small else bench.space)("simclr")
    context = bench.open_run(space, "lightly")
    ours, theirs = Stepper(space), PlainSimCLR(space)
    clips = context.data.train.prefetch(0, 1 << 20)
    batches = iter(
        DataLoader(LightlyClips(bench, space), space.training.batch_size, num_workers=NUM_WORKERS)
    )
    ours.step(next(clips))
    theirs.step(*next(batches))
    fixed = next(clips)
    made = build_views(ours.model.plan.inputs, fixed, ours.model.settings, seed=0, step=0)
    pairs, without = [], []
    for _ in range(NUM_REPEATS):
        for _ in range(NUM_QUEUED_BATCHES):  # batches made in advance do not count
            next(batches)
        took = seconds_per_call(lambda: theirs.step(*next(batches)), STEPS_PER_REPEAT)
        time.sleep(IDLE_SECONDS)  # until their workers have filled their queue and are idle
        pairs.append((seconds_per_call(lambda: ours.step(next(clips)), STEPS_PER_REPEAT), took))
        with mock.patch.object(model_module, "build_views", return_value=made):
            without.append(seconds_per_call(lambda: ours.step(fixed), STEPS_PER_REPEAT) / took)
    clips.close()
    measurement = ratios_of(pairs)
    floor = float(np.median(without))
    return Measurement(measurement.values, f"{measurement.details}; with free views {floor:.3g}")


def waiting(bench: BenchFolder, small: bool) -> Measurement:
    """Return the fraction of the training time spent on waiting for data and making views."""
    space = (bench.demo_space if small else bench.space)("simclr")
    context = bench.open_run(space, "waiting")
    stepper = Stepper(space)
    shares, loading, making = [], [], []
    clips = context.data.train.prefetch(0, WARM_UP_STEPS + NUM_REPEATS * STEPS_PER_REPEAT)
    with record_durations(model_module, "build_views") as spent:
        for _ in range(WARM_UP_STEPS):
            stepper.step(next(clips))
        for _ in range(NUM_REPEATS):
            before = context.data.train.wait_seconds
            spent.clear()
            took = (
                seconds_per_call(lambda: stepper.step(next(clips)), STEPS_PER_REPEAT)
                * STEPS_PER_REPEAT
            )
            waited = context.data.train.wait_seconds - before
            loading.append(waited / took)
            making.append(sum(spent) / took)
            shares.append((waited + sum(spent)) / took)
    clips.close()
    data, views = (float(np.median(part)) for part in (loading, making))
    return Measurement(shares, f"data {data:.3f}, views {views:.3f}")


def pytorchvideo(bench: BenchFolder) -> Measurement:
    """Return the time of pytorchvideo's random crops of the files over ours of the warm cache."""
    torch.set_num_threads(NUM_WORKERS)
    space = bench.space("simclr", ignores=["crop", "flip", "time"])
    context = bench.open_run(space, "pytorchvideo")
    view = View(Stream.RGB, space=STRONG)
    steps = count()
    clips = context.data.train.prefetch(0, 1 << 20)

    def ours() -> None:
        build_views([view.input_key], next(clips), context.settings, seed=0, step=next(steps))

    batches = _pytorchvideo_batches(context)
    pairs = []
    for _ in range(NUM_REPEATS):
        for _ in range(NUM_QUEUED_BATCHES):  # batches made in advance do not count
            next(batches)
        theirs = seconds_per_call(lambda: next(batches), STEPS_PER_REPEAT)
        time.sleep(IDLE_SECONDS)  # until their workers have filled their queue and are idle
        pairs.append((theirs, seconds_per_call(ours, STEPS_PER_REPEAT)))
    clips.close()
    measurement, size = ratios_of(pairs), space.training.batch_size
    return Measurement(measurement.values, f"a batch of {size}: {measurement.details}")


def _pytorchvideo_batches(context: RunContext) -> Iterator[Any]:
    """Yield batches of `LabeledVideoDataset` in a DataLoader, cropped and flipped by torchvision.

    `pytorchvideo.transforms` cannot be imported with this torchvision; the operations are the same.
    """
    settings, fps = context.settings, context.space.cache.fps
    no_label: dict[str, Any] = {}
    paths = [(video.path, no_label) for video in context.data.train_videos] * NUM_EPOCHS
    augment = v2.Compose(
        [
            v2.RandomResizedCrop(settings.size, scale=(0.3, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.Normalize([PIXEL_MEAN] * 3, [PIXEL_SD] * 3),
        ]
    )

    def transform(clip: dict[str, Any]) -> Tensor:
        video = clip["video"]  # (C, T, H, W)
        index = torch.linspace(0, video.shape[1] - 1, settings.frames).long()
        frames: Tensor = augment(video[:, index].transpose(0, 1) / 255)
        return frames.transpose(0, 1)

    sampler = make_clip_sampler("random", settings.frames / fps)
    dataset = LabeledVideoDataset(paths, sampler, transform=transform, decode_audio=False)
    batch_size = context.space.training.batch_size
    return iter(DataLoader(dataset, batch_size, num_workers=NUM_WORKERS, drop_last=True))


def flow(bench: BenchFolder) -> Measurement:
    """Return the time of our batched optical flow over OpenCV's DIS, with one thread each."""
    context = bench.open_run(bench.space("simclr"), "flow")
    frames = context.data.train.batch(0).frames_BLHWC[:, :17, :80, :80]
    gray = [[cv2.cvtColor(f.numpy(), cv2.COLOR_RGB2GRAY) for f in clip] for clip in frames]
    pairs = [(a, b) for clip in gray for a, b in pairwise(clip)]
    gray_BT1HW = torch.from_numpy(np.stack([np.stack(clip) for clip in gray]))[:, :, None] / 255
    cv2.setNumThreads(1)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    calc: Any = dis.calc  # its stub demands an initial flow field
    measurement = measure_ratio(
        lambda: clip_flow(gray_BT1HW), lambda: [calc(a, b, None) for a, b in pairs]
    )
    return Measurement(measurement.values, f"{len(pairs)} pairs of 80 x 80: {measurement.details}")


ROWS = (
    Row(
        "lightly",
        f"our SimCLR step with views, {LARGE_MODEL}",
        "lightly's transforms and loss in a DataLoader with 2 workers, same encoder",
        0.50,
        partial(lightly, small=False),
    ),
    Row(
        "lightly-small", f"the same, {SMALL_MODEL}", "the same", 0.50, partial(lightly, small=True)
    ),
    Row(
        "waiting",
        f"time spent waiting for data or making views, warm cache, {LARGE_MODEL}",
        "the time of the step",
        0.08,
        partial(waiting, small=False),
    ),
    Row(
        "waiting-small",
        f"the same, {SMALL_MODEL}",
        "the time of the step",
        0.08,
        partial(waiting, small=True),
    ),
    Row(
        "pytorchvideo",
        "pytorchvideo's LabeledVideoDataset (2 workers) with its transforms, seconds per clip",
        "ours, warm cache, 2 threads",
        10.0,
        pytorchvideo,
        better="high",
    ),
    Row("flow", "optical flow of a pair of frames", "OpenCV's DIS (medium), one thread", 1.0, flow),
)
