"""The data sets of fitness_study.py, and the inputs that every encoder of a data set sees.

Inputs are built once per data set ("banks"), because they do not depend on the encoder: the views
of the held-out clips, the clean clips of the labelled videos, and features without any training.

Shapes: N clip, V video, B clip of a batch, C channel, T frame, H height, W width, D feature.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitness_study_views import CROSS_VIEWS, FAMILIES, LIDAR_VIEWS, held_out_views, other_family
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import Index, build_index
from evossl.data.synth.dataset import synthesise
from evossl.data.synth.mp4_writer import write_mp4
from evossl.evaluation.features import CLIPS_PER_VIDEO, clean_clips, open_clips
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.controls import run_random_init
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.held_out import NUM_CALIBRATION_BATCHES, SCORING_BATCH_SIZE
from evossl.export.encoder_folder import EncoderConfig
from evossl.io.spaces import load_space
from evossl.rng import derive_seed
from evossl.types import ClipBatch
from evossl.views.build import build_views

NUM_VIDEOS, NUM_LABELLED, NUM_CLASSES, LABELLED_SEED_OFFSET = 1200, 400, 8, 1000
NUM_LIDAR_CLIPS = 100
EXTRA_TASKS = {
    "interpolation": ("rgb",),
    "tempo": ("rgb.speed", "rgb.consistency"),
    "simsiam": ("rgb",),
    "byol": ("rgb",),
    "swav": ("rgb",),
}
NOISE = {"noise2.5": (240, 2.5), "noise20": (120, 20.0), "pattern": (600, 2.5)}
"""Videos with nothing to understand, and their seconds. Those of "pattern" can be recognised: each
shows its own fixed 4 x 4 pattern of grays under the noise."""
PATTERN_SIDE, PATTERN_SHARE = 4, 0.7
NOISE_FPS, NOISE_SIDE = 12, 64
WORDS_TASKS = (
    "simclr",
    "multimodal_contrast",
    "multimodal_alignment",
    "order_binary",
    "reconstruction",
    "video_prediction",
    "interpolation",
    "byol",
)


@dataclass(frozen=True)
class DataSet:
    """A data set with one seed: its videos, labelled videos and space.

    Attributes:
        name: "motion", a name of `NOISE`, "words" or "surveillance".
        seed: of the videos, of the initial weights and of the views.
        out: the study's folder.
        real: the folder of the real clips, or None.
    """

    name: str
    seed: int
    out: Path
    real: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the data set's run, banks and features."""
        return self.out / f"{self.name}-{self.seed}"

    def space(self) -> SearchSpace:
        """Return `tiny` with the tasks of other families, changed as the data set needs it."""
        raw = load_space("tiny").model_dump(mode="json")
        raw["tasks"] |= {task: {"places": list(places)} for task, places in EXTRA_TASKS.items()}
        if self.name == "noise20":
            raw["clip"] |= {"stretch": 240}
            raw["cache"] |= {"max_seconds": 20}
        if self.name == "words":
            raw |= {"ignores": ["colour", "crop", "flip"], "streams": ["rgb", "audio"]}
            raw["clip"] |= {"frames": 12, "size": 48, "stretch": 24}
            raw["cache"] |= {"fps": 20, "short_side": 56}
            places = {name: ["rgb+audio"] for name in WORDS_TASKS if name.startswith("multi")}
            raw["tasks"] = {name: {"places": places.get(name, ["rgb"])} for name in WORDS_TASKS}
        return SearchSpace.model_validate(raw)

    def train_index(self) -> Index:
        """Return the index of the videos to train on, which are written if they do not exist."""
        return self._index("train", NUM_VIDEOS, self.seed)

    def labelled_index(self) -> Index:
        """Return the index of the labelled videos."""
        return self._index("labelled", NUM_LABELLED, self.seed + LABELLED_SEED_OFFSET)

    def _index(self, part: str, num_videos: int, seed: int) -> Index:
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / f"{part}.parquet"
        if self.name == "motion":
            videos = self.out / "videos" / f"{part}-{self.seed}"
            if not (videos / "labels.parquet").is_file():
                synthesise(videos, num_videos, NUM_CLASSES, seed)
            source = videos if part == "train" else videos / "labels.parquet"
            return build_index(str(source), manifest)
        if self.name in NOISE:
            videos = self.out / "videos" / f"{self.name}-{self.seed}"
            write_noise(videos, self.name, self.seed)
            return build_index(str(videos), manifest)
        assert self.real is not None, "name the folder of the real clips: --real DIR"
        folder = self.real / self.name
        table = folder / "manifest.csv"
        return build_index(str(table if table.is_file() else folder), manifest)


