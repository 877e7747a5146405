"""The controls of a run: what evolution must beat, scored in the same way as its trials.

Random inits (BatchNorm calibrated), Gaussian noise, blobs of Zipf's sizes that know nothing of the
clips, and a grid of mean colours.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from evossl.errors import UserError
from evossl.experiment.context import RunContext, RunSpec, features_of, random_init
from evossl.fitness.controls import colour_grid, noise_features, zipf_blobs
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import check_size, score
from evossl.rng import derive_seed
from evossl.types import Features

NUM_RANDOM_INITS = 5
NUM_CONTROLS = NUM_RANDOM_INITS + 3
RANDOM_INIT = "random init"


@dataclass(frozen=True)
class Control:
    """One control's row: plain data."""

    name: str
    fitness: float | None
    reason: str | None
    indicators: dict[str, float]
    seconds: float


class _ColourGrid(torch.nn.Module):
    """An encoder that only averages colours over a 4 x 4 grid."""

    def __init__(self) -> None:
        super().__init__()
        self.device_marker = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pixels: torch.Tensor) -> Features:
        return Features(colour_grid(pixels), {})


def score_controls(
    run: RunSpec, progress: Callable[[int, int], None] | None = None
) -> list[Control]:
    """Score every control of a run.

    Args:
        run: its space, data and seed.
        progress: called with (controls done, controls in all).
    """
    controls = []
    for name, features, seconds in _candidates(run):
        controls.append(_scored(name, features, seconds, run))
        if progress:
            progress(len(controls), NUM_CONTROLS)
    return controls


def _candidates(run: RunSpec) -> Iterator[tuple[str, ScoringFeatures, float]]:
    """Name, features, and the seconds they took."""
    for index in range(NUM_RANDOM_INITS):
        began = time.monotonic()
        encoder = random_init(run, index)
        features = features_of(encoder, run)
        yield f"{RANDOM_INIT} {index}", features, time.monotonic() - began
    clips, width = features.clean_ND.shape
    labels_N = features.labels_N
    seed = derive_seed(run.seed, "controls")
    fitness = RunContext.open(run).space.fitness
    k = check_size(clips, fitness)
    noise = noise_features(clips, width, seed)
    yield "noise", replace(noise, labels_N=labels_N), 0.0
    blobs = zipf_blobs(clips, width, k, seed, fitness.exponent)
    yield "zipf blobs", replace(blobs, labels_N=labels_N), 0.0
    began = time.monotonic()
    grid = features_of(_ColourGrid(), run)
    yield "colour grid", grid, time.monotonic() - began


def _scored(name: str, features: ScoringFeatures, seconds: float, run: RunSpec) -> Control:
    began = time.monotonic()
    try:
        found = score(features, RunContext.open(run).space.fitness, run.seed)
    except UserError as error:  # a user's own function that fails on these features
        return Control(name, None, str(error), {}, seconds)
    seconds += time.monotonic() - began
    return Control(name, found.fitness, found.reason, dict(found.indicators), seconds)
