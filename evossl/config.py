"""The search space: pydantic models of the YAML files in `search_spaces/`.

Every default is defined here and nowhere else; a YAML file overrides it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evossl.errors import unknown
from evossl.genes import is_number
from evossl.space_genes import SpaceWithGenes
from evossl.types import Stream

Ignore = Literal["colour", "crop", "flip", "time", "speed", "noise"]
Weight = float | tuple[float, float]
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
OpenUnitInterval = Annotated[float, Field(gt=0, lt=1)]

MIN_TRIALS_TO_RERUN = 12

IGNORES_HELP = """`ignores` is missing: it lists what the encoder must be invariant to. You decide:
  ignores: [colour, crop, time]   ranks encoders by motion: what happens, whatever it looks like
  ignores: [crop, time]           ranks encoders by appearance: what it looks like, whatever happens
Allowed words: colour, crop, flip, time, speed, noise. Both training views and the fitness use them.
Add one of the two lines at the top of the space, or pass --ignores colour,crop,time.
`evossl init --data VIDEOS --out space.yaml` asks you, and shows the effect on your own clips."""


class Model(BaseModel):
    """A frozen pydantic model that refuses unknown keys, infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Clip(Model):
    """An encoder's input: `frames` frames of `size` x `size`, sampled from `stretch` frames."""

    frames: PositiveInt = 8
    size: PositiveInt = 64
    stretch: PositiveInt = 32
    mel_bands: PositiveInt = 40


class Cache(Model):
    """What each node stores of a video: frames at `fps` and `short_side`, and 16 kHz mono audio."""

    fps: PositiveFloat = 12.0
    short_side: PositiveInt = 80
    max_seconds: PositiveFloat = 30.0
    limit_gb: PositiveFloat | None = None


class Backbone(Model):
    """The network of the image streams. The audio network is a ResNet of the same width and depth.

    docs/backbones.md lists the names and what `width` means for each. `c3d`, `mvit`, `s3d` and
    `x3d` have a fixed depth; with them, `depth` applies to the audio network only.
    """

    name: str = "r2plus1d"
    depth: Literal[18, 50] = 50
    width: PositiveInt = 64


class Augmentation(Model):
    """How strongly the training's strong views are augmented in what `ignores` lists.

    The views that the fitness scores always have these defaults.
    """

    colour_strength: UnitInterval = 1.0  # multiplies the colour jitter, and how often it is gray
    min_crop_area: Annotated[float, Field(gt=0, le=1)] = 0.3  # CVRL's, as a fraction of the frame
    noise_strength: Annotated[float, Field(ge=0, le=4)] = 1.0  # multiplies noise, blur and gain


class Optimiser(Model):
    """AdamW, SGD or LARS (learning rates near 1), with linear warm-up and cosine decay."""

    name: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: PositiveFloat = 1e-3
    head_lr_mult: PositiveFloat = 1.0  # multiplies `lr` for the heads
    weight_decay: NonNegativeFloat = 0.05
    warmup_fraction: UnitInterval = 0.1  # of the steps
    clip_norm: PositiveFloat | None = 1.0


class Training(Model):
    """How one trial is trained.

    `normalize: gradient` divides each loss by its gradient scale and rescales the loss weights to
    sum to 1; `none` uses losses and weights as they are. Terms whose loss weight is below
    `prune_below` are not trained.
    """

    batch_size: PositiveInt = 16
    accumulate: PositiveInt = 1  # batches per optimiser step
    ema_decay: UnitInterval = 0.99  # of the momentum encoders at the first step; rises to 1
    normalize: Literal["gradient", "none"] = "gradient"
    prune_below: UnitInterval = 0.05


