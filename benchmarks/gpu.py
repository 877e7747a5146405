"""What a GPU makes of the step: clips a second, share of the matrix-product ceiling, memory.

    python benchmarks/gpu.py [--device cuda] [--width 64] [--size 112] [--batch 32]
    python benchmarks/gpu.py --device cpu --tiny        # that it runs

Needs torch, not ray. Every figure is held against what the same run measures: the ceiling is a
large bf16 matrix product. SimCLR on RGB is stepped as the product steps it, from clips that lie in
memory as the cache gives them. Several trials on one GPU are processes that train side by side, as
Ray places them by fractions; without NVIDIA's MPS their kernels take turns.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from unittest import mock

import torch
from stepper import Stepper, build_model, noise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from evossl.config import SearchSpace
from evossl.io.spaces import load_space
from evossl.training import model as model_module
from evossl.training.model import channels_last
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from evossl.views.flow import clip_flow

TRIALS = (1, 2, 4)
FPS = 12.0
START_SECONDS = 300.0  # until the last of several trials has come up


@dataclass(frozen=True)
class Setting:
    """What is stepped, and how often.

    Attributes:
        device: "cuda" or "cpu". compiler: of torch.compile.
        width: of the R(2+1)D-50's stem. frames, size, batch: of the clips.
        product: side of the ceiling's matrices. repeats, steps: timed, and in each.
    """

    device: str = "cuda"
    compiler: str = "inductor"
    width: int = 64
    frames: int = 16
    size: int = 112
    batch: int = 32
    product: int = 8192
    repeats: int = 7
    steps: int = 5

    @property
    def space(self) -> SearchSpace:
        """SimCLR on RGB."""
        return load_space(
            "tiny",
            {
                "streams": ["rgb"],
                "tasks": {"simclr": {}},
                "backbone": {"name": "r2plus1d", "depth": 50, "width": self.width},
                "clip": {"frames": self.frames, "size": self.size, "stretch": 2 * self.frames},
                "cache": {"fps": FPS, "short_side": round(1.15 * self.size)},
                "training": {"batch_size": self.batch},
            },
        )


TINY = Setting("cpu", "eager", width=4, frames=4, size=32, batch=2, product=256, repeats=1, steps=1)


@dataclass(frozen=True)
class Variant:
    """A way to compute the same step."""

    name: str
    half: bool = True
    last: bool = True
    compiled: bool = False
    graphs: bool = False
    ahead: bool = False


VARIANTS = (
    Variant("float32, contiguous", half=False, last=False),
    Variant("float32, channels last", half=False),
    Variant("bf16, contiguous", last=False),
    Variant("bf16, channels last (the product's)"),
    Variant("the product's, the next clips copied meanwhile", ahead=True),
    Variant("the product's, compiled", compiled=True),
    Variant("the product's, compiled, CUDA graphs", compiled=True, graphs=True),
)


_start: Barrier  # of the trials side by side, given to each process as it comes up


class Trial:
    """A model on the device, and clips in memory: pinned where there is a GPU."""

    def __init__(self, setting: Setting, variant: Variant) -> None:
        self.variant = variant
        self.model = build_model(setting.space).to(setting.device)
        if variant.last:
            channels_last(self.model)
        self._stepper = Stepper(setting.space, self.model)
        if variant.compiled:
            encoder = self.model.encoder(Stream.RGB)
            encoder.network = compiled(encoder.network, setting, graphs=variant.graphs)
        clips = noise(setting.space)
        self.clips = clips.pinned() if setting.device == "cuda" else clips
        self._device = torch.device(setting.device)
        self._copier: torch.cuda.Stream | None = None
        if setting.device == "cuda":
            self._copier = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._next = self.clips

    def step(self) -> None:
        """Copy, views, forward, backward, optimiser: the product's own step."""
        half = mock.patch.object(model_module, "_autocast", return_value=nullcontext())
        with nullcontext() if self.variant.half else half:
            self._stepper.step(self._taken() if self.variant.ahead else self.clips)

    def _taken(self) -> ClipBatch:
        """The clips that were copied during the last step, once the copy of others has begun."""
        if self._copier is None:
            return self.clips
        torch.cuda.current_stream().wait_stream(self._copier)
        clips = self._next
        with torch.cuda.stream(self._copier):
            self._next = self.clips.to(self._device)
        for value in vars(clips).values():
            if isinstance(value, torch.Tensor) and value.is_cuda:
                value.record_stream(torch.cuda.current_stream())
        return clips


def compiled(network: nn.Module, setting: Setting, *, graphs: bool) -> nn.Module:
    """Compile for fixed shapes; with CUDA graphs, where there is CUDA."""
    if graphs and setting.device == "cuda":
        made = torch.compile(network, dynamic=False, mode="reduce-overhead")
    else:
        made = torch.compile(network, dynamic=False, backend=setting.compiler)
    assert isinstance(made, nn.Module)
    return made


def seconds(setting: Setting, work: Callable[[], object]) -> float:
    """Median time of a call, the device waited for; two calls warm it up."""
    for _ in range(2):
        work()
    took = []
    for _ in range(setting.repeats):
        _wait(setting)
        begin = time.perf_counter()
        for _ in range(setting.steps):
            work()
        _wait(setting)
        took.append((time.perf_counter() - begin) / setting.steps)
    return statistics.median(took)


