"""Fixtures that several parts share: real files, written once a session."""

from pathlib import Path

import pytest

from evossl.video.synth import synthesise


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 27 synthetic videos, 32 x 32 pixels, one second each."""
    folder = tmp_path_factory.mktemp("tiny") / "videos"
    synthesise(folder, 27, num_classes=3, seed=0, size=(32, 32), fps=12, seconds=1.0)
    return folder


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip cache that all tests of the session share."""
    return tmp_path_factory.mktemp("cache")
