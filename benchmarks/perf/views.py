"""Rows about what stands before a step: views, the wait for them, others' ways to make them."""

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
from stepper import Stepper
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

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
from perf.place import Place
from perf.row import REPEATS, Measured, Row, interleaved, of_pairs, seconds, timed
from perf.steps import Bare

STEPS = 4  # in a repeat
WORKERS = 2  # of others' DataLoaders: as many as cores
WARM_UP = 3
QUEUED = 2 * WORKERS  # batches that a DataLoader makes ahead
IDLE_SECONDS = 1.0
LARGE, SMALL = "R(2+1)D-50 of width 16", "the demo's C3D of width 8"
EPOCHS = 40  # of others' data sets in one: they start new processes for each


class LightlyClips(Dataset[list[Tensor]]):
    """Clips out of the very cache that we read, each as two views by lightly's SimCLR transform.

    It is made for images: every frame of a view gets it under the same random state, as one does.
    """

    def __init__(self, place: Place, space: SearchSpace) -> None:
        videos, cache = load_index(place.manifest).videos, ClipCache(place.cache, space.cache)
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


def lightly(place: Place, small: bool) -> Measured:
    """SimCLR with its views: ours, and lightly's in a DataLoader."""
    space = (place.demo_space if small else place.space)("simclr")
    bench = place.bench(space, "lightly")
    ours, theirs = Stepper(space), Bare(space)
    clips = bench.data.train.prefetch(0, 1 << 20)
    batches = iter(
        DataLoader(LightlyClips(place, space), space.training.batch_size, num_workers=WORKERS)
    )
    ours.step(next(clips))
    theirs.step(*next(batches))
    fixed = next(clips)
    made = build_views(ours.model.plan.inputs, fixed, ours.model.settings, seed=0, step=0)
    pairs, without = [], []
    for _ in range(REPEATS):
        for _ in range(QUEUED):  # what was made beforehand
            next(batches)
        took = seconds(lambda: theirs.step(*next(batches)), STEPS)
        time.sleep(IDLE_SECONDS)  # their workers fill their queue, and rest
        pairs.append((seconds(lambda: ours.step(next(clips)), STEPS), took))
        with mock.patch.object(model_module, "build_views", return_value=made):
            without.append(seconds(lambda: ours.step(fixed), STEPS) / took)
    clips.close()
    measured = of_pairs(pairs)
    floor = float(np.median(without))
    return Measured(measured.values, f"{measured.told}; were our views free: {floor:.3g}")


def waiting(place: Place, small: bool) -> Measured:
    """Share of a training's time in which no encoder computes for want of an input."""
    space = (place.demo_space if small else place.space)("simclr")
    bench = place.bench(space, "waiting")
    stepper = Stepper(space)
    shares, loaded, made = [], [], []
    clips = bench.data.train.prefetch(0, WARM_UP + REPEATS * STEPS)
    with timed(model_module, "build_views") as spent:
        for _ in range(WARM_UP):
            stepper.step(next(clips))
        for _ in range(REPEATS):
            before = bench.data.train.wait_seconds
            spent.clear()
            took = seconds(lambda: stepper.step(next(clips)), STEPS) * STEPS
            waited = bench.data.train.wait_seconds - before
            loaded.append(waited / took)
            made.append(sum(spent) / took)
            shares.append((waited + sum(spent)) / took)
    clips.close()
    data, views = (float(np.median(part)) for part in (loaded, made))
    return Measured(shares, f"data {data:.3f}, views {views:.3f}")


def pytorchvideo(place: Place) -> Measured:
    """A random crop of each clip: ours out of the warm cache, pytorchvideo's out of the file."""
    torch.set_num_threads(WORKERS)
    space = place.space("simclr", ignores=["crop", "flip", "time"])
    bench = place.bench(space, "pytorchvideo")
    view = View(Stream.RGB, space=STRONG)
    steps = count()
    clips = bench.data.train.prefetch(0, 1 << 20)

    def ours() -> None:
        build_views([view], next(clips), bench.settings, seed=0, step=next(steps))

    batches = _pytorchvideo_batches(bench)
    pairs = []
    for _ in range(REPEATS):
        for _ in range(QUEUED):  # what was made beforehand
            next(batches)
        theirs = seconds(lambda: next(batches), STEPS)
        time.sleep(IDLE_SECONDS)  # their workers fill their queue, and rest
        pairs.append((theirs, seconds(ours, STEPS)))
    clips.close()
    measured, size = of_pairs(pairs), space.training.batch_size
    return Measured(measured.values, f"a batch of {size}: {measured.told}")


def _pytorchvideo_batches(bench: RunContext) -> Iterator[Any]:
    """Batches by `LabeledVideoDataset` in a DataLoader, cropped and flipped by torchvision.

    `pytorchvideo.transforms` does not import on this torchvision; these are the same operations.
    """
    settings, fps = bench.settings, bench.space.cache.fps
    nothing: dict[str, Any] = {}
    paths = [(video.path, nothing) for video in bench.data.train_videos] * EPOCHS
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
    batch_size = bench.space.training.batch_size
    return iter(DataLoader(dataset, batch_size, num_workers=WORKERS, drop_last=True))


def flow(place: Place) -> Measured:
    """A field of flow: ours in a batch, and OpenCV's DIS, one thread each."""
    bench = place.bench(place.space("simclr"), "flow")
    frames = bench.data.train.batch(0).frames_BLHWC[:, :17, :80, :80]
    gray = [[cv2.cvtColor(f.numpy(), cv2.COLOR_RGB2GRAY) for f in clip] for clip in frames]
    pairs = [(a, b) for clip in gray for a, b in pairwise(clip)]
    gray_BT1HW = torch.from_numpy(np.stack([np.stack(clip) for clip in gray]))[:, :, None] / 255
    cv2.setNumThreads(1)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    calc: Any = dis.calc  # its stub wants a field to begin with
    measured = interleaved(
        lambda: clip_flow(gray_BT1HW), lambda: [calc(a, b, None) for a, b in pairs]
    )
    return Measured(measured.values, f"{len(pairs)} pairs of 80 x 80: {measured.told}")


ROWS = (
    Row(
        "lightly",
        f"our SimCLR step with views, {LARGE}",
        "lightly's transforms and loss in a DataLoader with 2 workers, same encoder",
        0.50,
        partial(lightly, small=False),
    ),
    Row("lightly-small", f"the same, {SMALL}", "the same", 0.50, partial(lightly, small=True)),
    Row(
        "waiting",
        f"waiting for data or making views, warm cache, {LARGE}",
        "the step",
        0.08,
        partial(waiting, small=False),
    ),
    Row("waiting-small", f"the same, {SMALL}", "the step", 0.08, partial(waiting, small=True)),
    Row(
        "pytorchvideo",
        "pytorchvideo's LabeledVideoDataset (2 workers), transforms of its kind, seconds a clip",
        "ours, warm, 2 threads",
        10.0,
        pytorchvideo,
        better="high",
    ),
    Row("flow", "flow on the device, a pair", "OpenCV's DIS (medium) in one thread", 1.0, flow),
)
