"""The controls of a run: what evolution must beat, scored in the same way as its trials.

Random inits (BatchNorm calibrated), Gaussian noise, blobs of Zipf's sizes that know nothing of the
clips, and a grid of mean colours.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from evossl.fitness.controls import colour_grid, noise_features, zipf_blobs
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import Score, check_size, score
from evossl.seeds import derive_seed
from evossl.streams import Features
from evossl.training.workbench import RunSpec, Workbench, features_of, random_init

NUM_RANDOM_INITS = 5
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
    total = NUM_RANDOM_INITS + 3
    controls = []
    for name, features, seconds in _candidates(run):
        began = time.monotonic()
        scored = _score(features, run)
        seconds += time.monotonic() - began
        controls.append(
            Control(name, scored.fitness, scored.reason, dict(scored.indicators), seconds)
        )
        if progress:
            progress(len(controls), total)
    return controls


def _candidates(run: RunSpec) -> Iterator[tuple[str, ScoringFeatures, float]]:
    """Name, features, and the seconds they took."""
    for index in range(NUM_RANDOM_INITS):
        began = time.monotonic()
        encoder = random_init(run, index)
        features = features_of(encoder, run)
        yield f"{RANDOM_INIT} {index}", features, time.monotonic() - began
    clips, width = features.clean_ND.shape
    seed = derive_seed(run.seed, "controls")
    fitness = Workbench.open(run).space.fitness
    k = check_size(clips, fitness)
    yield "noise", noise_features(clips, width, seed), 0.0
    yield "zipf blobs", zipf_blobs(clips, width, k, seed, fitness.exponent), 0.0
    began = time.monotonic()
    grid = features_of(_ColourGrid(), run)
    yield "colour grid", grid, time.monotonic() - began


def _score(features: ScoringFeatures, run: RunSpec) -> Score:
    return score(features, Workbench.open(run).space.fitness, run.seed)
