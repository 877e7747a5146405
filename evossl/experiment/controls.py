"""The controls of a run: baselines that a winner must beat, scored as its encoders are.

They are untrained encoders, Gaussian noise, blobs with Zipf's sizes that know nothing of the clips,
and a grid of mean colours.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evossl.errors import UserError
from evossl.experiment.context import RunContext
from evossl.experiment.held_out import clean_batches, held_out_features
from evossl.experiment.split import HeldOut
from evossl.fitness.control_features import colour_grid, noise_features, zipf_blobs
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import resolve_num_clusters, score
from evossl.models.encoder import Encoder, build_encoder
from evossl.models.precise_bn import update_bn_statistics
from evossl.models.random_init import random_init
from evossl.rng import derive_seed
from evossl.search.table import ControlKind
from evossl.types import Features, Progress, Stream

NUM_RANDOM_INITS = 5
NUM_CONTROLS = NUM_RANDOM_INITS + 3
FEATURE_SETS = ("clean_ND", "first_ND", "second_ND", "shuffled_ND")


@dataclass(frozen=True)
class Control:
    """The row of one control, as plain data."""

    kind: ControlKind
    name: str
    fitness: float | None
    reason: str | None
    indicators: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class ControlFeatures:
    """The features of a control, before they are scored, and the seconds that they took."""

    kind: ControlKind
    name: str
    features: ScoringFeatures
    seconds: float = 0.0


class _ColourGrid(nn.Module):
    """An encoder that only averages colours over a 4 x 4 grid."""

    def forward(self, pixels: Tensor) -> Features:
        return Features(colour_grid(pixels), {})


class _SideBySide(nn.Module):
    """Encoders that see the same pixels, so that each input is built once for all of them.

    Its embedding is their embeddings, concatenated; `widths` holds the width of each.
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.widths: list[int] = []

    def forward(self, pixels: Tensor) -> Features:
        embeddings = [encoder(pixels).embedding_BD for encoder in self.encoders]
        self.widths = [embedding_BD.shape[1] for embedding_BD in embeddings]
        return Features(torch.cat(embeddings, dim=1), {})


def score_controls(context: RunContext, progress: Progress | None = None) -> list[Control]:
    """Return the scores of all controls of a run on its selection set.

    Args:
        context: of the run.
        progress: called with (controls scored, controls in total).
    """
    controls = []
    for control in control_features(context, context.data.selection, NUM_RANDOM_INITS):
        controls.append(_scored(control, context))
        if progress:
            progress(len(controls), NUM_CONTROLS)
    return controls


def run_random_init(context: RunContext, index: int) -> Encoder:
    """Return a run's untrained RGB encoder number `index`, with BatchNorm calibrated."""
    batches = clean_batches(context.data.train, context.settings, context.device)
    return random_init(context.space.backbone, _init_seed(context, index), batches, context.device)


def _init_seed(context: RunContext, index: int) -> int:
    return derive_seed(context.run.seed, "random init", index)


def control_features(
    context: RunContext, held_out: HeldOut, num_random_inits: int, *, with_shuffled: bool = True
) -> Iterator[ControlFeatures]:
    """Yield the features of each control on held-out clips: the random inits first.

    All random inits and the colour grid see each input together: building inputs takes longer than
    a small encoder's forward pass.
    """
    began = time.monotonic()
    device, backbone = context.device, context.space.backbone
    seeds = [_init_seed(context, index) for index in range(num_random_inits)]
    inits = [build_encoder(Stream.RGB, backbone, seed).to(device) for seed in seeds]
    group = _SideBySide([*inits, _ColourGrid()])
    update_bn_statistics(group, clean_batches(context.data.train, context.settings, device))
    together = held_out_features(group, context, held_out, with_shuffled=with_shuffled)
    *random, grid = _split_columns(together, group.widths)
    seconds = (time.monotonic() - began) / len(group.widths)
    for index, features in enumerate(random):
        yield ControlFeatures("random_init", f"random init {index}", features, seconds)
    clips, width = random[0].clean_ND.shape
    labels_N = together.labels_N
    seed = derive_seed(context.run.seed, "controls")
    fitness = context.space.fitness
    noise = noise_features(clips, width, seed)
    yield ControlFeatures("noise", "noise", replace(noise, labels_N=labels_N))
    num_clusters = resolve_num_clusters(clips, fitness)
    blobs = zipf_blobs(clips, width, num_clusters, seed, fitness.exponent)
    yield ControlFeatures("zipf_blobs", "zipf blobs", replace(blobs, labels_N=labels_N))
    yield ControlFeatures("colour_grid", "colour grid", grid, seconds)


def _split_columns(features: ScoringFeatures, widths: Sequence[int]) -> list[ScoringFeatures]:
    """Return the features of each encoder of `_SideBySide`."""
    sets = {name: getattr(features, name) for name in FEATURE_SETS}
    parts = {n: x_ND.split(widths, dim=1) for n, x_ND in sets.items() if x_ND is not None}
    return [
        ScoringFeatures(
            **{name: columns[i].contiguous() for name, columns in parts.items()},
            labels_N=features.labels_N,
        )
        for i in range(len(widths))
    ]


def _scored(control: ControlFeatures, context: RunContext) -> Control:
    began = time.monotonic()
    kind, name = control.kind, control.name
    try:
        found = score(control.features, context.space.fitness, context.run.seed)
    except UserError as error:  # the user's own fitness function failed on these features
        return Control(kind, name, None, str(error), {}, control.seconds)
    seconds = control.seconds + time.monotonic() - began
    return Control(kind, name, found.fitness, found.reason, dict(found.indicators), seconds)
