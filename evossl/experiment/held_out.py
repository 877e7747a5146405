"""Features for scoring: of clean clips, of two random views of each, of frame-shuffled ones.

Shapes: N clip, D embedding.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from evossl.data.loader import ClipLoader
from evossl.fitness.features import ScoringFeatures
from evossl.io.files import write_atomically
from evossl.models.encoder import Encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.types import Stream
from evossl.views.build import build_views
from evossl.views.settings import ViewSettings
from evossl.views.spec import CLEAN, STRONG, Time, View

FEATURES = "features.safetensors"
CALIBRATION_BATCHES = 16
CLEAN_VIEW = View(Stream.RGB, space=CLEAN)


def clean_batches(
    loader: ClipLoader, settings: ViewSettings, device: torch.device, num_batches: int
) -> Iterator[Tensor]:
    """Yield clean RGB inputs of the loader's first batches."""
    for step in range(num_batches):
        clips = loader.batch(step).to(device)
        made = build_views([CLEAN_VIEW], clips, settings, seed=0, step=step)
        yield made[CLEAN_VIEW.input_key].pixels


def calibrate(encoder: Encoder, loader: ClipLoader, settings: ViewSettings) -> None:
    """Estimate BatchNorm's running statistics anew on clean clips: masked views are in the old."""
    device = next(encoder.parameters()).device
    update_bn_statistics(encoder, clean_batches(loader, settings, device, CALIBRATION_BATCHES))


@torch.no_grad()
def scoring_features(
    encoder: nn.Module,
    loader: ClipLoader,
    settings: ViewSettings,
    videos: Sequence[int],
    *,
    seed: int,
    batch_size: int = 32,
    labels_N: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScoringFeatures:
    """Return the features that the fitness scores, of the loader's `videos` (rows).

    The two random views are the training's strong views: what the space's `ignores` makes them.
    """
    device = next(encoder.parameters()).device
    views = {
        "clean": CLEAN_VIEW,
        "first": View(Stream.RGB, space=STRONG, draw=0),
        "second": View(Stream.RGB, space=STRONG, draw=1),
        "shuffled": View(Stream.RGB, time=Time(segments=settings.frames, shuffle=1.0), space=CLEAN),
    }
    was_training = encoder.training
    encoder.eval()
    parts: dict[str, list[Tensor]] = {name: [] for name in views}
    for start in range(0, len(videos), batch_size):
        clips = loader.clips(videos[start : start + batch_size], draw=0).to(device)
        made = build_views(
            [v.input_key for v in views.values()], clips, settings, seed=seed, step=start
        )
        for name, view in views.items():
            parts[name].append(encoder(made[view.input_key].pixels).embedding_BD.float().cpu())
        if progress:
            progress(min(start + batch_size, len(videos)), len(videos))
    encoder.train(was_training)
    stacked = {name: torch.cat(each) for name, each in parts.items()}
    return ScoringFeatures(
        clean_ND=stacked["clean"],
        first_ND=stacked["first"],
        second_ND=stacked["second"],
        shuffled_ND=stacked["shuffled"],
        labels_N=labels_N,
    )


def write_features(path: Path, clean_ND: Tensor, videos: Sequence[str]) -> None:
    """Keep the clean features of the scored videos (float16), so that a run can be audited.

    Raises:
        RunError: the disk is full.
    """
    tensors = {"clean_ND": clean_ND.half().contiguous()}
    metadata = {"videos": json.dumps(list(videos))}
    write_atomically(path, lambda beside: save_file(tensors, beside, metadata))


def read_features(path: Path) -> tuple[Tensor, list[str]]:
    """Return clean_ND (float32) and the paths of the videos that `write_features` kept."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("clean_ND").float(), json.loads(file.metadata()["videos"])
