"""Fixtures that several parts share: real files, written once a session.

One thread a process: two test workers on two cores, each with two threads, take twice as long, and
a trial here then gives the very numbers of a trial in a worker of one core.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before torch and numpy are imported; subprocesses inherit it

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

from evossl.data.synth.dataset import VideoFormat, synthesise  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 27 synthetic videos, 32 x 32 pixels, one second each."""
    folder = tmp_path_factory.mktemp("tiny") / "videos"
    synthesise(folder, 27, num_classes=3, seed=0, video=VideoFormat((32, 32), seconds=1.0))
    return folder


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip cache that all tests of the session share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def surveillance_clips() -> Path:
    """The folder of 120 real surveillance clips; without it, the test is skipped."""
    folder = Path(os.environ.get("EVOSSL_REAL_VIDEOS", "")) / "surveillance"
    if not folder.is_dir():
        pytest.skip("EVOSSL_REAL_VIDEOS names no folder with surveillance/")
    return folder
