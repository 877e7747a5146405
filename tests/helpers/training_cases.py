"""A narrow space, clips of moving textures in memory, and a loader over them."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from evossl.config import SearchSpace
from evossl.io.spaces import parse_space
from evossl.rng import derive_seed
from evossl.task import Term
from evossl.training.model import MultiTaskModel
from evossl.training.resolved_space import resolve_space
from evossl.types import AUDIO_RATE, ClipBatch

FPS = 12.0
STRETCH = 24
SIX = {
    "simclr": {"places": ["rgb"]},
    "order_binary": {"places": ["rgb"]},
    "arrow_of_time": {"places": ["flow"]},
    "multimodal_contrast": {"places": ["rgb+audio"]},
    "reconstruction": {"places": ["gray"]},
    "distill": {"places": ["flow->rgb.stage3"]},
}


def make_space(tasks: dict[str, object] | None = None, **keys: object) -> SearchSpace:
    """The tests' space: 16 px, width 4; `keys` replace top-level ones."""
    raw: dict[str, object] = {
        "ignores": ["colour", "crop", "time"],
        "streams": ["rgb", "gray", "flow", "audio"],
        "tasks": tasks if tasks is not None else SIX,
        "backbone": {"depth": 50, "width": 4},
        "clip": {"frames": 8, "size": 32, "stretch": STRETCH, "mel_bands": 32},
        "cache": {"fps": FPS, "short_side": 36},
        "training": {"batch_size": 6},
    }
    return parse_space(raw | keys, "tests")


def make_clips(num: int = 6, seed: int = 0, silent: int = 0) -> ClipBatch:
    """Textures that drift, each its own way; the first `silent` ones have no sound."""
    generator = torch.Generator().manual_seed(derive_seed("clips", seed))
    side = 40
    coarse = torch.rand(num, 3, 12, 12, generator=generator)
    texture = F.interpolate(coarse, size=(side, side), mode="bilinear")
    way = torch.randint(-2, 3, (num, 2), generator=generator)
    frames = torch.stack([_drifted(texture, way, t) for t in range(STRETCH)], dim=1)
    samples = round(STRETCH / FPS * AUDIO_RATE)
    sound = torch.randn(num, samples, generator=generator) * torch.rand(num, 1, generator=generator)
    has_audio = torch.arange(num) >= silent
    return ClipBatch(
        frames_BLHWC=(frames.permute(0, 1, 3, 4, 2) * 255).to(torch.uint8).contiguous(),
        num_frames_B=torch.full((num,), STRETCH),
        size_B2=torch.full((num, 2), side),
        waveform_BS=(sound * 0.1).clamp(-1, 1) * has_audio[:, None],
        has_audio_B=has_audio,
        video_id_B=torch.arange(num),
        fps=FPS,
    )


def _drifted(texture: Tensor, way: Tensor, t: int) -> Tensor:
    rows = zip(texture, (way * t).tolist(), strict=True)
    return torch.stack([image.roll(shift, dims=(1, 2)) for image, shift in rows])


def make_model(space: SearchSpace, names: set[str] | None = None, seed: int = 0) -> MultiTaskModel:
    """A model of the space's terms, or of the named ones."""
    resolved = resolve_space(space)
    return MultiTaskModel(resolved if names is None else resolved.select(names), seed).train()


def terms_of(space: SearchSpace) -> tuple[Term, ...]:
    """Every term of the space."""
    return resolve_space(space).terms


class MemoryLoader:
    """Batches in memory, a function of the step, as the real loader's are."""

    wait_seconds = 0.0

    def __init__(self, num: int = 6) -> None:
        self.num = num

    def batch(self, step: int) -> ClipBatch:
        return make_clips(self.num, seed=step)

    def prefetch(self, start: int, stop: int, *, pinned: bool = False) -> Iterator[ClipBatch]:
        yield from (self.batch(step) for step in range(start, stop))


@pytest.fixture
def space() -> SearchSpace:
    return make_space()


@pytest.fixture
def clips() -> ClipBatch:
    return make_clips()
