"""The trainings of benchmarks/methods.py: which method, on which streams, with what options."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evossl.config import SearchSpace
from evossl.experiment.context import RunSpec
from evossl.io.spaces import load_space, shipped_spaces
from evossl.task_loader import load_catalogue
from evossl.types import Stream

BATCH, RATE, EMA = 32, 0.001, 0.99  # of all methods; each is alone, and the trainings are short
RATES: Mapping[str, float] = {"jigsaw": 0.0005, "pirl": 0.0005}
"""At more, what PIRL's bank holds, an epoch old, is another encoder's; and the jigsaw is solved so
soon that what the encoder knew is lost (measured)."""
EMAS: Mapping[str, float] = {"svt": 0.995}
"""SVT's is 0.996; at 0.97 it stood still, and what drifts as fast as the keys of rho-MoCo's queue
did tells their age from the positive: its loss fell at once, and what it had learnt was lost."""
SLOW, TIMES = ("byol", "dino", "rho_byol", "simsiam", "svt", "swav"), 4
"""What has only its own clusters or average to go by, and this many times the compute for it."""
STEPS = 200  # of the papers' tables
RHOS = (1, 2, 4)
REAL_STEPS, LONGER = 100, 400
LATE = {  # on real clips their loss stands still for some hundred steps
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
LATEST = {
    "arrow_of_time gray": 6400,
    "arrow_of_time rgb": 6400,
    "dino flow": 1600,
    "order_binary gray": 1600,
    "order_binary rgb": 1600,
    "order_multiclass audio": 1600,
}
"""Steps of single rows whose loss stands still even longer."""
REAL_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    name: {"queue": 256} for name in ("moco", "rho_moco")
}
"""Of the 80 real clips that train, 4096 keys are fifty passes: the keys' age then tells the
positive from the others, and the loss rises as the average slows (measured)."""
EDGE = 10  # steps whose mean loss is compared: the last ones with those after `SETTLED`
SETTLED: Mapping[str, int] = {"dino": 50, "svt": 50}
"""Steps before a loss has its scale, as the centre stands; of the others, `EDGE`."""
TEACHERS_TASK, TEACHERS_WIDTH = "simclr", 16  # knows motion; video prediction's hardly does
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "brave": {"reach": 2},  # the videos last three clips: at 3 all motion was gone (measured)
    "video_prediction": {"gradients": 1.0},
}
"""Where a method's recipe is more than its task's defaults."""
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
    """One training: of a task alone, on the synthetic videos of a seed, or on the real clips.

    Attributes:
        out: the benchmark's folder. part: of it. name: of the row.
        task: of the catalogue. options: its own. ignores: of its space.
        seed: of videos, weights and views; None for the real clips.
        steps: None for as many as `PASSES`, `times` over, buys.
        place: "rgb", "rgb+flow", "flow->rgb", ...
    """

    out: Path
    part: str
    name: str
    task: str
    options: Mapping[str, Any]
    ignores: tuple[str, ...]
    seed: int | None
    steps: int | None = None
    place: str = "rgb"
    width: int = 8
    times: int = 1

    @property
    def folder(self) -> Path:
        """Where it trains."""
        return self.out / self.part / f"{self.name.replace('->', '-to-')}-{self.seed}"

    def space(self) -> SearchSpace:
        """The demo's encoder and clips under this task alone."""
        tiny = load_space("tiny", {"ignores": list(self.ignores)})
        named = self.place.replace("->", "+").split("+")
        streams = [stream for stream in Stream if stream == "rgb" or stream in named]
        task = load_catalogue()[self.task]
        places = [f"{self.place}.{v}" for v in task.variants] or [self.place]
        choice: dict[str, Any] = {"places": places, "weight": 1.0, "options": dict(self.options)}
        if task.needs_teacher:
            choice["teacher"] = str(teacher(self.out, self.seed or 0).folder / "encoder")
        ema = EMAS.get(self.task, EMA)
        update = {
            "backbone": tiny.backbone.model_copy(update={"width": self.width}),
            "optimiser": tiny.optimiser.model_copy(update={"lr": RATES.get(self.task, RATE)}),
            "training": tiny.training.model_copy(update={"batch_size": BATCH, "ema": ema}),
        }
        raw = tiny.model_copy(update=update).model_dump(mode="json")
        return SearchSpace.model_validate(raw | {"streams": streams, "tasks": {self.task: choice}})

    def run(self) -> RunSpec:
        """What its trial shares with nothing else."""
        data = "real" if self.seed is None else f"train-{self.seed}"
        manifest, cache = self.out / f"{data}.parquet", self.out / "cache"
        paths = (str(manifest), str(cache), str(self.folder))
        return RunSpec(self.space().model_dump_json(), *paths, self.seed or 0)


def methods() -> list[str]:
    """The methods that have a space."""
    return sorted(name.split("/")[1] for name in shipped_spaces() if name.startswith("methods/"))


def ignores_of(method: str) -> tuple[str, ...]:
    """What the method's space ignores, but for mirror (motions tell left from right) and blur."""
    ignored = load_space(f"methods/{method}").ignores
    return tuple(word for word in ignored if word not in ("flip", "noise"))


def jobs_of(part: str, out: Path, seeds: int) -> Iterator[Job]:
    """The trainings of a part."""
    if part == "real":
        yield from real_jobs(out)
        return
    times = TIMES if part == "longer" else 1
    for seed in range(seeds):
        for name, task, options, steps in rows_of(part):
            ignored = ignores_of(task)
            yield Job(out, part, name, task, options, ignored, seed, steps, times=times)


def rows_of(part: str) -> Iterator[tuple[str, str, Mapping[str, Any], int | None]]:
    """The rows of a synthetic part: name, task, options, steps."""
    if part in ("learn", "longer"):
        names = methods() if part == "learn" else SLOW
        yield from ((name, name, OPTIONS.get(name, {}), None) for name in names)
    elif part == "rho":
        for task in ("rho_simclr", "rho_moco", "rho_byol", "rho_swav"):
            yield from ((f"{task}-{rho}", task, {"rho": rho}, STEPS) for rho in RHOS)
    else:
        for row, matchings in enumerate(MATCHINGS):
            yield f"{row}", "svt", {"matchings": list(matchings)}, STEPS


def places_of(method: str) -> list[str]:
    """The places it names, as a space has them."""
    sites = load_catalogue()[method].places
    return [("->" if site.directed else "+").join(site.streams) for site in sites]


def real_jobs(out: Path) -> Iterator[Job]:
    """Each method on each of its places."""
    for method in methods():
        for place in places_of(method):
            name = f"{method} {place}"
            options = {**OPTIONS.get(method, {}), **REAL_OPTIONS.get(method, {})}
            ignored = ignores_of(method)
            steps = LONGER if method in LATE else REAL_STEPS
            steps = LATEST.get(name, steps)
            yield Job(out, "real", name, method, options, ignored, None, steps, place)


def teacher(out: Path, seed: int) -> Job:
    """The training of the wider encoder that knowledge distillation is taught by."""
    task, width = TEACHERS_TASK, TEACHERS_WIDTH
    options = OPTIONS.get(task, {})
    return Job(out, "teachers", task, task, options, ignores_of(task), seed, width=width)
