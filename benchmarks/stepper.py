"""Stepper: the product's own training step on given clips, as the benchmarks take it. Needs no Ray.

Shapes: B clip, L frame of a stretch, H height, W width, C channel.
"""

import torch

from evossl.config import SearchSpace
from evossl.experiment.terms import resolve_terms
from evossl.optim.optimisers import build_optimiser
from evossl.task_loader import load_catalogue
from evossl.training.loop import Objective, Schedule, train_step
from evossl.training.model import MultiTaskModel
from evossl.training.objective import normalise
from evossl.types import AUDIO_RATE, ClipBatch


class Stepper:
    """A model and its optimiser, equal weights.

    Args:
        space: of the training.
        model: None is the space's, on the CPU.
    """

    def __init__(self, space: SearchSpace, model: MultiTaskModel | None = None) -> None:
        self.space = space
        self.model = (model or build_model(space)).train()
        weights = normalise({term.name: 1.0 for term in self.model.terms})
        self._weighing = Objective(weights, dict.fromkeys(weights, 1.0))
        encoders, heads = self.model.encoders.parameters(), self.model.heads.parameters()
        self._optimiser = build_optimiser(encoders, heads, space.optimiser)
        self._step = 0

    def step(self, clips: ClipBatch) -> None:
        """Views, forwards, losses, backward, optimiser; conflict is never measured."""
        schedule = Schedule(steps=1000, log_every=1000)
        batches, step = iter([clips]), self._step % 100
        train_step(self.model, batches, self._optimiser, self.space, self._weighing, schedule, step)
        self._step += 1


def build_model(space: SearchSpace) -> MultiTaskModel:
    """The model of all terms of a space."""
    catalogue = load_catalogue()
    return MultiTaskModel(resolve_terms(space, catalogue), catalogue, space, seed=0)


def noise(space: SearchSpace) -> ClipBatch:
    """A batch of long enough clips without sound, as the cache gives them."""
    batch, stretch = space.training.batch_size, space.clip.stretch
    side, fps = space.cache.short_side, space.cache.fps
    shape, generator = (batch, stretch, side, side, 3), torch.Generator().manual_seed(0)
    return ClipBatch(
        frames_BLHWC=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
        num_frames_B=torch.full((batch,), stretch),
        size_B2=torch.full((batch, 2), side),
        waveform_BS=torch.zeros(batch, round(stretch / fps * AUDIO_RATE)),
        has_audio_B=torch.zeros(batch, dtype=torch.bool),
        video_id_B=torch.arange(batch),
        fps=fps,
    )
