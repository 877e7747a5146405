"""What a step needs of memory at the least, known from shapes; and how a process keeps it.

Nothing is computed, nothing made. Counted are weights with their copies and the optimiser's
moments, queues and banks, the views' pixels, and what a student's forward keeps for its backward.
What heads compute, decoding and what is needed for a moment come on top: where this is more than
there is, no second step can be done; where it is not, one may still fail.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from evossl.models.encoder import Encoder

OUT_OF_MEMORY = (
    "out of memory: lower training.batch_size, clip.size or clip.frames, or take a task out"
)
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FLOAT = 4  # bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have this process keep what its tensors free, as torch does on a GPU.

    A step frees hundreds of large tensors, and the next one asks for the same. glibc would return
    them to the system in between, and each of their pages would have to be mapped and cleared
    anew: a tenth of a step (docs/performance.md). Nothing happens where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, -1)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out; on the CPU torch has no error of its own for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def memory_of(device: torch.device) -> int:
    """Return the bytes that are free here; of a GPU all that it has: to ask for more takes some."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")  # Linux
    if meminfo.is_file():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    limits = [Path(limit).read_text().strip() for limit in LIMITS if Path(limit).is_file()]
    return min([free, *(int(limit) for limit in limits if limit.isdigit())])


def held_bytes(modules: Iterable[nn.Module], moments: int = 0) -> int:
    """Return the bytes of the modules' weights and buffers.

    Args:
        modules: on any device, the meta device too.
        moments: that the optimiser keeps of each weight that learns.
    """
    total = 0
    for module in modules:
        total += sum(
            p.numel() * FLOAT * (1 + moments * p.requires_grad) for p in module.parameters()
        )
        total += sum(b.numel() * b.element_size() for b in module.buffers())
    return total


def pixel_bytes(shape: tuple[int, ...]) -> int:
    """Return the bytes of an input of that shape."""
    return prod(shape) * FLOAT


def kept_bytes(encoder: Encoder, shape: tuple[int, int, int, int], device: torch.device) -> int:
    """Return the bytes that a student's forward of one clip keeps for its backward.

    Args:
        encoder: on the meta device.
        shape: (C, T, H, W) of its input.
        device: of the training: a GPU keeps activations in half precision.
    """
    pixels = torch.empty(2, *shape, device="meta")  # two: BatchNorm refuses one value a channel
    not_counted = {_storage(t) for t in (pixels, *encoder.parameters(), *encoder.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in not_counted:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = encoder(pixels)  # alive until all is counted: a storage that is freed is reused
    total = sum(kept.values()) // len(pixels)
    del features
    return total // 2 if device.type == "cuda" else total


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
