"""Synthetic classes can be told apart from videos, but not from single frames.

Frames are decoded from the files, so that artefacts of the compression are included.

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

from evossl.data.decode.decoder import find_decoder
from evossl.data.synth.mp4_writer import write_mp4
from evossl.data.synth.render import render_frames
from evossl.data.synth.scene import motion_names, sample_scene
from evossl.data.synth.soundtrack import render_sound

NUM_CLASSES = 8
CHANCE = 1 / NUM_CLASSES


def balanced_set(
    folder: Path, num_videos: int, side: int, num_classes: int = NUM_CLASSES
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write and decode videos of all classes in turn; return (frame_NTHWC, label_N)."""
    clips, labels = [], []
    decoder = find_decoder("pyav")
    for number in range(num_videos):
        label = number % num_classes
        scene = replace(
            sample_scene(7, number, num_classes), motion=motion_names(num_classes)[label]
        )
        path = folder / f"{number}.mp4"
        write_mp4(path, render_frames(scene, 24, 12, (64, 64)), 12, render_sound(scene, 0.1))
        clips.append(decoder.frames(str(path), 12, side, 2.0))
        labels.append(label)
    return np.stack(clips), np.array(labels)


def upper_bound_of_chance(num_tested: int) -> float:
    """Return the accuracy that guessing stays below with 99.9 % probability (normal approx.)."""
    return CHANCE + 3.1 * math.sqrt(CHANCE * (1 - CHANCE) / num_tested)


def affine_flow(gray_THW: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the median over frame pairs of (dx, dy, curl, divergence), by least squares."""
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
    """Return coordinates relative to the weighted centre on a circle, in pixels."""
    centre = np.angle((weight * np.exp(1j * turn)).sum())
    return np.angle(np.exp(1j * (turn - centre))) * len(turn) / (2 * np.pi)


def test_single_frames_stay_at_chance_but_flow_does_not(tmp_path: Path) -> None:
    frame_NTHWC, label_N = balanced_set(tmp_path, 200, 32)
    train, test = slice(0, 120), slice(120, 200)
    one = frame_NTHWC[:, 12].astype(np.float32)
    slopes = [np.abs(np.diff(one, axis=axis)).mean((1, 2)) for axis in (1, 2)]
    features = np.concatenate([one[:, ::2, ::2].reshape(len(one), -1), *slopes], axis=1)
    forest = ExtraTreesClassifier(200, random_state=0).fit(features[train], label_N[train])
    still = forest.score(features[test], label_N[test])
    assert still < upper_bound_of_chance(80)
    flow_N4 = np.stack([affine_flow(clip.mean(-1)) for clip in frame_NTHWC])
    flow_N4 = flow_N4 / flow_N4[train].std(axis=0)
    linear = LogisticRegression(max_iter=500).fit(flow_N4[train], label_N[train])
    moving = linear.score(flow_N4[test], label_N[test])
    assert moving > 0.8


def network(time_kernel: int) -> nn.Sequential:
    """Return the same small network for frames (kernel 1 in time) or for videos (3)."""
    layers: list[nn.Module] = []
    for width_in, width in [(3, 12), (12, 24), (24, 48)]:
        kernel, pad = (time_kernel, 3, 3), (time_kernel // 2, 1, 1)
        layers += [nn.Conv3d(width_in, width, kernel, (1, 2, 2), pad, bias=False)]
        layers += [nn.BatchNorm3d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(48, NUM_CLASSES))


def accuracy_of_trained(
    x_NCTHW: Tensor, label_N: Tensor, num_train: int, time_kernel: int
) -> float:
    """Return the accuracy on the rest after training on random clips of the network's length."""
    torch.manual_seed(0)
    model, rng = network(time_kernel), np.random.default_rng(0)
    num_seen = 1 if time_kernel == 1 else 8
    steps = 600
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, num_train, 32))
        start = int(rng.integers(0, x_NCTHW.shape[2] - num_seen + 1))
        logits = model(x_NCTHW[rows, :, start : start + num_seen])
        loss = F.cross_entropy(logits, label_N[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        guess = model(x_NCTHW[num_train:, :, :num_seen]).argmax(1)
    return float((guess == label_N[num_train:]).double().mean())


@pytest.mark.slow
def test_a_network_learns_motions_only_from_videos(tmp_path: Path) -> None:
    frame_NTHWC, labels = balanced_set(tmp_path, 1000, 24)
    x_NCTHW = torch.from_numpy(frame_NTHWC).permute(0, 4, 1, 2, 3).float() / 128 - 1
    label_N = torch.from_numpy(labels)
    still = accuracy_of_trained(x_NCTHW, label_N, 760, time_kernel=1)
    moving = accuracy_of_trained(x_NCTHW, label_N, 760, time_kernel=3)
    assert still < upper_bound_of_chance(240)
    assert moving > 0.6
