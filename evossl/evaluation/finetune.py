"""Fine-tuning: an encoder and a linear classifier, trained together on labelled clips.

Shapes: B clip, N video, C class, D embedding.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evossl.errors import RunError
from evossl.evaluation.features import Clips, calibrate, mean_over_clips, view_settings
from evossl.evaluation.protocol import Ints
from evossl.export.encoder_folder import VideoEncoder
from evossl.optim.schedule import parameter_groups, share_of_rate
from evossl.rng import derive_seed
from evossl.types import Stream
from evossl.views.build import build_views
from evossl.views.spec import Space, View

AUGMENTED = View(Stream.RGB, space=Space("strong", scale=(0.5, 1.0)))

MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class FineTuning:
    """How a classifier is trained: AdamW, linear warm-up, cosine to zero.

    Attributes:
        epochs: times each video is seen, each time another clip and crop of it.
        batch_size: clips a step.
        lr: of the classifier.
        body_lr: of the encoder; smaller, so that what it learned without labels survives.
        weight_decay: of matrices and kernels; biases and norms have none.
        warmup: share of the steps.
        label_smoothing: of the cross-entropy.
    """

    epochs: int = 20
    batch_size: int = 16
    lr: float = 1e-3
    body_lr: float = 2e-4
    weight_decay: float = 0.05
    warmup: float = 0.1
    label_smoothing: float = 0.1

    def num_steps(self, num_videos: int) -> int:
        """Return the optimiser steps that training on so many videos takes."""
        return self.epochs * math.ceil(num_videos / self.batch_size)


PRETRAINED = FineTuning()
FROM_SCRATCH = FineTuning(body_lr=1e-3)
"""The supervised baseline: the same from random init, where no body has to be spared."""


class Classifier(nn.Module):
    """An encoder with a linear classifier on its normalised embedding.

    Args:
        encoder: gives (B, D).
        classes: names, in the order of the logits.
    """

    def __init__(self, encoder: VideoEncoder, classes: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = tuple(classes)
        width = encoder.config.width
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(self.classes)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C) of normalised clips (B, 3, T, H, W): `encoder.preprocess`."""
        return cast(Tensor, self.head(self.encoder(x)))


def finetune(
    encoder: VideoEncoder,
    loader: Clips,
    videos: Sequence[int],
    class_N: Ints,
    classes: Sequence[str],
    options: FineTuning = PRETRAINED,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Classifier:
    """Return a classifier trained on the videos; `encoder` itself is left as it was.

    Clips start anywhere in their video, are cropped at random (half of the frame or more) and, if
    the encoder ignores `flip`, mirrored: no other change is safe for every kind of label. At the
    end BatchNorm is calibrated on clean clips of the same videos.

    Args:
        encoder: on the device where it is trained.
        loader: of the videos.
        videos: rows of the loader.
        class_N: int64, index into `classes` of each of `videos`.
        classes: names.
        options: how.
        seed: of the classifier's first weights, the order and the augmentation.
        progress: called with (steps done, steps in all).

    Raises:
        RunError: the loss is not finite, or there are fewer than 2 videos.
    """
    if len(videos) < 2:
        raise RunError(f"fine-tuning on {len(videos)} video: at least 2 are needed")
    device = next(encoder.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "classifier"))
        model = Classifier(copy.deepcopy(encoder), classes).to(device)
    total = options.num_steps(len(videos))
    for step in _train(model, loader, videos, class_N, options, seed):
        if progress:
            progress(step + 1, total)
    calibrate(model.encoder, loader, videos)
    return model.eval()


def _train(
    model: Classifier,
    loader: Clips,
    videos: Sequence[int],
    class_N: Ints,
    options: FineTuning,
    seed: int,
) -> Iterator[int]:
    """Train; yield after each step."""
    device, config = next(model.parameters()).device, model.encoder.config
    total = options.num_steps(len(videos))
    flip = tuple(word for word in config.ignores if word == "flip")
    settings = view_settings(config, ("crop", "time", *flip))
    optimiser = torch.optim.AdamW(_groups(model, options))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: share_of_rate(step, total, options.warmup)
    )
    model.train()
    for step, (epoch, rows) in enumerate(_batches(len(videos), options, seed)):
        clips = loader.clips([videos[row] for row in rows], draw=1 + epoch).to(device)
        made = build_views([AUGMENTED], clips, settings, seed=seed, step=step)[AUGMENTED.input_key]
        target_B = torch.from_numpy(class_N[rows]).to(device)
        loss = F.cross_entropy(
            model(made.pixels), target_B, label_smoothing=options.label_smoothing
        )
        if not torch.isfinite(loss):
            raise RunError(f"fine-tuning: the loss is not finite at step {step}")
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
        optimiser.step()
        schedule.step()
        yield step


def predict(model: Classifier, loader: Clips, videos: Sequence[int]) -> Ints:
    """Return each video's class: the largest probability, averaged over its clean clips."""
    probability = nn.Sequential(model, nn.Softmax(dim=1))
    mean_NC = mean_over_clips(probability, model.encoder.config, loader, videos)
    return np.asarray(mean_NC.argmax(dim=1).numpy(), dtype=np.int64)


def _batches(num_videos: int, options: FineTuning, seed: int) -> Iterator[tuple[int, Ints]]:
    """Each epoch's rows, in another order; batches differ by one at most: no batch of one clip."""
    num_batches = math.ceil(num_videos / options.batch_size)
    for epoch in range(options.epochs):
        rng = np.random.default_rng(derive_seed(seed, "order", epoch))
        for rows in np.array_split(rng.permutation(num_videos), num_batches):
            yield epoch, rows


def _groups(model: Classifier, options: FineTuning) -> list[dict[str, Any]]:
    return [
        group | {"lr": lr}
        for part, lr in ((model.encoder, options.body_lr), (model.head, options.lr))
        for group in parameter_groups(part.parameters(), options.weight_decay)
    ]
