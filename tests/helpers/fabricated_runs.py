"""Run folders like those of a real search, written in no time by the product's own writers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from evossl.data.cache.budget import CacheBudget
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.cache.clip_file import clip_bytes, clip_path
from evossl.data.index.index import SCHEMA, Index, Video
from evossl.experiment.context import RunSpec
from evossl.experiment.run_folder import RunInfo, stamp, write_run
from evossl.experiment.trial_spec import TrialResult, TrialSpec
from evossl.experiment.winner import Winner, winner_summary
from evossl.fitness.zipf import zipf_pmf
from evossl.io.files import write_json
from evossl.io.spaces import parse_space
from evossl.search.table import TrialRow, write_table
from evossl.training.history import Conflict, StepReport, append
from tests.helpers.verdicts import verdict_of

PLACES = {
    "simclr": ["rgb", "flow"],
    "multimodal_contrast": ["rgb+flow", "rgb+audio"],
    "order_binary": ["rgb"],
    "arrow_of_time": ["rgb", "flow"],
    "reconstruction": ["rgb", "gray"],
    "cross_modal_transfer": ["rgb->flow"],
    "distill": ["flow->rgb.stage3", "flow->rgb.stage4"],
}
TERMS = tuple(f"{task}.{place}" for task, places in PLACES.items() for place in places)
SPACE = {
    "ignores": ["colour", "crop", "time"],
    "about": "ELo's tasks on narrow encoders.",
    "streams": ["rgb", "gray", "flow", "audio"],
    "tasks": {task: {"places": places} for task, places in PLACES.items()},
    "clip": {"frames": 8, "size": 32, "stretch": 24},
    "cache": {"fps": 12.0, "short_side": 40, "max_seconds": 4.0},
}
INDICATORS = ("ami_views", "kl_hard", "kl_soft", "mrr", "rankme", "alpha_req", "uniformity")
NUM_CLUSTERS = 17
VIDEOS = [f"/archive/{kind}/{i:04d}.mp4" for kind in ("left", "right", "turn") for i in range(16)]


def run_info(folder: Path, **changes: object) -> RunInfo:
    space = parse_space(SPACE, "test").model_dump(mode="json")
    info = RunInfo(
        space=space,
        seed=3,
        data="/archive",
        command="evossl search --data /archive --space tiny --trials 60 --out run",
        cache=str(folder / "cache"),
        gradient_scales=dict.fromkeys(TERMS, 1.0),
    )
    return stamp(replace(info, **changes))


def trial_rows(count: int, terms: tuple[str, ...] = TERMS, seed: int = 0) -> list[TrialRow]:
    """Controls, equal weights, and `count - 1` proposed trials that improve; every ninth fails."""
    rng = np.random.default_rng(seed)
    inits = [("random_init", f"random init {i}", float(rng.normal(3.4, 0.15))) for i in range(5)]
    others = [("noise", "noise", 6.908), ("zipf_blobs", "zipf blobs", 6.913)]
    others.append(("colour_grid", "colour grid", 4.2))
    controls = [
        TrialRow(-1 - i, name, "control", fitness, None, 4.0, _indicators(rng), kind=kind)
        for i, (kind, name, fitness) in enumerate(inits + others)
    ]
    useful = rng.uniform(size=len(terms))
    found = [
        TrialRow(0, "equal weights", "complete", 2.9, None, 61.0, _indicators(rng), _even(terms))
    ]
    for trial in range(1, count):
        progress = trial / count
        noisy = useful * progress + rng.uniform(size=len(terms)) * (1 - progress)
        weights = dict(zip(terms, np.clip(noisy, 0, 1).tolist(), strict=True))
        if trial % 9 == 4:
            reason = "collapsed: mean feature sd / mean |feature| is 0.03, under 0.1"
            found.append(TrialRow(trial, "", "failed", None, reason, 20.0, {}, weights))
            continue
        fitness = 1.4 + 1.5 * math.exp(-3 * progress) + 0.25 * float(rng.normal())
        found.append(
            TrialRow(trial, "", "complete", fitness, None, 60.0, _indicators(rng), weights)
        )
    return controls + found


def _even(terms: tuple[str, ...]) -> dict[str, float]:
    return dict.fromkeys(terms, 0.5)


def _indicators(rng: np.random.Generator) -> dict[str, float]:
    return {name: float(rng.gamma(2.0)) for name in INDICATORS}


def begin_run(folder: Path, **changes: object) -> RunInfo:
    """Write `run.yaml`, and a manifest with two quarantined files."""
    folder.mkdir(parents=True, exist_ok=True)
    info = run_info(folder, **changes)
    write_run(folder, info)
    quarantined = {
        "/archive/holiday.mp4": "truncated: no frame can be read",
        "/archive/a.mp4": "empty",
    }
    write_manifest(folder, VIDEOS, quarantined)
    return info


def write_manifest(folder: Path, paths: list[str], quarantined: dict[str, str]) -> None:
    """Write a manifest of readable videos and quarantined files {path: reason}."""
    good = {
        "status": "ok", "seconds": 4.0, "fps": 24.0, "num_frames": 96, "width": 64, "height": 48,
        "bytes": 1000, "mtime_ns": 1,
    }  # fmt: skip
    records = [{"path": path, "group": path, **good} for path in paths]
    records += [
        {"path": path, "group": path, "status": "quarantined", "reason": reason}
        for path, reason in quarantined.items()
    ]
    columns = {f.name: [r.get(f.name) for r in records] for f in SCHEMA}
    Index(pa.table(columns, schema=SCHEMA)).save(folder / "manifest.parquet")


def fill_cache(info: RunInfo, videos: list[Video]) -> None:
    """Write a moving square for every video straight into the clip cache."""
    folder = Path(info.cache)
    cache, budget = ClipCache(folder, info.parsed_space.cache), CacheBudget(folder, None)
    budget.prepare_folder()
    for number, video in enumerate(videos):
        colour = np.array([60 + 23 * number % 190, 200 - 17 * number % 190, 40 + 11 * number % 200])
        frames = np.full((30, 40, 54, 3), 24, np.uint8)
        for t in range(30):
            at = t if "left" in video.path else 36 - t if "right" in video.path else 18
            down = t // 2 if "turn" in video.path else 12
            frames[t, down : down + 12, max(at, 0) : at + 12] = colour
        budget.store(clip_path(folder, cache.key(video)), clip_bytes(frames, None), evict=False)
    cache.close()


def videos_of(paths: list[str]) -> list[Video]:
    """Return the videos that `write_manifest` writes."""
    return [Video(p, None, p, 4.0, 24.0, 96, 64, 48, False, 1000, 1) for p in paths]


def write_training(folder: Path, terms: list[str], steps: int = 400, seed: int = 0) -> None:
    """Write a history of falling losses, and clusters."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(0.5, 4, len(terms))
    for step in range(10, steps + 1, 10):
        fall = height * (0.3 + 0.7 * np.exp(-4 * step / steps)) + 0.03 * rng.normal(size=len(terms))
        loss = dict(zip(terms, fall.tolist(), strict=True))
        total = sum(loss.values()) / len(terms)
        append(
            folder / "history.jsonl",
            StepReport(
                step, total, 1e-3, 1.0, step / 7, 80.0, 0.02, loss, loss, {},
                _conflict(terms, step) if step % (steps // 5) == 0 else None,
            ),
        )  # fmt: skip
    write_clusters(folder, VIDEOS)


def _conflict(terms: list[str], seed: int) -> Conflict | None:
    """Return cosines of vectors that are slightly correlated, with either sign."""
    if len(terms) < 2:
        return None
    gradient_TS = np.random.default_rng(seed).normal(size=(len(terms), 40))
    gradient_TS += np.random.default_rng(0).normal(size=(len(terms), 1)) * 0.5
    gradient_TS /= np.linalg.norm(gradient_TS, axis=1, keepdims=True)
    return Conflict(list(terms), (gradient_TS @ gradient_TS.T).round(4).tolist())


def write_clusters(folder: Path, paths: list[str], num_clusters: int = NUM_CLUSTERS) -> None:
    generator = torch.Generator().manual_seed(0)
    shares = zipf_pmf(num_clusters) * (1 + 0.4 * torch.rand(num_clusters, generator=generator))
    shares = (shares / shares.sum()).sort(descending=True).values
    examples = [[{"path": path, "start": 0.0} for path in paths[i::6][:8]] for i in range(6)]
    write_json(
        folder / "clusters.json",
        {"shares": shares.tolist(), "zipf": zipf_pmf(num_clusters).tolist(), "examples": examples},
    )


def write_winner(folder: Path, info: RunInfo, table: list[TrialRow]) -> None:
    """Write `winner/` as it is after the final training, with its verdict."""
    scored = [row for row in table if not row.is_control and row.fitness is not None]
    best = min(scored, key=lambda row: row.fitness)
    run = RunSpec.of(folder, info)
    spec = TrialSpec(best.trial, best.weights, run, 2000, genes=best.genes)
    result = TrialResult(best.trial, best.fitness - 0.1, None, 300.0, best.indicators)
    winner = Winner(
        spec, spec.steps, result.fitness, result.indicators, result.seconds, folder / "winner"
    )
    summary = winner_summary(winner, verdict_of(4.0 if best.fitness < 3 else 7.0))
    write_json(folder / "winner" / "winner.json", dict(summary))
    active = [term for term, weight in best.weights.items() if weight >= 0.05]
    write_training(folder / "winner", active, 2000)


def write_evaluation(folder: Path) -> None:
    def scores(base: float) -> dict[str, dict[str, object]]:
        return {
            protocol: {
                "accuracy": base + shift,
                "accuracy_interval": [base + shift - 0.04, base + shift + 0.04],
                "balanced_accuracy": base + shift - 0.03,
                "balanced_accuracy_interval": [base + shift - 0.08, base + shift + 0.02],
            }
            for protocol, shift in (("knn", 0.0), ("linear", 0.07))
        }

    found = {
        "encoder": scores(0.62),
        "random_init": scores(0.41),
        "difference": scores(0.21),
        "n_videos": 48,
        "classes": ["left", "right", "turn"],
    }
    write_json(folder / "winner" / "evaluation.json", found)


def finished_run(folder: Path, count: int = 60, **changes: object) -> list[TrialRow]:
    """Write a finished run. The last third of its videos is not in the cache."""
    info = begin_run(folder, **changes)
    table = trial_rows(count)
    write_table(folder / "trials.parquet", table)
    fill_cache(info, videos_of(VIDEOS[:32]))
    write_winner(folder, info, table)
    write_evaluation(folder)
    return table
