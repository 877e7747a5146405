"""The videos, clip cache and search spaces that the rows share, created once in one folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rho_variants import RHO_VARIANTS

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.synth.dataset import VideoFormat, synthesise
from evossl.experiment.context import RunContext, RunSpec
from evossl.io.spaces import load_space
from evossl.training.resolved_space import resolve_space
from evossl.types import ClipBatch

NUM_VIDEOS, NUM_CLASSES = 50, 8
VIDEO_FORMAT = VideoFormat(size=(240, 320), fps=24, seconds=10.0)

STEP_KEYS: Mapping[str, Any] = {
    "streams": ["rgb"],
    "backbone": {"name": "r2plus1d", "depth": 50, "width": 16},
    "clip": {"frames": 8, "size": 64, "stretch": 32},
    "cache": {"fps": 12, "short_side": 80, "max_seconds": 10},
    "training": {"batch_size": 8},
}
"""The model that rows about steps train: R(2+1)D-50 of stem width 16 on 8 clips of 8 x 64 x 64."""


@dataclass(frozen=True)
class BenchFolder:
    """The folder of a benchmark.

    Attributes:
        folder: its path.
    """

    folder: Path

    @property
    def videos(self) -> Path:
        """Folder of the synthetic videos (H.264 and AAC)."""
        return self.folder / "videos"

    @property
    def cache(self) -> Path:
        """Folder of the clip cache."""
        return self.folder / "cache"

    @property
    def manifest(self) -> Path:
        """Path of the videos' index."""
        return self.folder / "manifest.parquet"

    def prepare(self) -> None:
        """Write, index and cache the videos, unless that has been done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.videos / "labels.parquet").is_file():
            synthesise(self.videos, NUM_VIDEOS, NUM_CLASSES, video=VIDEO_FORMAT)
        index = build_index(str(self.videos), self.manifest)
        for space in (load_space("tiny"), self.space("simclr")):
            ClipCache(self.cache, space.cache).fill(index.videos)

    def space(self, *methods: str, **keys: Any) -> SearchSpace:
        """Return the space of some methods on RGB, with the model of `STEP_KEYS`."""
        tasks = {name: RHO_VARIANTS.get(name, {}) for name in methods}
        return load_space("tiny", dict(STEP_KEYS) | {"tasks": tasks} | keys)

    def demo_space(self, *tasks: str) -> SearchSpace:
        """Return the space of some tasks on RGB with the demo's C3D of width 8 at 32 pixels."""
        return load_space("tiny", {"streams": ["rgb"], "tasks": {name: {} for name in tasks}})

    def run_spec(self, space: SearchSpace, name: str) -> RunSpec:
        """Return a run of a space over the videos; all its gradient scales are 1."""
        folder = self.folder / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        run = RunSpec(
            space.model_dump_json(),
            str(self.manifest),
            str(self.cache),
            str(folder),
            0,
            device="cpu",
        )
        scales = {term.name: 1.0 for term in resolve_space(space).terms}
        return replace(run, gradient_scales=scales)

    def open_run(self, space: SearchSpace, name: str) -> RunContext:
        """Return the opened context of a run of a space."""
        return RunContext.open(self.run_spec(space, name))

    def first_batch(self, space: SearchSpace, name: str) -> ClipBatch:
        """Return the first batch of a space's training."""
        return self.open_run(space, name).data.train.batch(0)
