"""The workbench of a run in one process: its space, terms, data, and what is measured on them.

`RunSpec` is plain data: it is all that crosses a process border.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from evossl.config import SearchSpace
from evossl.errors import RunError, UserError
from evossl.experiment.gradient_scales import NUM_BATCHES, measure_scales
from evossl.experiment.held_out import calibrate, scoring_features
from evossl.experiment.run_folder import RunInfo
from evossl.experiment.split import RunData, open_data
from evossl.experiment.terms import resolve_terms, space_tasks
from evossl.fitness.features import ScoringFeatures
from evossl.models.encoder import Encoder, build_encoder
from evossl.rng import derive_seed
from evossl.task import Task, Term
from evossl.task_loader import load_catalogue
from evossl.training.memory_use import OUT_OF_MEMORY, is_out_of_memory, keep_freed_memory
from evossl.types import Stream
from evossl.views.settings import ViewSettings


@dataclass(frozen=True)
class RunSpec:
    """What all trials of a run share: plain data.

    Attributes:
        space: the resolved search space, as JSON.
        manifest: path of the index. cache: folder of the clip cache. folder: the run's own.
        seed: of initial weights, data order and views: common random numbers of all trials.
        tasks_folder: a user's own tasks, or None.
        device: "cpu", "cuda", or None for a GPU where there is one.
        scales: gradient scale of every term; empty before they are measured.
    """

    space: str
    manifest: str
    cache: str
    folder: str
    seed: int
    tasks_folder: str | None = None
    device: str | None = None
    scales: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, info: RunInfo) -> "RunSpec":
        """Return what the trials of the run in `folder` share."""
        return cls(
            space=info.parsed_space().model_dump_json(),
            manifest=str((folder / "manifest.parquet").resolve()),
            cache=info.cache,
            folder=str(folder.resolve()),
            seed=info.seed,
            tasks_folder=info.tasks_folder,
            device=info.device,
            scales=info.scales,
        )


@dataclass(frozen=True)
class RunContext:
    """A run's space, terms and open data, in this process."""

    space: SearchSpace
    tasks: Mapping[str, type[Task]]
    terms: tuple[Term, ...]
    data: RunData
    settings: ViewSettings
    device: torch.device

    @classmethod
    def open(cls, run: RunSpec) -> "RunContext":
        """Open what the spec names; the data stay open in this process, which keeps its memory."""
        keep_freed_memory()
        space = SearchSpace.model_validate_json(run.space)
        folder = Path(run.tasks_folder) if run.tasks_folder else None
        tasks = space_tasks(space, load_catalogue(folder))
        data = open_data(Path(run.manifest), Path(run.cache), run.space, run.seed)
        terms = resolve_terms(space, tasks)
        settings = ViewSettings.from_space(space)
        return cls(space, tasks, terms, data, settings, pick_device(run.device))


def pick_device(name: str | None) -> torch.device:
    """Return the named device, or a GPU where there is one."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"device {name!r}: this process sees no GPU; use --device cpu")
    return torch.device(name)


def measure_run(
    run: RunSpec, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Return the gradient scale of every term of a run, at the weights that all trials share.

    Raises:
        UserError: a term whose scale is zero or not finite, or that no clip suits; a step for which
            there is not enough memory.
    """
    bench = RunContext.open(run)
    if bench.space.training.normalize == "none":
        return {term.name: 1.0 for term in bench.terms}
    batches = (bench.data.train.batch(step).to(bench.device) for step in range(NUM_BATCHES))
    try:
        return measure_scales(
            bench.terms, bench.tasks, bench.space, batches, seed=run.seed, progress=progress
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"a step of all tasks runs {OUT_OF_MEMORY}") from error


def random_init(run: RunSpec, index: int) -> Encoder:
    """Return an untrained RGB encoder, BatchNorm calibrated: the control a trial must beat."""
    bench = RunContext.open(run)
    seed = derive_seed(run.seed, "random init", index)
    encoder = build_encoder(Stream.RGB, bench.space.backbone, seed).to(bench.device)
    calibrate(encoder, bench.data.train, bench.settings)
    return encoder


def features_of(
    encoder: nn.Module, run: RunSpec, progress: Callable[[int, int], None] | None = None
) -> ScoringFeatures:
    """Return what the fitness scores: features of the run's held-out clips."""
    bench = RunContext.open(run)
    rows = range(len(bench.data.scored_videos))
    return scoring_features(
        encoder,
        bench.data.scored,
        bench.settings,
        rows,
        seed=derive_seed(run.seed, "score"),
        labels_N=_labels(bench),
        progress=progress,
    )


def _labels(bench: RunContext) -> Tensor | None:
    """Labels of the scored clips as numbers, -1 for none; only the `labels` fitness reads them."""
    if bench.space.fitness.name != "labels":
        return None
    names = [video.label for video in bench.data.scored_videos]
    classes = {name: i for i, name in enumerate(sorted({n for n in names if n is not None}))}
    return torch.tensor([-1 if name is None else classes[name] for name in names])
