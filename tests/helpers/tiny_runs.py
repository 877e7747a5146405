"""Runs so small that a whole trial takes a second: 27 videos, width 4, 32 pixels, 4 frames."""

from pathlib import Path
from typing import Any

from evossl.cli.data import prepare_videos
from evossl.config import SearchSpace
from evossl.experiment.context import RunSpec
from evossl.experiment.run_folder import RunInfo, open_run
from evossl.io.spaces import parse_space
from evossl.io.yaml_file import dump_yaml

WEIGHTS = {"simclr.rgb": 0.5, "arrow_of_time.rgb": 0.5}
SCALES = {"simclr.rgb": 1.0, "arrow_of_time.rgb": 1.0}
RAW: dict[str, Any] = {
    "ignores": ["colour", "crop", "time"],
    "streams": ["rgb"],
    "tasks": {"simclr": {"places": ["rgb"]}, "arrow_of_time": {"places": ["rgb"]}},
    "backbone": {"depth": 18, "width": 4},
    "clip": {"frames": 4, "size": 32, "stretch": 8, "mel_bands": 32},
    "cache": {"fps": 12, "short_side": 32, "max_seconds": 2},
    "training": {"batch_size": 4},
    "sampler": {"name": "random"},
    "fitness": {"name": "zipf_hard"},  # with 9 clips, the default would find most trials at chance
    "budget": {"trials": 3, "steps": 2, "final_steps": 2},
}


def tiny_space(**keys: Any) -> SearchSpace:
    """The space; `keys` replace top-level ones."""
    return parse_space(RAW | keys, "tests")


def write_space(path: Path, **keys: Any) -> Path:
    """The space as a YAML file."""
    path.write_text(dump_yaml(RAW | keys), encoding="utf-8")
    return path


def make_info(videos: Path, cache: Path, /, seed: int = 0, **keys: Any) -> RunInfo:
    """What a search would say of itself."""
    tasks_folder = keys.pop("tasks_folder", None)
    return RunInfo(
        space=tiny_space(**keys).model_dump(mode="json"),
        seed=seed,
        data=str(videos),
        command="evossl search",
        cache=str(cache),
        tasks_folder=tasks_folder,
        device="cpu",
        gradient_scales=dict(SCALES),
    )


def make_run(folder: Path, videos: Path, cache: Path, /, seed: int = 0, **keys: Any) -> RunSpec:
    """A claimed run folder, its videos indexed and cached, scales given."""
    info = open_run(folder, make_info(videos, cache, seed, **keys), resume=False)
    manifest = folder / "manifest.parquet"
    prepare_videos(info.data, manifest, cache, info.parsed_space, 1, has_begun=False)
    return RunSpec.of(folder, info)
