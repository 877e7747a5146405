"""Whole searches on videos of pure noise: the verdict must not be fooled by luck."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.noise_videos import write_noise_videos

SPACE = """
ignores: [colour, crop, time]
tasks:
  simclr: {places: [rgb]}
  order_binary: {places: [rgb]}
  arrow_of_time: {places: [rgb]}
backbone: {name: c3d, depth: 18, width: 8}
clip: {frames: 8, size: 32, stretch: 24}
cache: {fps: 12, short_side: 40, max_seconds: 20}
optimiser: {name: adamw, lr: 0.005}
training: {batch_size: 16, prune_below: 0.4}
sampler: {population: 4}
budget: {trials: 12, steps: 30, final_steps: 60}
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seconds", [20.0, 2.5])
def test_a_search_on_noise_never_finds_a_better_encoder(
    seconds: float, seed: int, tmp_path: Path
) -> None:
    """In 20 s, two views of a clip share no frame; in 2.5 s they do, so clips can be recognised."""
    videos = write_noise_videos(tmp_path / "videos", 240, seconds)
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["search", "--data", videos, "--space", tmp_path / "space.yaml", "--seed", seed]
    words += ["--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    command = [sys.executable, "-c", "from evossl.cli import main; main()", *map(str, words)]
    subprocess.run(command, check=True)
    verdict = json.loads((tmp_path / "run" / "verdict.json").read_text())
    assert verdict["evidence"]["num_clips"] == 60
    assert verdict["outcome"] != "better"
