"""What many tasks at once cost: views made, forwards run, peak memory of one step.

    python benchmarks/many_tasks.py --table docs/many-tasks.md

The tasks of the catalogue on RGB, in the order of their names: the first 1, 5, 10, 20, 30 of them;
then those alone that look at the same two strong views. Each row is measured in a fresh process, on
noise for clips: nothing here depends on what they show. "held" is what the model keeps between
steps: weights, momentum weights, queues. "step" is the high-water mark of the process's resident
memory after one step, AdamW's moments included, less what was resident before: torch frees large
tensors to the system at once, so that this is what a step needs.
"""

import argparse
import platform
import resource
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from stepper import Stepper, build_model, noise

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
COMMAND = "python benchmarks/many_tasks.py --table docs/many-tasks.md"
MB = 1e6
PAGE = """# What many tasks at once cost

Written by `{command}`, not by hand. One step, {batch} clips a batch, RGB of 8 frames of 64 pixels,
C3D of width 32; {machine}. *Held* is what stays between steps: weights, moving averages, queues.
*Step* is what one step adds at its highest, AdamW's moments included.

The first tasks of the catalogue on RGB, by name:

{every}
Tasks whose student looks at the same two strong views ({sharing}):

{same}
A view that several tasks ask for is made once and seen once, and one momentum encoder serves all of
a stream's tasks. So a step's memory goes by its forwards, not by its tasks: the last column.
"""


@dataclass(frozen=True)
class Cost:
    """What one step of some tasks took; sizes are in bytes."""

    tasks: int
    asked: int
    made: int
    forwards: int
    momentum: int
    held: int
    step: int


def space_of(tasks: Sequence[str]) -> SearchSpace:
    """The demo's encoder, wider, on RGB clips of 8 frames of 64 pixels."""
    return load_space(
        "tiny",
        {
            "streams": ["rgb"],
            "tasks": {name: {} for name in tasks},
            "backbone": {"name": "c3d", "width": 32},
            "clip": {"frames": 8, "size": 64, "stretch": STRETCH},
            "cache": {"fps": FPS, "short_side": SIDE},
            "training": {"batch_size": BATCH},
        },
    )


def tasks_on_rgb() -> list[str]:
    """Names of the tasks that stand on RGB alone and need no teacher."""
    site = Place((Stream.RGB,))
    found = load_catalogue().items()
    return [name for name, task in found if site in task.places and not task.needs_teacher]


def tasks_that_share(names: Sequence[str]) -> list[str]:
    """Those whose student sees the two strong views and nothing else."""
    space = space_of(names)
    model = build_model(space)
    strong = {resolve_strides(v, model.settings) for v in strong_clips(Stream.RGB, rho=2).values()}
    return [
        term.split(".")[0]
        for term, views in model.plan.asked.items()
        if {view for view in views.values() if view.encoder is Role.STUDENT} == strong
    ]


def measure(names: Sequence[str]) -> Cost:
    """Take one step of all the tasks, in a process of its own."""
    torch.set_num_threads(1)
    space = space_of(names)
    stepper, clips = Stepper(space), noise(space)
    model = stepper.model
    before = resident()
    stepper.step(clips)
    return Cost(
        tasks=len(names),
        asked=sum(len(views) for views in model.plan.asked.values()),
        made=len(model.plan.inputs),
        forwards=len(model.plan.forwards),
        momentum=len(model.momentum),
        held=sum(t.numel() * t.element_size() for t in model.state_dict().values()),
        step=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    )


def resident() -> int:
    """Bytes of this process that are in memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def table(rows: Sequence[Cost]) -> str:
    """The rows as Markdown."""
    head = (
        "| tasks | views asked for | inputs made | forwards | momentum encoders | held, MB "
        "| step, MB | step, MB a forward |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {row.tasks} | {row.asked} | {row.made} | {row.forwards} | {row.momentum} "
        f"| {row.held / MB:.0f} | {row.step / MB:.0f} | {row.step / MB / row.forwards:.0f} |\n"
        for row in rows
    )


def main() -> None:
    """Measure, print the tables; write the page if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, help="write the page there")
    options = parser.parse_args()
    names = tasks_on_rgb()
    sharing = tasks_that_share(names)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        every = [pool.submit(measure, names[:count]).result() for count in COUNTS]
        same = [pool.submit(measure, sharing[:count]).result() for count in SHARING_COUNTS]
    page = PAGE.format(
        command=COMMAND,
        every=table(every),
        same=table(same),
        sharing=", ".join(f"`{name}`" for name in sharing[: SHARING_COUNTS[-1]]),
        machine=f"{platform.machine()}, torch {torch.__version__}, one thread",
        batch=BATCH,
    )
    print(page)
    if options.table:
        options.table.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
