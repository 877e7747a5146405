"""The two checks of synthetic videos: single frames do not tell motions apart, videos do.

Both on frames as decoded from the files, so that nothing hides in the compression.

Shapes: N video, P pair of neighbouring frames, T frame, H height, W width.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from evossl.video.decode import find_decoder
from evossl.video.synth_render import render
from evossl.video.synth_scene import draw_scene, motions
from evossl.video.synth_sound import sing
from evossl.video.synth_write import write_mp4

NUM_CLASSES = 8
CHANCE = 1 / NUM_CLASSES


def balanced_set(
    folder: Path, num_videos: int, side: int, num_classes: int = NUM_CLASSES
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write, then decode, videos of all classes in turn: (frame_NTHWC, label_N)."""
    clips, labels = [], []
    decoder = find_decoder("pyav")
    for number in range(num_videos):
        label = number % num_classes
        scene = replace(draw_scene(7, number, num_classes), motion=motions(num_classes)[label])
        path = folder / f"{number}.mp4"
        write_mp4(path, render(scene, 24, 12, (64, 64)), 12, sing(scene, 0.1))
        clips.append(decoder.frames(str(path), 12, side, 2.0))
        labels.append(label)
    return np.stack(clips), np.array(labels)


def upper_bound_of_chance(num_tested: int) -> float:
    """What a guesser stays below with 99.9 % probability (normal approximation)."""
    return CHANCE + 3.1 * math.sqrt(CHANCE * (1 - CHANCE) / num_tested)


def affine_flow(gray_THW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median over pairs of (dx, dy, curl, divergence) that least squares fits to what moves."""
    dt_PHW = np.diff(gray_THW, axis=0)
    mean_PHW = (gray_THW[1:] + gray_THW[:-1]) / 2
    dx_PHW = (np.roll(mean_PHW, -1, 2) - np.roll(mean_PHW, 1, 2)) / 2
    dy_PHW = (np.roll(mean_PHW, -1, 1) - np.roll(mean_PHW, 1, 1)) / 2
    side = gray_THW.shape[-1]
    turn = 2 * np.pi * np.arange(side) / side
    flows = []
    for dt, dx, dy in zip(dt_PHW, dx_PHW, dy_PHW, strict=True):
        weight = dt**2  # where something moves
        x = _from_centre(weight.sum(0), turn)[None, :]
        y = _from_centre(weight.sum(1), turn)[:, None]
        columns = [dx, dy, dy * x - dx * y, dx * x + dy * y]
        basis = np.stack([c * np.sqrt(weight) for c in columns], -1).reshape(-1, 4)
        flow, *_ = np.linalg.lstsq(basis, -(dt * np.sqrt(weight)).reshape(-1), rcond=None)
        flows.append(flow)
    return np.median(flows, axis=0)


def _from_centre(weight: NDArray[np.float32], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates from the weighted centre on a circle, in pixels."""
    centre = np.angle((weight * np.exp(1j * turn)).sum())
    return np.angle(np.exp(1j * (turn - centre))) * len(turn) / (2 * np.pi)


def test_single_frames_stay_at_chance_and_motion_features_do_not(tmp_path: Path) -> None:
    frame_NTHWC, label_N = balanced_set(tmp_path, 400, 32)
    train, test = slice(0, 280), slice(280, 400)
    one = frame_NTHWC[:, 12].astype(np.float32)
    slopes = [np.abs(np.diff(one, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    features = np.concatenate([one[:, ::2, ::2].reshape(len(one), -1), *slopes], axis=1)
    forest = ExtraTreesClassifier(200, random_state=0).fit(features[train], label_N[train])
    still = forest.score(features[test], label_N[test])
    assert still < upper_bound_of_chance(120)
    flow_N4 = np.stack([affine_flow(clip.mean(-1)) for clip in frame_NTHWC])
    flow_N4 = flow_N4 / flow_N4[train].std(axis=0)
    linear = LogisticRegression(max_iter=500).fit(flow_N4[train], label_N[train])
    moving = linear.score(flow_N4[test], label_N[test])
    assert moving > 0.8
    import sys

    print(still, moving, file=sys.stderr)
