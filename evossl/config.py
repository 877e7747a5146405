"""The search space: pydantic models of the YAML files, and errors that name the remedy.

A default stands here and nowhere else; YAML overrides it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evossl.types import Stream

Ignore = Literal["colour", "crop", "flip", "time", "speed", "noise"]
Weight = float | tuple[float, float]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]

IGNORES_HELP = """`ignores` is missing: what must the encoder not tell apart? No data can decide it.
  ignores: [colour, crop, time]   ranks encoders by motion: what happens, whatever it looks like
  ignores: [crop, time]           ranks encoders by appearance: what it looks like, whatever happens
Words: colour, crop, flip, time, speed, noise. Training views and the fitness both follow it.
Add one of the two lines at the top of the space, or pass --ignores colour,crop,time.
`evossl init --data VIDEOS --out space.yaml` asks, and shows what each does to clips of yours."""


class Model(BaseModel):
    """Frozen; unknown keys fail."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Clip(Model):
    """What an encoder is shown: `frames` of `size` x `size`, from a stretch of `stretch` frames."""

    frames: Positive = 8
    size: Positive = 64
    stretch: Positive = 32
    mel_bands: Positive = 40


class Cache(Model):
    """What each node keeps of a video: its pixels at `fps` and `short_side`, 16 kHz mono sound."""

    fps: Annotated[float, Field(gt=0)] = 12.0
    short_side: Positive = 80
    max_seconds: Annotated[float, Field(gt=0)] = 30.0
    limit_gb: Annotated[float, Field(gt=0)] | None = None


class Backbone(Model):
    """The network of the image streams; the sound network (a ResNet) has its width and depth.

    docs/backbones.md has the names and what width means for each. `c3d`, `mvit`, `s3d` and `x3d`
    have one depth of their own: there `depth` is the sound network's alone.
    """

    name: str = "r2plus1d"
    depth: Literal[18, 50] = 50
    width: Positive = 64


class Optimiser(Model):
    """AdamW, SGD or LARS (whose rates are near 1) with linear warm-up and cosine decay."""

    name: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    head_lr_mult: Annotated[float, Field(gt=0)] = 1.0  # the heads' rate, in `lr`
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Share = 0.1
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0


class Training(Model):
    """One trial's training."""

    batch_size: Positive = 16
    accumulate: Positive = 1
    ema: Share = 0.99
    normalize: Literal["gradient", "none"] = "gradient"
    prune_below: Share = 0.05


def _is_number(value: object) -> bool:
    """YAML's `true` is an int to Python, not a weight to anyone."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class TaskChoice(Model):
    """A task of the space: its places and its weight, fixed (a number) or evolved (a pair).

    `task` names the task file; without it, the key is the file's name, so that a space may use one
    task twice under two names. A task without keys (`simclr:`) is `simclr: {}`. `teacher` is the
    folder of an encoder.
    """

    task: str | None = None
    places: tuple[str, ...] | None = None
    weight: Weight = (0.0, 1.0)
    options: dict[str, Any] = {}
    teacher: str | None = None

    @field_validator("places")
    @classmethod
    def _stand_once(cls, places: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if places == ():
            raise ValueError("[] is nowhere: name a place, or leave `places` out for all of them")
        if places is not None and len(set(places)) < len(places):
            raise ValueError(f"{list(places)} names a place twice: each gives one term")
        return places

    @field_validator("weight", mode="before")
    @classmethod
    def _in_range(cls, weight: object) -> object:
        ends = weight if isinstance(weight, list | tuple) else (weight, weight)
        if len(ends) != 2 or not all(map(_is_number, ends)):
            raise ValueError(f"needs a number, 0.5, or two to evolve between, [0, 1], got {weight}")
        if not 0 <= ends[0] <= ends[1] <= 1:
            raise ValueError(f"{weight} must lie in [0, 1], low before high")
        return weight


class Fitness(Model):
    """The label-free score that evolution minimises, in nats; a path is a user's own function."""

    name: str = "consistent_zipf"
    clips: Positive = 512
    clusters: Positive | None = None  # None: min(32, clips / 30)
    exponent: Annotated[float, Field(ge=0)] = 1.0  # s of Zipf's law; 0 is the uniform prior
    sigma: Annotated[float, Field(gt=0)] = 0.5**0.5  # of soft shares: 2 sigma^2 = 1 as in the paper
    preprocess: Literal["standard", "raw", "l2"] | None = None  # None: raw for zipf, else standard
    labels_by: Literal["knn", "kmeans"] = "knn"  # what `labels` measures


