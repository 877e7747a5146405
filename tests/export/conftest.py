"""An exported encoder, and the fixtures of tests.helpers.small_encoders."""

from pathlib import Path

import pytest

from evossl.config import SearchSpace
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.models.encoder import Encoder
from tests.helpers.small_encoders import draw, rgb, space

__all__ = ["draw", "rgb", "space"]


@pytest.fixture
def folder(tmp_path: Path, rgb: Encoder, space: SearchSpace) -> Path:
    """The folder of an exported encoder."""
    export_encoder(rgb, tmp_path / "encoder", EncoderConfig.from_space(space, rgb))
    return tmp_path / "encoder"