class TaskChoice(Model):
    """One entry under `tasks`: its places, and its weight as a number (fixed) or a pair (evolved).

    `task` names the task file and defaults to the entry's key; a space can therefore use one task
    twice under two keys. `simclr:` without a value means `simclr: {}`. `teacher` is the folder of
    a pretrained encoder.
    """

    task: str | None = None
    places: tuple[str, ...] | None = None
    weight: Weight = (0.0, 1.0)
    options: dict[str, Any] = {}
    teacher: str | None = None

    @field_validator("places")
    @classmethod
    def _refuse_duplicates(cls, places: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if places == ():
            raise ValueError("is empty: name a place, or remove the key to use all of them")
        if places is not None and len(set(places)) < len(places):
            raise ValueError(f"{list(places)} names a place twice; each place gives one term")
        return places

    @field_validator("weight", mode="before")
    @classmethod
    def _in_range(cls, weight: object) -> object:
        ends = weight if isinstance(weight, list | tuple) else (weight, weight)
        if len(ends) != 2 or not all(map(is_number, ends)):
            raise ValueError(
                f"needs a number such as 0.5, or search bounds such as [0, 1]; got {weight}"
            )
        if not 0 <= ends[0] <= ends[1] <= 1:
            raise ValueError(f"{weight} must lie in [0, 1], with the lower bound first")
        return weight


class Fitness(Model):
    """The label-free score that the search minimises, in nats; `name` may be `file.py:function`."""

    name: str = "consistent_zipf"
    clips: PositiveInt = 512
    clusters: PositiveInt | None = None  # None: min(32, clips / 30)
    exponent: NonNegativeFloat = 1.0  # s of Zipf's law; 0 gives a uniform prior
    sigma: PositiveFloat = 0.5**0.5  # of soft assignment; the paper has 2 sigma^2 = 1
    preprocess: Literal["standard", "raw", "l2"] | None = None  # None: raw for zipf, else standard
    label_metric: Literal["knn", "kmeans"] = "knn"  # accuracy that the fitness `labels` uses


class Sampler(Model):
    """The algorithm that proposes loss weights.

    With `pbt` (population-based training), trials continue the training of earlier ones; see
    docs/population-based-training.md. `population` is then the number of members, 8 by default.
    """

    name: Literal["cmaes", "ga", "random", "tpe", "nsga2", "pbt"] = "cmaes"
    population: PositiveInt | None = None
    single_tasks_first: bool = False  # right after equal weights, run one trial for each task
    fast_starter: str | None = None  # a task that each of these trials also trains a little


class Stopping(Model):
    """Early stopping (ASHA): at each rung, a fraction of a trial's steps, only the best continue.

    A trial is scored at each rung. It continues if it is among the best `keep_fraction` of all
    trials that have reached the rung, or if fewer than `min_trials` have. Without rungs, no trial
    is stopped early.
    """

    rungs: tuple[OpenUnitInterval, ...] = ()
    keep_fraction: OpenUnitInterval = 0.5
    min_trials: PositiveInt = 8

    @field_validator("rungs")
    @classmethod
    def _check_ascending(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError(f"{list(rungs)} must be in ascending order, without duplicates")
        return rungs

    def steps(self, total: int, every: int) -> tuple[int, ...]:
        """Return the step of each rung, rounded to a multiple of `every` and below `total`."""
        steps = {max(1, round(rung * total / every)) * every for rung in self.rungs}
        return tuple(sorted(step for step in steps if step < total))


class Budget(Model):
    """How many trials and training steps a search may use.

    `reruns` of the trials repeat the best ones with other seeds, so that luck does not win.
    `passes` gives each trial the same compute in place of the same steps: it trains for as many
    steps as that number of encoder passes allows, more if its losses are cheap. `final_passes` does
    so for the winner.
    """

    trials: PositiveInt = 32  # re-runs included
    reruns: Annotated[int, Field(ge=0)] | None = None  # None: a quarter, from 12 trials on
    steps: PositiveInt = 500
    final_steps: PositiveInt = 2000
    passes: PositiveInt | None = None  # in place of `steps`: a forward pass is 1, its backward 2
    final_passes: PositiveInt | None = None  # in place of `final_steps`
    deadline_seconds: PositiveFloat | None = None

    @model_validator(mode="after")
    def _check_reruns(self) -> "Budget":
        if self.reruns is not None and self.reruns >= self.trials:
            raise ValueError(
                f"reruns: {self.reruns} leaves no new trial of budget.trials: {self.trials}, which "
                "counts re-runs too; lower reruns"
            )
        return self

    @property
    def max_reruns(self) -> int:
        """How many trials may be re-runs."""
        if self.reruns is not None:
            return self.reruns
        return self.trials // 4 if self.trials >= MIN_TRIALS_TO_RERUN else 0


class Resources(Model):
    """CPUs and GPUs of one trial, and the largest number of trials that run at the same time."""

    cpus: PositiveFloat = 1.0
    gpus: NonNegativeFloat = 0.0
    max_concurrent: PositiveInt | None = None


class SearchSpace(SpaceWithGenes, Model):
    """A search space file. A published method is a space whose weights are all fixed.

    A key of `augmentation`, `optimiser` or `training` may declare a range or choices; it then has
    the gene's default here, and the gene is in `genes`. The genes of task options are found when
    the space is resolved, because only a task knows the types of its options.
    """

    ignores: tuple[Ignore, ...]
    about: str = ""
    streams: tuple[Stream, ...] = (Stream.RGB,)
    tasks: dict[str, TaskChoice]
    backbone: Backbone = Backbone()
    clip: Clip = Clip()
    cache: Cache = Cache()
    augmentation: Augmentation = Augmentation()
    optimiser: Optimiser = Optimiser()
    training: Training = Training()
    fitness: Fitness = Fitness()
    sampler: Sampler = Sampler()
    stopping: Stopping = Stopping()
    budget: Budget = Budget()
    resources: Resources = Resources()

    @field_validator("tasks", mode="before")
    @classmethod
    def _allow_bare_names(cls, tasks: object) -> object:
        if not isinstance(tasks, dict):
            return tasks
        return {name: {} if choice is None else choice for name, choice in tasks.items()}

    @model_validator(mode="after")
    def _check_tasks(self) -> "SearchSpace":
        if Stream.RGB not in self.streams:
            raise ValueError("streams must contain rgb, the stream of the encoder that is exported")
        if not self.tasks:
            raise ValueError("tasks is empty; name at least one task (`evossl tasks` lists them)")
        if all(choice.weight in (0, (0, 0)) for choice in self.tasks.values()):
            raise ValueError(
                "tasks: every weight is zero, so nothing would be trained; give a task a weight"
            )
        return self

    @model_validator(mode="after")
    def _check_fast_starter(self) -> "SearchSpace":
        starter = self.sampler.fast_starter
        if starter is not None and starter not in self.tasks:
            raise ValueError(f"sampler.fast_starter: {unknown('task', starter, self.tasks)}")
        if starter is not None and not self.sampler.single_tasks_first:
            raise ValueError(
                f"sampler.fast_starter: {starter} has no effect without single-task trials: add "
                "`single_tasks_first: true`, or remove the key"
            )
        return self

    @model_validator(mode="after")
    def _check_batch_size(self) -> "SearchSpace":
        if self.training.batch_size == 1:
            raise ValueError(
                f"training.batch_size: 1 is too small for {', '.join(self.tasks)}: BatchNorm and "
                "losses compare the clips of a batch; set it to 2 or more (training.accumulate "
                "does not enlarge a batch)"
            )
        return self

    @model_validator(mode="after")
    def _check_early_stopping(self) -> "SearchSpace":
        if self.sampler.name == "pbt" and self.stopping.rungs:
            raise ValueError(
                "stopping.rungs: pbt stops no trial early, because a bad one is replaced by a copy "
                "of a good one when it ends; remove stopping, or choose another sampler"
            )
        return self

    @model_validator(mode="after")
    def _check_stretch(self) -> "SearchSpace":
        seconds, stored = self.clip.stretch / self.cache.fps, self.cache.max_seconds
        if seconds > stored:  # every clip would end in copies of its last frame
            raise ValueError(
                f"clip.stretch: {self.clip.stretch} frames at {self.cache.fps:g} fps last "
                f"{seconds:.3g} s, but cache.max_seconds stores only {stored:g} s of a video; "
                "raise cache.max_seconds or lower clip.stretch"
            )
        return self