class Sampler(Model):
    """Who proposes weights."""

    name: Literal["cmaes", "ga", "random", "tpe", "nsga2"] = "cmaes"
    population: Positive | None = None
    single_tasks_first: bool = (
        False  # try each task alone, after equal weights and before anything else
    )


class Stopping(Model):
    """Early stopping (ASHA): at each rung, a fraction of a trial's steps, only the best continue.

    A trial is scored at each rung. It continues if it is among the best `keep_fraction` of all
    trials that have reached the rung, or if fewer than `min_trials` have. Without rungs, no trial
    is stopped early.
    """

    rungs: tuple[OpenShare, ...] = ()
    keep_fraction: OpenShare = 0.5
    min_trials: Positive = 8

    @field_validator("rungs")
    @classmethod
    def _ascend(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError(f"{list(rungs)} must ascend")
        return rungs

    def steps(self, total: int, every: int) -> tuple[int, ...]:
        """Return the steps of the rungs of a trial that reports every so many, its last aside."""
        steps = {max(1, round(rung * total / every)) * every for rung in self.rungs}
        return tuple(sorted(step for step in steps if step < total))


class Budget(Model):
    """How much is spent."""

    trials: Positive = 32
    steps: Positive = 500
    final_steps: Positive = 2000
    deadline_seconds: Annotated[float, Field(gt=0)] | None = None


class Resources(Model):
    """What one trial is given on a cluster."""

    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    max_concurrent: Positive | None = None


class SearchSpace(Model):
    """A YAML file of `search_spaces/`; a published method is one whose weights are all fixed."""

    ignores: tuple[Ignore, ...]
    about: str = ""
    streams: tuple[Stream, ...] = (Stream.RGB,)
    tasks: dict[str, TaskChoice]
    backbone: Backbone = Backbone()
    clip: Clip = Clip()
    cache: Cache = Cache()
    optimiser: Optimiser = Optimiser()
    training: Training = Training()
    fitness: Fitness = Fitness()
    sampler: Sampler = Sampler()
    stopping: Stopping = Stopping()
    budget: Budget = Budget()
    resources: Resources = Resources()

    @field_validator("tasks", mode="before")
    @classmethod
    def _bare_names(cls, tasks: object) -> object:
        if not isinstance(tasks, dict):
            return tasks
        return {name: {} if choice is None else choice for name, choice in tasks.items()}

    @model_validator(mode="after")
    def _something_to_do(self) -> "SearchSpace":
        if Stream.RGB not in self.streams:
            raise ValueError("streams must contain rgb: it is the encoder that leaves")
        if not self.tasks:
            raise ValueError("tasks: names none; `evossl tasks` lists them")
        if all(choice.weight in (0, (0, 0)) for choice in self.tasks.values()):
            raise ValueError("every weight is zero: nothing would be trained; give a task a weight")
        return self

    @model_validator(mode="after")
    def _clips_are_compared(self) -> "SearchSpace":
        if self.training.batch_size == 1:
            raise ValueError(
                f"training.batch_size: 1: {', '.join(self.tasks)} cannot do with one clip, which "
                "BatchNorm and losses compare with others; raise it to 2 or more "
                "(training.accumulate does not make a batch larger)"
            )
        return self

    @model_validator(mode="after")
    def _stretches_are_kept(self) -> "SearchSpace":
        seconds, kept = self.clip.stretch / self.cache.fps, self.cache.max_seconds
        if seconds > kept:  # every clip would end in copies of its last frame
            raise ValueError(
                f"clip.stretch: {self.clip.stretch} frames at {self.cache.fps:g} a second are "
                f"{seconds:.3g} s, and cache.max_seconds keeps {kept:g} of a video; raise it, or "
                "lower clip.stretch"
            )
        return self
