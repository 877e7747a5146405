"""RunSpec, the plain data of a run, and RunContext, what a process opens from it once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from evossl.config import SearchSpace
from evossl.errors import RunError
from evossl.experiment.run_folder import RunInfo
from evossl.experiment.split import RunData, open_data
from evossl.training.memory_use import keep_freed_memory
from evossl.training.resolved_space import ResolvedSpace, resolve_space
from evossl.views.settings import ViewSettings


@dataclass(frozen=True)
class RunSpec:
    """What all trials of a run share, as plain data that can cross a process border.

    Attributes:
        space: the search space, as JSON.
        manifest: path of the index.
        cache: folder of the clip cache.
        folder: the run folder.
        seed: of initial weights, data order and views, which all trials share.
        tasks_folder: a folder of the user's own tasks, or None.
        device: "cpu", "cuda", or None for a GPU if there is one.
        gradient_scales: the gradient scale of every term; empty until measured.
    """

    space: str
    manifest: str
    cache: str
    folder: str
    seed: int
    tasks_folder: str | None = None
    device: str | None = None
    gradient_scales: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, info: RunInfo) -> "RunSpec":
        """Return the spec of the run in `folder`, which `info` describes."""
        return cls(
            space=info.parsed_space.model_dump_json(),
            manifest=str((folder / "manifest.parquet").resolve()),
            cache=info.cache,
            folder=str(folder.resolve()),
            seed=info.seed,
            tasks_folder=info.tasks_folder,
            device=info.device,
            gradient_scales=info.gradient_scales,
        )


@dataclass(frozen=True)
class RunContext:
    """A run as one process sees it: opened once, then passed to whatever works on the run.

    Attributes:
        run: the plain data that it was opened from.
        resolved: the space with its tasks and terms.
        data: loaders over the videos.
        settings: of all views.
        device: where this process computes.
    """

    run: RunSpec
    resolved: ResolvedSpace
    data: RunData
    settings: ViewSettings
    device: torch.device

    @classmethod
    def open(cls, run: RunSpec) -> "RunContext":
        """Open a run in this process, which from then on keeps the memory that its tensors free.

        Raises:
            UserError: a task file that cannot be loaded, or too few videos.
            RunError: the device does not exist here.
        """
        keep_freed_memory()
        space = SearchSpace.model_validate_json(run.space)
        return cls(
            run=run,
            resolved=resolve_space(space, Path(run.tasks_folder) if run.tasks_folder else None),
            data=open_data(Path(run.manifest), Path(run.cache), space, run.seed),
            settings=ViewSettings.from_space(space),
            device=pick_device(run.device),
        )

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.resolved.space

    def with_gradient_scales(self, scales: Mapping[str, float]) -> "RunContext":
        """Return the same context after the gradient scales have been measured."""
        return replace(self, run=replace(self.run, gradient_scales=scales))


def pick_device(name: str | None) -> torch.device:
    """Return the named device, or without a name a GPU if there is one.

    Raises:
        RunError: a GPU is named and this process sees none.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"device {name!r}: this process sees no GPU; use --device cpu")
    return torch.device(name)
