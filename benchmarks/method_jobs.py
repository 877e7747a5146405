"""The trainings of train_methods.py: each is one method on one place, with its options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rho_variants import RHO_VARIANTS

from evossl.config import SearchSpace
from evossl.experiment.context import RunSpec
from evossl.io.spaces import load_space, shipped_spaces
from evossl.task import Task
from evossl.task_loader import load_catalogue
from evossl.types import Stream

BATCH_SIZE = 32
RATE, EMA = 0.001, 0.99  # of all methods: each is trained alone, and the trainings are short
RATES: Mapping[str, float] = {"jigsaw": 0.0005, "pirl": 0.0005}
"""Learning rates of single methods. At a higher rate, PIRL's memory bank, which is one epoch old,
holds features of a very different encoder; and the jigsaw is solved so fast that the encoder loses
what it knew (measured)."""
EMAS: Mapping[str, float] = {"svt": 0.995}
"""EMA decays of single methods. SVT's paper has 0.996; with 0.97 it did not learn (measured). If
the teacher drifts as fast as rho-MoCo's queue, the age of the keys gives the positive away: the
loss fell at once, and the encoder lost what it had learned (measured)."""
SLOW_METHODS = ("byol", "dino", "rho_byol", "simsiam", "svt", "swav")
"""Methods that learn only from their own clusters or moving average, and so start slowly."""
TIMES = 4
"""Multiple of the compute that `SLOW_METHODS` get in the part `longer`."""
TABLE_STEPS = 200  # of the parts `rho` and `svt`
RHOS = (1, 2, 4)
REAL_STEPS, LONG_REAL_STEPS = 100, 400
LATE_METHODS = {  # on real clips, their loss stays constant for some hundred steps
    "arrow_of_time",
    "dino",
    "generative",
    "moco",
    "order_binary",
    "order_multiclass",
    "rho_moco",
    "svt",
    "swav",
    "tempo",
    "vicreg",
}
STEPS_OF_ROW = {
    "arrow_of_time gray": 6400,
    "arrow_of_time rgb": 6400,
    "dino flow": 1600,
    "order_binary gray": 1600,
    "order_binary rgb": 1600,
    "order_multiclass audio": 1600,
}
"""Steps of single rows on real clips whose loss stays constant even longer."""
REAL_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    name: {"queue_size": 256} for name in ("moco", "rho_moco")
}
"""Options on real clips. With 80 clips to train on, 4096 keys are fifty epochs: the age of the keys
then gives the positive away, and the loss rises as the moving average slows down (measured)."""
NUM_COMPARED_STEPS = 10
"""Steps over which a loss is averaged: the last ones are compared with early ones."""
SETTLING_STEPS: Mapping[str, int] = {"dino": 50, "svt": 50}
"""Steps before the early ones: until the teacher's centre has settled, the loss has no stable
scale. The default is `NUM_COMPARED_STEPS`."""
TEACHER_METHOD, TEACHER_WIDTH = "simclr", 16  # knows motion; video prediction hardly does
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "brave": {
        "broad_stride": 2
    },  # the videos last three clips: with 3 all motion was lost (measured)
    "video_prediction": {"gradient_difference": 1.0},
}
"""Options of methods whose recipe differs from their task's defaults."""
MATCHINGS = (
    ("l->g",),
    ("g->g",),
    ("l->g", "g->g"),
    ("l->g", "g->g", "l->l"),
    ("l->g", "g->g", "g->l"),
    ("l->g", "g->g", "l->l", "g->l"),
)


