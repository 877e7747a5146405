"""The controls of a run: baselines that a winner must beat, scored as its encoders are.

They are untrained encoders, Gaussian noise, blobs with Zipf's sizes that know nothing of the clips,
and a grid of mean colours.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from evossl.errors import UserError
from evossl.experiment.context import RunContext
from evossl.experiment.held_out import clean_batches, held_out_features
from evossl.experiment.split import HeldOut
from evossl.fitness.control_features import colour_grid, noise_features, zipf_blobs
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import resolve_num_clusters, score
from evossl.models.encoder import Encoder
from evossl.models.random_init import random_init
from evossl.rng import derive_seed
from evossl.search.table import ControlKind
from evossl.types import Features, Progress

NUM_RANDOM_INITS = 5
NUM_CONTROLS = NUM_RANDOM_INITS + 3


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


class _ColourGrid(torch.nn.Module):
    """An encoder that only averages colours over a 4 x 4 grid."""

    def __init__(self) -> None:
        super().__init__()
        self.device_marker = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> Features:
        return Features(colour_grid(pixels), {})


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
    seed = derive_seed(context.run.seed, "random init", index)
    return random_init(context.space.backbone, seed, batches, context.device)


def control_features(
    context: RunContext, held_out: HeldOut, num_random_inits: int, *, with_shuffled: bool = True
) -> Iterator[ControlFeatures]:
    """Yield the features of each control on held-out clips: the random inits first."""

    def features_of(encoder: torch.nn.Module) -> ScoringFeatures:
        return held_out_features(encoder, context, held_out, with_shuffled=with_shuffled)

    for index in range(num_random_inits):
        began = time.monotonic()
        features = features_of(run_random_init(context, index))
        seconds = time.monotonic() - began
        yield ControlFeatures("random_init", f"random init {index}", features, seconds)
    clips, width = features.clean_ND.shape
    labels_N = features.labels_N
    seed = derive_seed(context.run.seed, "controls")
    fitness = context.space.fitness
    noise = noise_features(clips, width, seed)
    yield ControlFeatures("noise", "noise", replace(noise, labels_N=labels_N))
    num_clusters = resolve_num_clusters(clips, fitness)
    blobs = zipf_blobs(clips, width, num_clusters, seed, fitness.exponent)
    yield ControlFeatures("zipf_blobs", "zipf blobs", replace(blobs, labels_N=labels_N))
    began = time.monotonic()
    grid = features_of(_ColourGrid())
    yield ControlFeatures("colour_grid", "colour grid", grid, time.monotonic() - began)


def _scored(control: ControlFeatures, context: RunContext) -> Control:
    began = time.monotonic()
    kind, name = control.kind, control.name
    try:
        found = score(control.features, context.space.fitness, context.run.seed)
    except UserError as error:  # the user's own fitness function failed on these features
        return Control(kind, name, None, str(error), {}, control.seconds)
    seconds = control.seconds + time.monotonic() - began
    return Control(kind, name, found.fitness, found.reason, dict(found.indicators), seconds)
