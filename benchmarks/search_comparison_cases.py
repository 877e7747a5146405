"""The cases of search_comparison.py: videos, labels, search space and budget of each.

`motion` and `appearance` are two labels of the same synthetic videos, with the demo's space and a
different `ignores`. `words` are real clips of spoken words with sound, in the folder `words` of
EVOSSL_REAL_VIDEOS; what is said is hardly visible in a single frame, and clear in the sound.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evossl.config import SearchSpace
from evossl.data.synth.dataset import synthesise
from evossl.io.spaces import load_space, parse_space

NUM_CLASSES = 8
NUM_VIDEOS = 1200
NUM_LABELLED = 400
LABELLED_SEED_OFFSET = 1000
WORDS_SPACE: Mapping[str, Any] = {
    "ignores": ["colour", "crop", "flip"],
    "streams": ["rgb", "audio"],
    "tasks": {
        "simclr": {"places": ["rgb", "audio"]},
        "multimodal_contrast": {"places": ["rgb+audio"]},
        "distill": {"places": ["audio->rgb.stage3", "audio->rgb.stage4"]},
        "arrow_of_time": {"places": ["rgb"]},
    },
    "backbone": {"name": "c3d", "depth": 18, "width": 16},
    "clip": {"frames": 12, "size": 48, "stretch": 14, "mel_bands": 40},
    "cache": {"fps": 12, "short_side": 56, "max_seconds": 4},
    "optimiser": {"name": "adamw", "lr": 0.002, "weight_decay": 0.05},
    "training": {"batch_size": 32, "prune_below": 0.3},
    "fitness": {"clips": 400},
    "sampler": {"name": "cmaes", "population": 4},
}
GENES: Mapping[str, Any] = {
    "optimiser": {"name": "adamw", "lr": {"low": 0.0005, "high": 0.01, "log": True}},
    "augmentation": {"min_crop_area": {"low": 0.1, "high": 0.8}},
}


@dataclass(frozen=True)
class Budget:
    """What a search may use, in steps of equal weights."""

    trials: int
    steps: int
    final_steps: int

    @property
    def total(self) -> int:
        """Steps of equal weights that a whole search costs, re-runs and winner included."""
        return self.trials * self.steps + self.final_steps


@dataclass(frozen=True)
class Case:
    """One question: which encoder is best for a label.

    Attributes:
        label: column of the labels.
        ignores: of the space; empty for the space's own.
        space: name of a shipped space, or its keys.
        budget: of a search.
        num_folds: of the evaluation.
        singles: terms that are trained alone, as rivals.
        seeds: how many are wanted.
    """

    label: str
    ignores: tuple[str, ...]
    space: str | Mapping[str, Any]
    budget: Budget
    num_folds: int
    singles: tuple[str, ...]
    seeds: int = 5

    def read_space(self, changes: Mapping[str, Any]) -> SearchSpace:
        """Return the space, with the given keys in place of its own."""
        raw = self.space
        if isinstance(raw, str):
            raw = load_space(raw).model_dump(exclude_unset=True)
        ignores = {"ignores": list(self.ignores)} if self.ignores else {}
        return parse_space({**raw, **ignores, **changes}, self.label)


_SYNTHETIC: Mapping[str, Any] = {
    "space": "demo",
    "budget": Budget(trials=12, steps=120, final_steps=600),
    "num_folds": 3,
    "singles": ("simclr.rgb", "multimodal_contrast.rgb+flow", "arrow_of_time.rgb"),
}
CASES: Mapping[str, Case] = {
    "motion": Case("motion", ("colour", "crop", "time"), **_SYNTHETIC),
    "appearance": Case("appearance", ("crop", "time"), **_SYNTHETIC),
    "words": Case(
        "label",
        (),
        WORDS_SPACE,
        Budget(trials=12, steps=100, final_steps=600),
        num_folds=5,
        singles=("simclr.rgb", "multimodal_contrast.rgb+audio"),
        seeds=3,
    ),
}


@dataclass(frozen=True)
class Setup:
    """One case with one seed, in a folder."""

    name: str
    seed: int
    out: Path
    case: Case = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "case", CASES[self.name])

    @property
    def folder(self) -> Path:
        """Folder of its results."""
        return self.out / f"{self.name}-{self.seed}"

    @property
    def cache(self) -> Path:
        """Folder of the clip cache."""
        return self.out / "cache"

    @property
    def videos(self) -> Path:
        """The videos to learn from: a folder or a manifest."""
        if self.name == "words":
            return _real_videos() / "words" / "manifest.csv"
        return self.out / f"videos-{self.seed}" / "labels.parquet"

    @property
    def labelled(self) -> Path:
        """The manifest of the videos to evaluate on."""
        if self.name == "words":
            return self.videos
        return self.out / f"labelled-{self.seed}" / "labels.parquet"

    def method_folder(self, method: str) -> Path:
        """Return the folder of a method's files."""
        return self.folder / method.replace(" ", "-").replace(",", "")

    def result_file(self, method: str) -> Path:
        """Return the file of a method's result."""
        return self.folder / f"{self.method_folder(method).name}.json"

    def make_videos(self) -> None:
        """Write the synthetic videos that do not exist yet."""
        for file, num_videos, offset in (
            (self.videos, NUM_VIDEOS, 0),
            (self.labelled, NUM_LABELLED, LABELLED_SEED_OFFSET),
        ):
            if not file.is_file():
                synthesise(file.parent, num_videos, NUM_CLASSES, self.seed + offset)


def _real_videos() -> Path:
    folder = os.environ.get("EVOSSL_REAL_VIDEOS")
    if folder is None:
        raise SystemExit("words: set EVOSSL_REAL_VIDEOS to the folder of the real videos")
    return Path(folder)
