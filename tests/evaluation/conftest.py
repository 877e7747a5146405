"""Fixtures: painted videos of two motions, and a small encoder for them."""

import numpy as np
import pytest

from evossl.config import Backbone, Cache, Clip, SearchSpace, TaskChoice
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder
from evossl.models.encoder import build_encoder
from evossl.types import Stream
from tests.helpers.painted_videos import FRAMES, SIZE, PaintedClips, moving_bar


@pytest.fixture(scope="session")
def bars() -> tuple[PaintedClips, np.ndarray]:
    rng = np.random.default_rng(0)
    class_N = np.arange(48) % 2
    videos = [moving_bar(bool(c), int(rng.integers(SIZE)), rng) for c in class_N]
    return PaintedClips(videos), class_N


@pytest.fixture
def make_encoder():
    def make(ignores: tuple[str, ...] = ("crop", "time"), seed: int = 0) -> VideoEncoder:
        space = SearchSpace(
            ignores=ignores,
            tasks={"simclr": TaskChoice()},
            backbone=Backbone(depth=18, width=4),
            clip=Clip(frames=FRAMES, size=SIZE, stretch=12),
            cache=Cache(short_side=SIZE),
        )
        encoder = build_encoder(Stream.RGB, space.backbone, seed)
        return VideoEncoder(encoder, EncoderConfig.from_space(space, encoder)).eval()

    return make
