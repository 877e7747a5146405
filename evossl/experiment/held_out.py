"""Features of the held-out clips, which the fitness scores, and BatchNorm calibrated for them.

Shapes: B clip of a batch, N clip, D embedding.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from evossl.data.loader import ClipLoader
from evossl.experiment.context import RunContext
from evossl.experiment.split import HeldOut
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import Score
from evossl.io.files import write_atomically, write_json
from evossl.models.encoder import Encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.rng import derive_seed
from evossl.types import Progress, Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, STRONG, Time, View

FEATURES_FILE = "features.safetensors"
NUM_CALIBRATION_BATCHES = 16
SCORING_BATCH_SIZE = 32
NUM_EXAMPLE_CLUSTERS = 8
EXAMPLES_PER_CLUSTER = 8
CLEAN_VIEW = View(Stream.RGB, space=CLEAN)


def clean_batches(
    loader: ClipLoader, settings: ViewSettings, device: torch.device
) -> Iterator[Tensor]:
    """Yield the clean RGB inputs (B, 3, T, H, W) that BatchNorm is calibrated on."""
    for step in range(NUM_CALIBRATION_BATCHES):
        clips = loader.batch(step).to(device)
        inputs = build_views([CLEAN_VIEW], clips, settings, seed=0, step=step)
        yield inputs[CLEAN_VIEW.input_key].pixels


def calibrate(encoder: Encoder, loader: ClipLoader, settings: ViewSettings) -> None:
    """Replace BatchNorm's running statistics by those of clean clips ("precise BN").

    The statistics of a training include masked and shuffled views.
    """
    device = next(encoder.parameters()).device
    update_bn_statistics(encoder, clean_batches(loader, settings, device))


def held_out_features(
    encoder: nn.Module,
    context: RunContext,
    held_out: HeldOut,
    progress: Progress | None = None,
    *,
    with_shuffled: bool = True,
) -> ScoringFeatures:
    """Return the features that the fitness scores: those of held-out clips of the run.

    Args:
        encoder: in any mode.
        context: of the run.
        held_out: the clips.
        progress: called with (clips done, clips in total).
        with_shuffled: also of clips with shuffled frames, which only an indicator needs.
    """
    seed = derive_seed(context.run.seed, "score")
    features = scoring_features(
        encoder, held_out, context.settings, seed, progress, with_shuffled=with_shuffled
    )
    return replace(features, labels_N=_labels(context, held_out))


def _labels(context: RunContext, held_out: HeldOut) -> Tensor | None:
    """Class numbers of the held-out clips for the `labels` fitness, -1 without a label; or None."""
    if context.space.fitness.name != "labels":
        return None
    names = [video.label for video in held_out.videos]
    classes = {name: i for i, name in enumerate(sorted({n for n in names if n is not None}))}
    return torch.tensor([-1 if name is None else classes[name] for name in names])


@torch.no_grad()
def scoring_features(
    encoder: nn.Module,
    held_out: HeldOut,
    settings: ViewSettings,
    seed: int,
    progress: Progress | None = None,
    *,
    with_shuffled: bool = True,
) -> ScoringFeatures:
    """Return features of clean clips, of two random views of each, and of shuffled frames.

    The random views are the training's strong views, so they follow the space's `ignores`.

    Args:
        encoder: in any mode; it is evaluated in eval mode.
        held_out: the videos.
        settings: of the views.
        seed: of the random views.
        with_shuffled: also return features of shuffled frames.
        progress: called with (videos done, videos in total).
    """
    device = next(encoder.parameters()).device
    views = {
        "clean_ND": CLEAN_VIEW,
        "first_ND": View(Stream.RGB, space=STRONG, draw=0),
        "second_ND": View(Stream.RGB, space=STRONG, draw=1),
    }
    if with_shuffled:
        shuffled = Time(segments=settings.frames, shuffle=1.0)
        views["shuffled_ND"] = View(Stream.RGB, time=shuffled, space=CLEAN)
    was_training = encoder.training
    encoder.eval()
    parts: dict[str, list[Tensor]] = {name: [] for name in views}
    videos = range(len(held_out.videos))
    for start in range(0, len(videos), SCORING_BATCH_SIZE):
        rows = videos[start : start + SCORING_BATCH_SIZE]
        clips = held_out.loader.clips(rows, draw=0).to(device)
        recipes = [view.input_key for view in views.values()]
        inputs = build_views(recipes, clips, settings, seed=seed, step=start)
        for name, view in views.items():
            features = encoder(inputs[view.input_key].pixels)
            parts[name].append(features.embedding_BD.float().cpu())
        if progress:
            progress(min(start + SCORING_BATCH_SIZE, len(videos)), len(videos))
    encoder.train(was_training)
    return ScoringFeatures(**{name: torch.cat(batches) for name, batches in parts.items()})


def write_features(path: Path, clean_ND: Tensor, videos: Sequence[str]) -> None:
    """Write the clean features of the held-out videos (float16), so that a run can be audited.

    Raises:
        RunError: the disk is full.
    """
    tensors = {"clean_ND": clean_ND.half().contiguous()}
    metadata = {"videos": json.dumps(list(videos))}
    write_atomically(path, lambda beside: save_file(tensors, beside, metadata))


def read_features(path: Path) -> tuple[Tensor, list[str]]:
    """Return the clean_ND (float32) and the video paths that `write_features` wrote."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("clean_ND").float(), json.loads(file.metadata()["videos"])


def write_clusters(path: Path, scored: Score, held_out: HeldOut) -> None:
    """Write the shares of all clusters and examples of the largest ones, for the report."""
    if scored.clusters_N is None or scored.shares_K is None or scored.zipf_K is None:
        return
    largest = torch.bincount(scored.clusters_N).argsort(descending=True)[:NUM_EXAMPLE_CLUSTERS]
    examples = [
        [
            {"path": held_out.videos[row].path, "start": 0.0}
            for row in (scored.clusters_N == cluster).nonzero()[:EXAMPLES_PER_CLUSTER, 0].tolist()
        ]
        for cluster in largest
    ]
    shares = {"shares": scored.shares_K.tolist(), "zipf": scored.zipf_K.tolist()}
    write_json(path, shares | {"examples": examples})
