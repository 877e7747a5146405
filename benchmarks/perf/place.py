"""Place: the videos, cache and models that the rows share; made once, in the bench's folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.data.synth.dataset import synthesise
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.terms import resolve_terms
from evossl.io.spaces import load_space
from evossl.task_loader import load_catalogue
from evossl.types import ClipBatch

NUM_VIDEOS, NUM_CLASSES = 50, 8
SYNTH: Mapping[str, Any] = {"seed": 0, "size": (240, 320), "fps": 24, "seconds": 10.0}

STEP: Mapping[str, Any] = {
    "streams": ["rgb"],
    "backbone": {"name": "r2plus1d", "depth": 50, "width": 16},
    "clip": {"frames": 8, "size": 64, "stretch": 32},
    "cache": {"fps": 12, "short_side": 80, "max_seconds": 10},
    "training": {"batch_size": 8},
}
"""What the rows about steps train: R(2+1)D-50 of stem width 16 on 8 clips of 8 x 64 x 64."""


@dataclass(frozen=True)
class Place:
    """The bench's folder.

    Attributes:
        folder: everything lies in it.
    """

    folder: Path

    @property
    def videos(self) -> Path:
        """Synthetic videos, H.264 and AAC."""
        return self.folder / "videos"

    @property
    def cache(self) -> Path:
        """The clip cache."""
        return self.folder / "cache"

    @property
    def manifest(self) -> Path:
        """The index of the videos."""
        return self.folder / "manifest.parquet"

    def prepare(self) -> None:
        """Write, index and cache the videos, where that is not done yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.videos / "labels.parquet").is_file():
            synthesise(self.videos, NUM_VIDEOS, NUM_CLASSES, **SYNTH)
        index = build_index(str(self.videos), self.manifest)
        for space in (load_space("tiny"), self.space("simclr")):
            ClipCache(self.cache, space.cache).fill(index.videos)

    def space(self, *tasks: str, **keys: Any) -> SearchSpace:
        """The space of some tasks on RGB, as `STEP` has it."""
        return load_space("tiny", dict(STEP) | {"tasks": {name: {} for name in tasks}} | keys)

    def demo_space(self, *tasks: str) -> SearchSpace:
        """The space of some tasks on RGB, as in the demo: C3D of width 8 at 32 pixels."""
        return load_space("tiny", {"streams": ["rgb"], "tasks": {name: {} for name in tasks}})

    def run(self, space: SearchSpace, name: str) -> RunSpec:
        """A run of a space over the videos, its gradient scales all 1."""
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
        scales = {term.name: 1.0 for term in resolve_terms(space, load_catalogue())}
        return replace(run, scales=scales)

    def bench(self, space: SearchSpace, name: str) -> RunContext:
        """Its workbench, open."""
        return RunContext.open(self.run(space, name))

    def clips(self, space: SearchSpace, name: str) -> ClipBatch:
        """The first batch of a space's training."""
        return self.bench(space, name).data.train.batch(0)
