"""The training step on a GPU: clips per second, share of the peak, memory, trials in parallel.

    python benchmarks/gpu_step.py [--device cuda] [--width 64] [--size 112] [--batch 32]
    python benchmarks/gpu_step.py --device cpu --tiny        # shows that the script runs

It needs torch but not Ray. It takes the product's own SimCLR step on RGB, from clips in memory as
the cache returns them. Every figure is compared with the same run's peak, a large bf16 matrix
product. Several trials on one GPU are processes that train in parallel, as Ray places them by
fractions; without NVIDIA's MPS their kernels take turns.
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
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from training_step import Stepper, build_model, noise_clips

from evossl.config import SearchSpace
from evossl.io.spaces import load_space
from evossl.training import model as model_module
from evossl.training.model import channels_last
from evossl.types import ClipBatch, Stream
from evossl.views.build import build_views
from evossl.views.flow import clip_flow

TRIAL_COUNTS = (1, 2, 4)
FPS = 12.0
START_TIMEOUT = 300.0  # seconds until the last of several trials has started


@dataclass(frozen=True)
class Setting:
    """The model that is stepped, and how often.

    Attributes:
        device: "cuda" or "cpu".
        compiler: backend of torch.compile.
        width: of the R(2+1)D-50's stem.
        frames: of the clips.
        size: side of the clips in pixels.
        batch: clips per step.
        product: side of the matrices whose product is the peak.
        repeats: timed repeats.
        steps: per repeat.
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
        """The space of SimCLR on RGB."""
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
    """A way to compute the same step.

    Attributes:
        name: in the table.
        bf16: mixed precision.
        channels_last: memory format.
        compiled: with torch.compile.
        cuda_graphs: with CUDA graphs.
        prefetch: copies the next clips to the GPU during the step.
    """

    name: str
    bf16: bool = True
    channels_last: bool = True
    compiled: bool = False
    cuda_graphs: bool = False
    prefetch: bool = False


VARIANTS = (
    Variant("float32, contiguous", bf16=False, channels_last=False),
    Variant("float32, channels last", bf16=False),
    Variant("bf16, contiguous", channels_last=False),
    Variant("bf16, channels last (the product's)"),
    Variant("the product's, the next clips copied meanwhile", prefetch=True),
    Variant("the product's, compiled", compiled=True),
    Variant("the product's, compiled, CUDA graphs", compiled=True, cuda_graphs=True),
)

_start: Barrier  # of parallel trials, set in each process when it starts


class Trial:
    """A model on the device, and clips in host memory, which is pinned if there is a GPU."""

    def __init__(self, setting: Setting, variant: Variant) -> None:
        self.variant = variant
        self.model = build_model(setting.space).to(setting.device)
        if variant.channels_last:
            channels_last(self.model)
        self._stepper = Stepper(setting.space, self.model)
        if variant.compiled:
            encoder = self.model.encoder(Stream.RGB)
            encoder.network = compiled(encoder.network, setting, cuda_graphs=variant.cuda_graphs)
        clips = noise_clips(setting.space)
        self.clips = clips.pinned() if setting.device == "cuda" else clips
        self._device = torch.device(setting.device)
        self._copier: torch.cuda.Stream | None = None
        if setting.device == "cuda":
            self._copier = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._next = self.clips

    def step(self) -> None:
        """Take the product's own step: copy, views, forward and backward pass, optimiser."""
        no_autocast = mock.patch.object(model_module, "_autocast", return_value=nullcontext())
        with nullcontext() if self.variant.bf16 else no_autocast:
            self._stepper.step(self._prefetched() if self.variant.prefetch else self.clips)

    def _prefetched(self) -> ClipBatch:
        """Return the clips copied during the last step, and start copying the next ones."""
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


def compiled(network: nn.Module, setting: Setting, *, cuda_graphs: bool) -> nn.Module:
    """Return the network compiled for fixed shapes, if wanted with CUDA graphs (on CUDA)."""
    if cuda_graphs and setting.device == "cuda":
        found = torch.compile(network, dynamic=False, mode="reduce-overhead")
    else:
        found = torch.compile(network, dynamic=False, backend=setting.compiler)
    assert isinstance(found, nn.Module)
    return found


def seconds_per_call(setting: Setting, work: Callable[[], object]) -> float:
    """Return the median seconds of a call after two warm-up calls, device work included."""
    for _ in range(2):
        work()
    took = []
    for _ in range(setting.repeats):
        _synchronise(setting)
        begin = time.perf_counter()
        for _ in range(setting.steps):
            work()
        _synchronise(setting)
        took.append((time.perf_counter() - begin) / setting.steps)
    return statistics.median(took)


