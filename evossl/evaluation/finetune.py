"""Fine-tuning: an encoder and a linear classifier are trained together on labelled videos.

Shapes: B clip, N video, C class, D embedding.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.errors import RunError
from evossl.evaluation.features import Clips, calibrate, mean_over_clips, view_settings
from evossl.evaluation.fold_data import Ints
from evossl.evaluation.labels import VideoSubset
from evossl.export.encoder_folder import VideoEncoder
from evossl.optim.schedule import parameter_groups, warmup_cosine
from evossl.rng import derive_seed
from evossl.types import Progress, Stream
from evossl.views.build import build_views
from evossl.views.spec import Space, View

TRAINING_VIEW = View(Stream.RGB, space=Space("strong", scale=(0.5, 1.0)))

MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class FineTuning:
    """How a classifier is trained: AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        epochs: passes over the videos, each with a different clip and crop of every video.
        batch_size: clips per step.
        lr: learning rate of the classifier.
        encoder_lr: learning rate of the encoder; lower, to preserve what it learned without labels.
        weight_decay: of matrices and kernels; biases and norms have none.
        warmup_fraction: of the steps.
        label_smoothing: of the cross-entropy.
    """

    epochs: int = 20
    batch_size: int = 16
    lr: float = 1e-3
    encoder_lr: float = 2e-4
    weight_decay: float = 0.05
    warmup_fraction: float = 0.1
    label_smoothing: float = 0.1

    def num_steps(self, num_videos: int) -> int:
        """Return the number of optimiser steps for this number of videos."""
        return self.epochs * math.ceil(num_videos / self.batch_size)


PRETRAINED = FineTuning()
FROM_SCRATCH = FineTuning(encoder_lr=1e-3)
"""The supervised baseline: the same from random init, with nothing in the encoder to preserve."""


class Classifier(nn.Module):
    """An encoder with a linear classifier on its normalised embedding.

    Args:
        encoder: returns embeddings (B, D).
        classes: names, in the order of the logits.
    """

    def __init__(self, encoder: VideoEncoder, classes: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = tuple(classes)
        width = encoder.config.width
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(self.classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of clips (B, 3, T, H, W) as made by `encoder.preprocess`."""
        return cast(Tensor, self.head(self.encoder(x)))


def finetune(
    encoder: VideoEncoder,
    loader: Clips,
    data: VideoSubset,
    options: FineTuning = PRETRAINED,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Classifier:
    """Return a classifier trained on the videos; `encoder` itself is not changed.

    Clips start anywhere in their video, are cropped at random (to half of the frame or more) and,
    if the encoder ignores `flip`, are mirrored; no other augmentation is safe for every kind of
    label. At the end, BatchNorm is calibrated on clean clips of the same videos.

    Args:
        encoder: on the device where it is trained.
        loader: of the videos.
        data: the videos and their classes.
        options: of the training.
        seed: of the classifier's initial weights, the order and the augmentation.
        progress: called with (steps done, steps in total).

    Raises:
        RunError: the loss is not finite, or there are fewer than 2 videos.
    """
    if len(data.videos) < 2:
        raise RunError(f"fine-tuning needs at least 2 videos, not {len(data.videos)}")
    device = next(encoder.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "classifier"))
        model = Classifier(copy.deepcopy(encoder), data.classes).to(device)
    total = options.num_steps(len(data.videos))
    for step in _train(model, loader, data, options, seed):
        if progress:
            progress(step + 1, total)
    calibrate(model.encoder, loader, data.videos)
    return model.eval()


def _train(
    model: Classifier, loader: Clips, data: VideoSubset, options: FineTuning, seed: int
) -> Iterator[int]:
    """Train the model, and yield the number of each step after it."""
    device, config = next(model.parameters()).device, model.encoder.config
    total = options.num_steps(len(data.videos))
    flip = tuple(word for word in config.ignores if word == "flip")
    settings = view_settings(config, ("crop", "time", *flip))
    optimiser = torch.optim.AdamW(_parameter_groups(model, options))
    schedule = warmup_cosine(optimiser, total, options.warmup_fraction)
    model.train()
    for step, (epoch, rows) in enumerate(_batches(len(data.videos), options, seed)):
        clips = loader.clips([data.videos[row] for row in rows], draw=1 + epoch).to(device)
        inputs = build_views([TRAINING_VIEW], clips, settings, seed=seed, step=step)[
            TRAINING_VIEW.input_key
        ]
        target_B = torch.from_numpy(data.class_N[rows]).to(device)
        loss = F.cross_entropy(
            model(inputs.pixels), target_B, label_smoothing=options.label_smoothing
        )
        if not torch.isfinite(loss):
            raise RunError(
                f"fine-tuning: the loss is not finite at step {step}; lower the learning rate"
            )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimiser.step()
        schedule.step()
        yield step


def predict(model: Classifier, loader: Clips, videos: Sequence[int]) -> Ints:
    """Return the class of each video whose mean probability over the clean clips is largest."""
    probability = nn.Sequential(model, nn.Softmax(dim=1))
    mean_NC = mean_over_clips(probability, model.encoder.config, loader, videos)
    return np.asarray(mean_NC.argmax(dim=1).numpy(), dtype=np.int64)


def _batches(num_videos: int, options: FineTuning, seed: int) -> Iterator[tuple[int, Ints]]:
    """Yield (epoch, rows): a new order in each epoch, in batches that differ by at most one clip.

    No batch has a single clip, for which BatchNorm would have no variance.
    """
    num_batches = math.ceil(num_videos / options.batch_size)
    for epoch in range(options.epochs):
        rng = np.random.default_rng(derive_seed(seed, "order", epoch))
        for rows in np.array_split(rng.permutation(num_videos), num_batches):
            yield epoch, rows


def _parameter_groups(model: Classifier, options: FineTuning) -> list[dict[str, Any]]:
    return [
        group | {"lr": lr}
        for part, lr in ((model.encoder, options.encoder_lr), (model.head, options.lr))
        for group in parameter_groups(part.parameters(), options.weight_decay)
    ]