def _wait(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def _forget(setting: Setting) -> None:
    """Free what those before have left on the GPU, compiled networks too."""
    torch._dynamo.reset()
    gc.collect()
    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _memory(setting: Setting) -> float:
    """The most that torch has taken of the GPU, GB (CUDA's own comes on top); 0 without one."""
    return torch.cuda.max_memory_reserved() / 1e9 if setting.device == "cuda" else 0.0


def ceiling(setting: Setting) -> float:
    """Operations a second of a large bf16 matrix product."""
    a = torch.randn(setting.product, setting.product, device=setting.device).bfloat16()
    return 2 * setting.product**3 / seconds(setting, lambda: a @ a)


def operations(setting: Setting) -> float:
    """Multiplications and additions of one step, counted by torch."""
    trial = Trial(setting, VARIANTS[0])
    with FlopCounterMode(display=False) as counter:
        trial.step()
    return float(counter.get_total_flops())


def measure(setting: Setting, variant: Variant, peak: float, work: float) -> str:
    """A row of the table of variants."""
    _forget(setting)
    trial = Trial(setting, variant)
    took = seconds(setting, trial.step)
    rate, share = setting.batch / took, work / took / peak
    return f"| {variant.name} | {rate:.4g} | {share:.1%} | {_memory(setting):.1f} GB |"


def parts(setting: Setting) -> list[str]:
    """Rows of what stands before the forward: the copy, the views, flow."""
    trial = Trial(setting, VARIANTS[3])
    step = seconds(setting, trial.step)
    there = trial.clips.to(setting.device)
    views, settings = trial.model.plan.inputs, trial.model.settings
    gray = torch.rand(setting.batch, setting.frames, 1, setting.size, setting.size)
    gray = gray.to(setting.device)
    took = {
        "copy of the clips": seconds(setting, lambda: trial.clips.to(setting.device)),
        "two strong views": seconds(
            setting, lambda: build_views(views, there, settings, seed=0, step=0)
        ),
        "flow of a view": seconds(setting, lambda: clip_flow(gray)),
    }
    return [f"| {name} | {1e3 * s:.3g} ms | {s / step:.1%} |" for name, s in took.items()]


def train_for(setting: Setting, seconds_: float) -> tuple[float, float]:
    """Clips a second and GB of one of several trials, which begin together once all are warm."""
    try:
        trial = Trial(setting, VARIANTS[3])
        for _ in range(2):
            trial.step()
        _wait(setting)
    except torch.OutOfMemoryError:
        _start.abort()  # the others need not wait for it
        raise
    _start.wait(START_SECONDS)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds_:
        trial.step()
        steps += 1
    _wait(setting)
    return steps * setting.batch / (time.perf_counter() - begin), _memory(setting)


def _meet_at(barrier: Barrier) -> None:
    global _start
    _start = barrier


def side_by_side(setting: Setting, trials: int, seconds_: float) -> str:
    """A row of the table of several trials on one device."""
    context = get_context("spawn")
    start = (context.Barrier(trials),)
    with ProcessPoolExecutor(
        trials, mp_context=context, initializer=_meet_at, initargs=start
    ) as pool:
        futures = [pool.submit(train_for, setting, seconds_) for _ in range(trials)]
    if any(isinstance(future.exception(), torch.OutOfMemoryError) for future in futures):
        return f"| {trials} | out of memory | - |"
    rates, memory = zip(*(future.result() for future in futures), strict=True)
    return f"| {trials} | {sum(rates):.4g} | {max(memory):.1f} GB |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="that it runs, no more")
    parser.add_argument("--width", type=int, default=Setting.width)
    parser.add_argument("--size", type=int, default=Setting.size)
    parser.add_argument("--batch", type=int, default=Setting.batch)
    options = parser.parse_args()
    setting = Setting(options.device, width=options.width, size=options.size, batch=options.batch)
    if options.tiny:
        setting = replace(TINY, device=options.device)
    if setting.device == "cuda" and not torch.cuda.is_available():
        parser.error("this process sees no GPU: --device cpu --tiny shows that the file runs")
    name = torch.cuda.get_device_name() if setting.device == "cuda" else "CPU"
    peak, work = ceiling(setting), operations(setting)
    print(f"{name}, torch {torch.__version__}; {setting}")
    print(f"ceiling {peak / 1e12:.3g} Tflop/s; a step takes {work / 1e12:.3g} Tflop\n")
    print("| step | clips a second | share of the ceiling | memory |\n|---|---|---|---|")
    for variant in VARIANTS:
        print(measure(setting, variant, peak, work), flush=True)
    print("\n| before the forward | | share of the step |\n|---|---|---|")
    print("\n".join(parts(setting)))
    _forget(setting)  # this process's share is theirs now
    print("\n| trials on it | clips a second, all of them | memory of one |\n|---|---|---|")
    for trials in TRIALS[: 1 if options.tiny else None]:
        print(side_by_side(setting, trials, 0.1 if options.tiny else 15.0), flush=True)


if __name__ == "__main__":
    main()
