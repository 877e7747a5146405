"""What many tasks in one step cost: views, forward passes, and peak memory.

    python benchmarks/many_tasks_cost.py --table docs/many-tasks.md

It takes one to two minutes. It steps the first 1, 5, 10, 20 and 30 methods on RGB in the order of
their names, and then those whose students see the same two strong views. Each row is measured in a
process of its own, on noise, because the clips do not matter here. "Held" is what the model keeps
between steps: weights, momentum weights and queues. "Step" is the peak resident memory of the
process after one step, with AdamW's moments, less what was resident before. Torch returns large
tensors to the system at once, so this is what a step needs.
"""

import argparse
import platform
import resource
import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rho_variants import RHO_VARIANTS
from training_step import Stepper, build_model, noise_clips

from evossl.config import SearchSpace
from evossl.io.spaces import load_space
from evossl.task import Place
from evossl.task_loader import load_catalogue
from evossl.types import Stream
from evossl.views.recipes import strong_clips
from evossl.views.spec import Role
from evossl.views.temporal_sampling import resolve_strides

COUNTS = (1, 5, 10, 20, 30)
SHARING_COUNTS = (1, 5, 10)
BATCH, STRETCH, SIDE, FPS = 8, 64, 72, 12.0
COMMAND = "python benchmarks/many_tasks_cost.py --table docs/many-tasks.md"
MB = 1e6
PAGE = """# What many tasks at once cost

A view that several tasks use is made once and encoded once, and one momentum encoder serves all
tasks of a stream. The memory of a step therefore depends on its forward passes, not on its tasks
(see the last column).

    {command}

writes this page. The tables show one step on {batch} RGB clips of 8 frames of 64 pixels, with a C3D
of width 32 ({machine}).

- *Held* is what stays between steps: weights, momentum weights and queues.
- *Step* is the peak of what one step adds, with AdamW's moments.

The first methods on RGB, by name:

{every}
Methods whose students see the same two strong views:
{sharing}

{same}"""


@dataclass(frozen=True)
class StepCost:
    """What one step of some tasks took; sizes are in bytes."""

    num_tasks: int
    requested_views: int
    inputs: int
    forwards: int
    momentum_encoders: int
    held: int
    step: int


def space_of(methods: Sequence[str]) -> SearchSpace:
    """Return a space of methods with the demo's encoder, wider, on RGB clips of 8 x 64 x 64."""
    return load_space(
        "tiny",
        {
            "streams": ["rgb"],
            "tasks": {name: RHO_VARIANTS.get(name, {}) for name in methods},
            "backbone": {"name": "c3d", "width": 32},
            "clip": {"frames": 8, "size": 64, "stretch": STRETCH},
            "cache": {"fps": FPS, "short_side": SIDE},
            "training": {"batch_size": BATCH},
        },
    )


def methods_on_rgb() -> list[str]:
    """Return the names of the tasks on RGB that need no teacher, and of the rho methods."""
    rgb = Place((Stream.RGB,))
    tasks = load_catalogue().items()
    found = [name for name, task in tasks if rgb in task.places and not task.needs_teacher]
    return sorted([*found, *RHO_VARIANTS])


def sharing_methods(names: Sequence[str]) -> list[str]:
    """Return those whose student sees the two strong views and nothing else."""
    space = space_of(names)
    model = build_model(space)
    strong = {resolve_strides(v, model.settings) for v in strong_clips(Stream.RGB, rho=2).values()}
    return [
        term.split(".")[0]
        for term, views in model.plan.views.items()
        if {view for view in views.values() if view.encoder is Role.STUDENT} == strong
    ]


def measure(names: Sequence[str]) -> StepCost:
    """Take one step of all the methods, in a process of its own."""
    torch.set_num_threads(1)
    space = space_of(names)
    stepper, clips = Stepper(space), noise_clips(space)
    model = stepper.model
    before = resident_bytes()
    stepper.step(clips)
    return StepCost(
        num_tasks=len(names),
        requested_views=sum(len(views) for views in model.plan.views.values()),
        inputs=len(model.plan.inputs),
        forwards=len(model.plan.forwards),
        momentum_encoders=len(model.momentum),
        held=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        step=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    )


def resident_bytes() -> int:
    """Return the resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def table(rows: Sequence[StepCost]) -> str:
    """Return the rows as Markdown."""
    head = (
        "| tasks | views requested | inputs made | forward passes | momentum encoders | held, MB "
        "| step, MB | step, MB per forward pass |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {row.num_tasks} | {row.requested_views} | {row.inputs} | {row.forwards} "
        f"| {row.momentum_encoders} | {row.held / MB:.0f} | {row.step / MB:.0f} "
        f"| {row.step / MB / row.forwards:.0f} |\n"
        for row in rows
    )


def main() -> None:
    """Measure and print the tables; write the page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="file to write the page to")
    options = parser.parse_args()
    names = methods_on_rgb()
    sharing = sharing_methods(names)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        every = [pool.submit(measure, names[:count]).result() for count in COUNTS]
        same = [pool.submit(measure, sharing[:count]).result() for count in SHARING_COUNTS]
    page = PAGE.format(
        command=COMMAND,
        every=table(every),
        same=table(same),
        sharing=textwrap.fill(
            ", ".join(f"`{name}`" for name in sharing[: SHARING_COUNTS[-1]]), 100
        ),
        machine=f"{platform.machine()}, torch {torch.__version__}, one thread",
        batch=BATCH,
    )
    print(page)
    if options.table:
        options.table.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
