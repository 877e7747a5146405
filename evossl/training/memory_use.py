"""The memory that a training step needs at least, estimated from shapes; and how it is retained.

The estimate counts weights with their momentum copies and optimiser states, queues and memory
banks, the pixels of all views, and the activations that a student's forward pass retains for its
backward pass. It leaves out the heads' activations, decoding and temporaries. So a step that
exceeds free memory by this estimate always fails; one that does not may still fail.
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
    "out of memory: lower training.batch_size, clip.size or clip.frames, or remove a task"
)
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
FLOAT_BYTES = 4
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process retain the memory that its tensors free, as torch does on a GPU.

    A step frees hundreds of large tensors, and the next step allocates the same sizes. By default
    glibc returns them to the system in between, and each page must be mapped and cleared again:
    a tenth of a step (docs/performance.md). Without glibc, nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, -1)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that memory ran out; on a CPU torch has no class for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def free_memory(device: torch.device) -> int:
    """Return the free bytes of this machine, or all bytes of a GPU (asking it would use some)."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    meminfo = Path("/proc/meminfo")  # Linux
    if meminfo.is_file():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    limits = [
        Path(limit).read_text().strip() for limit in CONTAINER_LIMITS if Path(limit).is_file()
    ]
    return min([free, *(int(limit) for limit in limits if limit.isdigit())])


def state_bytes(modules: Iterable[nn.Module], states_per_weight: int = 0) -> int:
    """Return the bytes of the modules' weights and buffers, and of the optimiser's states.

    Args:
        modules: on any device, including the meta device.
        states_per_weight: numbers that the optimiser stores for each trained weight.
    """
    total = 0
    for module in modules:
        total += sum(
            p.numel() * FLOAT_BYTES * (1 + states_per_weight * p.requires_grad)
            for p in module.parameters()
        )
        total += sum(b.numel() * b.element_size() for b in module.buffers())
    return total


def pixel_bytes(shape: tuple[int, ...]) -> int:
    """Return the bytes of an input of that shape."""
    return prod(shape) * FLOAT_BYTES


def activation_bytes(
    encoder: Encoder, shape: tuple[int, int, int, int], device: torch.device
) -> int:
    """Return the bytes that a student's forward pass of one clip retains for its backward pass.

    Args:
        encoder: on the meta device.
        shape: (C, T, H, W) of the input.
        device: of the training; on a GPU activations are in half precision.
    """
    pixels = torch.empty(2, *shape, device="meta")  # BatchNorm refuses one value per channel
    not_counted = {_storage(t) for t in (pixels, *encoder.parameters(), *encoder.buffers())}
    retained: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in not_counted:
            retained[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = encoder(pixels)  # kept alive: a freed storage's identity could be reused
    total = sum(retained.values()) // len(pixels)
    del features
    return total // 2 if device.type == "cuda" else total


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