def write_noise(folder: Path, name: str, seed: int) -> None:
    """Write the videos of a set of `NOISE`: their pixels are independent noise in every frame."""
    num_videos, seconds = NOISE[name]
    frames = round(seconds * NOISE_FPS)
    for number in range(num_videos):
        path = folder / f"{number:04d}.mp4"
        if not path.is_file():
            rng = np.random.default_rng([seed, number])
            pixels = rng.integers(0, 256, (frames, NOISE_SIDE, NOISE_SIDE, 3), dtype=np.uint8)
            if name == "pattern":
                small = rng.integers(0, 256, (PATTERN_SIDE, PATTERN_SIDE, 1))
                cells = np.ones((NOISE_SIDE // PATTERN_SIDE, NOISE_SIDE // PATTERN_SIDE, 1))
                mixed = PATTERN_SHARE * np.kron(small, cells) + (1 - PATTERN_SHARE) * pixels
                pixels = mixed.astype(np.uint8)
            sound = 0.1 * rng.standard_normal(round(seconds * 16_000))
            write_mp4(path, pixels, NOISE_FPS, sound.astype(np.float32))


def open_run(data: DataSet) -> RunContext:
    """Return the run of a data set: its cache is filled and its gradient scales are measured."""
    index, space = data.train_index(), data.space()
    cache = data.out / "cache" / data.name
    ClipCache(cache, space.cache).fill(index.videos)
    manifest = str(data.folder / "train.parquet")
    run = RunSpec(space.model_dump_json(), manifest, str(cache), str(data.folder), data.seed)
    file = data.folder / "scales.json"
    if not file.is_file():
        file.write_text(json.dumps(measure_run(RunContext.open(run))), encoding="utf-8")
    scales = json.loads(file.read_text(encoding="utf-8"))
    return RunContext.open(replace(run, gradient_scales=scales))


@dataclass(frozen=True)
class Banks:
    """Inputs of a data set, in float16.

    Attributes:
        pixels: {name: (N, C, T, H, W)} of every view of the held-out clips; "labelled" is (V * K,
            ...): K clips of video v are the rows v * K to v * K + K - 1.
        calibration: {stream: batches} of clean flow and sound for their encoders' BatchNorm.
    """

    pixels: Mapping[str, Tensor]
    calibration: Mapping[str, Sequence[Tensor]]


def load_banks(data: DataSet, context: RunContext) -> Banks:
    """Return the banks of a data set; build them and write its labels if that is not done."""
    file = data.folder / "banks.safetensors"
    if not file.is_file():
        pixels = held_out_bank(context) | {"labelled": labelled_bank(data, context)}
        for stream in context.space.streams[1:]:
            for number, x in enumerate(calibration_batches(context, stream)):
                pixels[f"calibration {stream} {number}"] = x
        save_file(fixed_features(pixels), data.folder / "fixed.safetensors")
        save_file({name: x.half().contiguous() for name, x in pixels.items()}, file)
    pixels = load_file(file)
    names = sorted(name for name in pixels if name.startswith("calibration"))
    calibration: dict[str, list[Tensor]] = {}
    for name in names:
        calibration.setdefault(name.split()[1], []).append(pixels.pop(name))
    return Banks(pixels, calibration)


def held_out_bank(context: RunContext) -> dict[str, Tensor]:
    """Return the inputs of every view; the first four are those of `held_out_features`."""
    parts: dict[str, list[Tensor]] = {}
    seed = derive_seed(context.run.seed, "score")
    count = len(context.data.selection.videos)
    shortest = min(context.space.clip.stretch, _num_frames(context))
    views = held_out_views(context.settings, shortest) | {
        stream: CROSS_VIEWS[stream] for stream in context.space.streams[1:]
    }
    for start in range(0, count, SCORING_BATCH_SIZE):
        rows = range(start, min(start + SCORING_BATCH_SIZE, count))
        clips = context.data.selection.loader.clips(rows, draw=0)
        needed = {n: v for n, v in views.items() if n not in LIDAR_VIEWS or start < NUM_LIDAR_CLIPS}
        recipes = [view.input_key for view in needed.values()]
        inputs = build_views(recipes, clips, context.settings, seed=seed, step=start)
        for name, view in needed.items():
            parts.setdefault(name, []).append(inputs[view.input_key].pixels)
    bank = {name: torch.cat(batches) for name, batches in parts.items()}
    for name in LIDAR_VIEWS:
        bank[name] = bank[name][:NUM_LIDAR_CLIPS]
    for name, (source, colour) in FAMILIES.items():
        bank[name] = other_family(bank[source], derive_seed(seed, name), colour=colour)
    return bank


def _num_frames(context: RunContext) -> int:
    """Frames of the shortest held-out clip."""
    rows = range(len(context.data.selection.videos))
    return int(context.data.selection.loader.clips(rows, draw=0).num_frames_B.min())


def labelled_bank(data: DataSet, context: RunContext) -> Tensor:
    """Return the clips that the evaluation reads, and write the labels of all videos."""
    encoder = run_random_init(context, 0)
    config = EncoderConfig.from_space(context.space, encoder)
    index = data.labelled_index()
    videos = index.videos
    loader, report = open_clips(videos, config, Path(context.run.cache), seed=0)
    clips = []
    for start in range(0, len(report.readable), SCORING_BATCH_SIZE):
        rows = range(start, min(start + SCORING_BATCH_SIZE, len(report.readable)))
        parts = list(clean_clips(loader.clips(rows, draw=0), config, CLIPS_PER_VIDEO))
        clips.append(torch.stack(parts, dim=1).flatten(0, 1).half())
    columns = ("motion", "appearance") if data.name == "motion" else ("label",)
    labels = {name: _labels(index, name, [v.path for v in report.readable]) for name in columns}
    held_out = [video.path for video in context.data.selection.videos]
    train = data.train_index()
    known: dict[str, Any] = {
        "labelled": labels,
        "groups": [video.group for video in report.readable],
        "held_out": {"label": _labels(train, "label", held_out)},
    }
    (data.folder / "labels.json").write_text(json.dumps(known), encoding="utf-8")
    return torch.cat(clips)


def _labels(index: Index, column: str, paths: Sequence[str]) -> list[str | None]:
    if column == "label":
        return [{v.path: v.label for v in index.videos}.get(path) for path in paths]
    labels = index.labels(column)
    return [
        dict(zip((v.path for v in index.videos), labels, strict=True)).get(path) for path in paths
    ]


def calibration_batches(context: RunContext, stream: str) -> list[Tensor]:
    """Return clean inputs of a stream, of training clips, as `held_out.calibrate` takes of RGB."""
    view, found = CROSS_VIEWS[stream], []
    for step in range(NUM_CALIBRATION_BATCHES):
        clips: ClipBatch = context.data.train.batch(step)
        inputs = build_views([view], clips, context.settings, seed=0, step=step)
        found.append(inputs[view.input_key].pixels)
    return found


def fixed_features(pixels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return features of the held-out clips that no training made, each (N, D), float32.

    `log_mel`: mean log-mel in 12 segments; `motion_energy`: mean |difference| of successive frames
    in 4 segments of a 4 x 4 grid; `flow`: mean dx, dy and their absolute values on the same grid;
    `colour_grid <view>`: mean colours of a 4 x 4 grid, which knows no motion.
    """
    clean_NCTHW = pixels["clean"].float()
    gray_NTHW = clean_NCTHW.mean(dim=1)
    energy_NTHW = (gray_NTHW[:, 1:] - gray_NTHW[:, :-1]).abs()
    found = {"motion_energy": F.adaptive_avg_pool3d(energy_NTHW, (4, 4, 4)).flatten(1)}
    if "flow" in pixels:
        flow = pixels["flow"].float()
        both = torch.cat([flow, flow.abs()], dim=1)
        found["flow"] = F.adaptive_avg_pool3d(both, (4, 4, 4)).flatten(1)
    if "audio" in pixels:
        sound_NFT = pixels["audio"].float().flatten(1, 3)
        found["log_mel"] = F.adaptive_avg_pool1d(sound_NFT, 12).flatten(1)
    for name in ("clean", "first", "second"):
        grid = F.adaptive_avg_pool3d(pixels[name].float(), (1, 4, 4)).flatten(1)
        found[f"colour_grid {name}"] = grid
    return {name: x.contiguous() for name, x in found.items()}
