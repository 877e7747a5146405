"""The memory estimate, compared with real forward passes, and errors when memory runs out."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evossl.config import Backbone
from evossl.errors import UserError
from evossl.experiment import gradient_scales
from evossl.experiment.context import RunContext
from evossl.experiment.gradient_scales import measure_run
from evossl.models.encoder import Encoder, build_encoder
from evossl.training import memory_use
from evossl.training.memory_use import activation_bytes, free_memory, is_out_of_memory
from evossl.types import Features, Stream
from tests.helpers.tiny_runs import make_run

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SHAPE = (3, 4, 16, 16)


class Plain(nn.Module):
    """A convolution retains its input (the pixels), and a square retains what it squares."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv3d(3, 5, 1)

    def forward(self, x: Tensor) -> Features:
        map_ = self.mix(x).square()
        return Features(map_.mean(dim=(2, 3, 4)), {"stage1": map_})


def on_no_device(name: str) -> Encoder:
    with torch.device("meta"):
        return build_encoder(Stream.RGB, Backbone(name=name, width=8), 0)


def test_activations_exclude_pixels_and_weights() -> None:
    encoder = Encoder(Plain().to("meta"))
    assert activation_bytes(encoder, SHAPE, CPU) == 5 * 4 * 16 * 16 * 4
    assert activation_bytes(encoder, SHAPE, GPU) == 5 * 4 * 16 * 16 * 2


@pytest.mark.parametrize("name", ["c3d", "s3d"])
def test_activations_equal_those_of_a_real_forward_pass(name: str) -> None:
    encoder, kept = build_encoder(Stream.RGB, Backbone(name=name, width=8), 0).train(), {}
    pixels = torch.randn(2, *SHAPE)
    weights = {p.data_ptr() for p in (*encoder.parameters(), *encoder.buffers(), pixels)}

    def pack(x: Tensor) -> Tensor:
        if x.data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        features = encoder(pixels)
    assert features.embedding_BD.requires_grad
    assert activation_bytes(on_no_device(name), SHAPE, CPU) == pytest.approx(
        sum(kept.values()) / 2, 0.02
    )


def test_free_memory_respects_a_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limit").write_text("max\n")
    monkeypatch.setattr(
        memory_use, "CONTAINER_LIMITS", (str(tmp_path / "limit"), str(tmp_path / "none"))
    )
    assert free_memory(CPU) > 1e8
    (tmp_path / "limit").write_text("123456789\n")
    assert free_memory(CPU) == 123456789


def test_out_of_memory_is_recognised_on_a_cpu() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(1 << 55)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError()])
def test_a_first_step_that_does_not_fit_is_refused(
    tmp_path: Path,
    tiny_videos: Path,
    tiny_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> dict[str, float]:
        raise error

    monkeypatch.setattr(gradient_scales, "measure_scales", fail)
    expected = UserError if is_out_of_memory(error) else type(error)
    with pytest.raises(expected) as refused:
        measure_run(RunContext.open(make_run(tmp_path / "run", tiny_videos, tiny_cache)))
    assert expected is not UserError or "lower training.batch_size" in str(refused.value)


FAULTS = """
import ctypes, resource, sys
import torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages: faults are counted
from evossl.training.memory_use import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    tensors = [torch.zeros(2_000_000) for _ in range(20)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step(), step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_reused_by_the_next_step() -> None:
    gives_back = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # whatever lies above it on the heap
    given, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how],
                check=True,
                capture_output=True,
                env=os.environ | gives_back,
            ).stdout
        )
        for how in ("give", "keep")
    )
    pages = 5 * 20 * 8_000_000 // os.sysconf("SC_PAGE_SIZE")
    assert given > pages / 2, "the default allocator shows no effect to measure"
    assert kept < pages / 20