def _synchronise(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def _free_memory(setting: Setting) -> None:
    """Free the memory of earlier variants, compiled networks included."""
    torch._dynamo.reset()
    gc.collect()
    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_memory(setting: Setting) -> float:
    """Return torch's peak GPU memory in GB, without CUDA's own; 0 without a GPU."""
    return torch.cuda.max_memory_reserved() / 1e9 if setting.device == "cuda" else 0.0


def peak_rate(setting: Setting) -> float:
    """Return the operations per second of a large bf16 matrix product."""
    a = torch.randn(setting.product, setting.product, device=setting.device).bfloat16()
    return 2 * setting.product**3 / seconds_per_call(setting, lambda: a @ a)


def operations(setting: Setting) -> float:
    """Return the multiplications and additions of one step, as counted by torch."""
    trial = Trial(setting, VARIANTS[0])
    with FlopCounterMode(display=False) as counter:
        trial.step()
    return float(counter.get_total_flops())


def measure(setting: Setting, variant: Variant, peak: float, work: float) -> str:
    """Return a row of the table of variants."""
    _free_memory(setting)
    trial = Trial(setting, variant)
    took = seconds_per_call(setting, trial.step)
    rate, share = setting.batch / took, work / took / peak
    return f"| {variant.name} | {rate:.4g} | {share:.1%} | {_peak_memory(setting):.1f} GB |"


def parts(setting: Setting) -> list[str]:
    """Return rows of what precedes the forward pass: copying clips, making views, optical flow."""
    trial = Trial(setting, VARIANTS[3])
    step = seconds_per_call(setting, trial.step)
    on_device = trial.clips.to(setting.device)
    views, settings = trial.model.plan.inputs, trial.model.settings
    gray = torch.rand(setting.batch, setting.frames, 1, setting.size, setting.size)
    gray = gray.to(setting.device)
    took = {
        "copying the clips": seconds_per_call(setting, lambda: trial.clips.to(setting.device)),
        "two strong views": seconds_per_call(
            setting, lambda: build_views(views, on_device, settings, seed=0, step=0)
        ),
        "optical flow of a view": seconds_per_call(setting, lambda: clip_flow(gray)),
    }
    return [f"| {name} | {1e3 * s:.3g} ms | {s / step:.1%} |" for name, s in took.items()]


def train_for(setting: Setting, seconds_: float) -> tuple[float, float]:
    """Return clips per second and GB of one of several trials, which start when all are warm."""
    try:
        trial = Trial(setting, VARIANTS[3])
        for _ in range(2):
            trial.step()
        _synchronise(setting)
    except torch.OutOfMemoryError:
        _start.abort()  # so that the others do not wait for it
        raise
    _start.wait(START_TIMEOUT)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds_:
        trial.step()
        steps += 1
    _synchronise(setting)
    return steps * setting.batch / (time.perf_counter() - begin), _peak_memory(setting)


def _set_barrier(barrier: Barrier) -> None:
    global _start
    _start = barrier


def parallel_trials(setting: Setting, trials: int, seconds_: float) -> str:
    """Return a row of the table of several trials on one device."""
    context = get_context("spawn")
    start = (context.Barrier(trials),)
    with ProcessPoolExecutor(
        trials, mp_context=context, initializer=_set_barrier, initargs=start
    ) as pool:
        futures = [pool.submit(train_for, setting, seconds_) for _ in range(trials)]
    if any(isinstance(future.exception(), torch.OutOfMemoryError) for future in futures):
        return f"| {trials} | out of memory | - |"
    rates, memory = zip(*(future.result() for future in futures), strict=True)
    return f"| {trials} | {sum(rates):.4g} | {max(memory):.1f} GB |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="only show that the script runs")
    parser.add_argument("--width", type=int, default=Setting.width)
    parser.add_argument("--size", type=int, default=Setting.size)
    parser.add_argument("--batch", type=int, default=Setting.batch)
    options = parser.parse_args()
    setting = Setting(options.device, width=options.width, size=options.size, batch=options.batch)
    if options.tiny:
        setting = replace(TINY, device=options.device)
    if setting.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "this process sees no GPU; use --device cpu --tiny to see that the script runs"
        )
    name = torch.cuda.get_device_name() if setting.device == "cuda" else "CPU"
    peak, work = peak_rate(setting), operations(setting)
    print(f"{name}, torch {torch.__version__}; {setting}")
    print(f"peak {peak / 1e12:.3g} Tflop/s; a step takes {work / 1e12:.3g} Tflop\n")
    print("| step | clips per second | share of the peak | memory |\n|---|---|---|---|")
    for variant in VARIANTS:
        print(measure(setting, variant, peak, work), flush=True)
    print("\n| before the forward pass | time | share of the step |\n|---|---|---|")
    print("\n".join(parts(setting)))
    _free_memory(setting)  # so that the trials can use it
    print("\n| trials | clips per second, all trials | memory of one trial |\n|---|---|---|")
    for trials in TRIAL_COUNTS[: 1 if options.tiny else None]:
        print(parallel_trials(setting, trials, 0.1 if options.tiny else 15.0), flush=True)


if __name__ == "__main__":
    main()