@dataclass(frozen=True)
class Job:
    """One training: one method alone, on the synthetic videos of a seed or on the real clips.

    Attributes:
        out: the benchmark's folder.
        part: of the benchmark.
        name: of the row.
        method: its name in the space.
        options: of its task.
        ignores: of its space.
        seed: of videos, weights and views; None for the real clips.
        steps: None for as many as the budget of encoder passes allows.
        place: "rgb", "rgb+flow", "flow->rgb", ...
        width: of the encoder.
        times: multiple of the budget of encoder passes.
    """

    out: Path
    part: str
    name: str
    method: str
    options: Mapping[str, Any]
    ignores: tuple[str, ...]
    seed: int | None
    steps: int | None = None
    place: str = "rgb"
    width: int = 8
    times: int = 1

    @property
    def folder(self) -> Path:
        """The folder of the training."""
        return self.out / self.part / f"{self.name.replace('->', '-to-')}-{self.seed}"

    def space(self) -> SearchSpace:
        """Return a space with this method alone and the demo's encoder and clips."""
        tiny = load_space("tiny", {"ignores": list(self.ignores)})
        named = self.place.replace("->", "+").split("+")
        streams = [stream for stream in Stream if stream == "rgb" or stream in named]
        ema = EMAS.get(self.method, EMA)
        training = {"batch_size": BATCH_SIZE, "ema_decay": ema}
        update = {
            "backbone": tiny.backbone.model_copy(update={"width": self.width}),
            "optimiser": tiny.optimiser.model_copy(update={"lr": RATES.get(self.method, RATE)}),
            "training": tiny.training.model_copy(update=training),
        }
        raw = tiny.model_copy(update=update).model_dump(mode="json")
        tasks = {self.method: self._choice()}
        return SearchSpace.model_validate(raw | {"streams": streams, "tasks": tasks})

    def _choice(self) -> dict[str, Any]:
        """The method's entry under `tasks`."""
        task = task_of(self.method)
        variant = RHO_VARIANTS.get(self.method, {})
        choice = {
            **variant,
            "places": [f"{self.place}.{v}" for v in task.variants] or [self.place],
            "weight": 1.0,
            "options": {**variant.get("options", {}), **self.options},
        }
        if task.needs_teacher:
            choice["teacher"] = str(teacher_job(self.out, self.seed or 0).folder / "encoder")
        return choice

    def run_spec(self) -> RunSpec:
        """Return the run of this training alone, without gradient scales."""
        data = "real" if self.seed is None else f"train-{self.seed}"
        manifest, cache = self.out / f"{data}.parquet", self.out / "cache"
        paths = (str(manifest), str(cache), str(self.folder))
        return RunSpec(self.space().model_dump_json(), *paths, self.seed or 0)


def methods() -> list[str]:
    """Return the names of the methods that have a space."""
    return sorted(name.split("/")[1] for name in shipped_spaces() if name.startswith("methods/"))


def task_of(method: str) -> type[Task]:
    """Return the task of a method."""
    name = RHO_VARIANTS.get(method, {}).get("task", method)
    return load_catalogue()[name]


def ignores_of(method: str) -> tuple[str, ...]:
    """Return what the method's space ignores, without `flip` and `noise`.

    The synthetic motions tell left from right, and are a few pixels large.
    """
    ignored = load_space(f"methods/{method}").ignores
    return tuple(word for word in ignored if word not in ("flip", "noise"))


def jobs_of(part: str, out: Path, num_seeds: int) -> Iterator[Job]:
    """Yield the trainings of a part."""
    if part == "real":
        yield from real_jobs(out)
        return
    times = TIMES if part == "longer" else 1
    for seed in range(num_seeds):
        for name, method, options, steps in rows_of(part):
            ignored = ignores_of(method)
            yield Job(out, part, name, method, options, ignored, seed, steps, times=times)


def rows_of(part: str) -> Iterator[tuple[str, str, Mapping[str, Any], int | None]]:
    """Yield (name, method, options, steps) of each row of a part on synthetic videos."""
    if part in ("learn", "longer"):
        names = methods() if part == "learn" else SLOW_METHODS
        yield from ((name, name, OPTIONS.get(name, {}), None) for name in names)
    elif part == "rho":
        for method in ("rho_simclr", "rho_moco", "rho_byol", "rho_swav"):
            for rho in RHOS:
                yield f"{method}-{rho}", method, {"rho": rho}, TABLE_STEPS
    else:
        for row, matchings in enumerate(MATCHINGS):
            yield f"{row}", "svt", {"matchings": list(matchings)}, TABLE_STEPS


def places_of(method: str) -> list[str]:
    """Return the names of the places that a method supports."""
    return [place.name for place in task_of(method).places]


def real_jobs(out: Path) -> Iterator[Job]:
    """Yield the trainings of each method on each of its places, on real clips."""
    for method in methods():
        for place in places_of(method):
            name = f"{method} {place}"
            options = {**OPTIONS.get(method, {}), **REAL_OPTIONS.get(method, {})}
            ignored = ignores_of(method)
            steps = LONG_REAL_STEPS if method in LATE_METHODS else REAL_STEPS
            steps = STEPS_OF_ROW.get(name, steps)
            yield Job(out, "real", name, method, options, ignored, None, steps, place)


def teacher_job(out: Path, seed: int) -> Job:
    """Return the training of the wider encoder that knowledge distillation learns from."""
    method, width = TEACHER_METHOD, TEACHER_WIDTH
    options = OPTIONS.get(method, {})
    return Job(out, "teachers", method, method, options, ignores_of(method), seed, width=width)
