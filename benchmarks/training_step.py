"""The product's own training step on given clips, for benchmarks. It needs no Ray.

Shapes: B clip, L frame of a stretch, H height, W width, C channel.
"""

import torch

from evossl.config import SearchSpace
from evossl.optim.optimisers import build_optimiser
from evossl.training.loop import train_step
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective, normalise
from evossl.training.resolved_space import resolve_space
from evossl.training.schedule import StepPlan
from evossl.types import AUDIO_RATE, ClipBatch

NUM_STEPS = 1000  # of the training that the steps belong to


class Stepper:
    """A model and its optimiser, with equal loss weights.

    Args:
        space: of the training.
        model: by default the space's, on the CPU.
    """

    def __init__(self, space: SearchSpace, model: MultiTaskModel | None = None) -> None:
        self.model = (model or build_model(space)).train()
        weights = normalise({term.name: 1.0 for term in self.model.terms})
        self._objective = Objective(weights, dict.fromkeys(weights, 1.0))
        encoders, heads = self.model.encoders.parameters(), self.model.heads.parameters()
        self._optimiser = build_optimiser(encoders, heads, space.optimiser)
        self._step = 0

    def step(self, clips: ClipBatch) -> None:
        """Take one training step; gradient conflicts are never measured."""
        step = self._step % 100
        plan = StepPlan(step, progress=step / NUM_STEPS)
        train_step(self.model, iter([clips]), self._optimiser, self._objective, plan)
        self._step += 1


def build_model(space: SearchSpace) -> MultiTaskModel:
    """Return a model of all terms of a space."""
    return MultiTaskModel(resolve_space(space), seed=0)


def noise_clips(space: SearchSpace) -> ClipBatch:
    """Return a batch of noise without sound, shaped like clips from the cache."""
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
