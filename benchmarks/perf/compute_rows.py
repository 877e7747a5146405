"""Rows about what is computed once: the fitness, the exported encoder, the imports."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import fitness_cost
import torch
from pytorchvideo.models.r2plus1d import create_r2plus1d
from threadpoolctl import threadpool_limits
from torch import nn

from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, export_encoder, load_encoder
from evossl.io.spaces import load_space
from evossl.models.encoder import build_encoder
from evossl.types import Stream
from perf.bench_folder import BenchFolder
from perf.measurement import (
    NUM_REPEATS,
    Measurement,
    Row,
    measure_ratio,
    ratios_of,
    seconds_per_call,
)

SEPARATION = 0.1  # of the clusters, in standard deviations of the noise
FORWARDS_PER_REPEAT = 3
EXPORTED_REPEATS = 15
NUM_THREADS = 2  # of the fitness, and of KMeans
IMPORT_REPEATS = 9


def fitness(bench: BenchFolder) -> Measurement:
    """Return the time of the default fitness with all indicators over scikit-learn's KMeans."""
    torch.set_num_threads(NUM_THREADS)
    features = fitness_cost.make_features(SEPARATION, seed=0)
    pairs = []
    with threadpool_limits(NUM_THREADS):  # of numpy's BLAS and scikit-learn's OpenMP
        for repeat in range(NUM_REPEATS):
            theirs = fitness_cost.seconds_of_kmeans(features, repeat)
            pairs.append((fitness_cost.seconds_of_score(features, repeat), theirs))
    return ratios_of(pairs, "s")


def exported(bench: BenchFolder, batch: int) -> Measurement:
    """Return the time of an exported encoder over that of the plain pytorchvideo network."""
    space = load_space("elo", {"backbone": {"name": "r2plus1d", "depth": 50, "width": 16}})
    encoder = build_encoder(Stream.RGB, space.backbone, 0)
    folder = bench.folder / "encoder"
    if not folder.is_dir():
        export_encoder(encoder, folder, EncoderConfig.from_space(space, encoder))
    loaded: VideoEncoder = load_encoder(folder)
    theirs = _plain_network(space.backbone.width)
    theirs.eval()
    sizes = [sum(p.numel() for p in network.parameters()) for network in (loaded, theirs)]
    assert sizes[0] == sizes[1], sizes
    ours = loaded.for_inference()
    x = torch.rand(batch, 3, 8, 64, 64)
    with torch.inference_mode():
        return measure_ratio(
            lambda: [ours(x) for _ in range(FORWARDS_PER_REPEAT)],
            lambda: [theirs(x) for _ in range(FORWARDS_PER_REPEAT)],
            repeats=EXPORTED_REPEATS,
            clock=time.thread_time,
        )


def _plain_network(width: int) -> nn.Module:
    """Return the same network from pytorchvideo, without the projection of its head."""
    network = create_r2plus1d(
        model_depth=50, model_num_class=1, stem_dim_out=width, head_pool_kernel_size=(2, 2, 2)
    )
    head = network.blocks[-1]
    head.pool, head.dropout, head.proj = nn.Identity(), None, nn.Identity()
    assert isinstance(network, nn.Module)
    return network


def import_time(words: list[str]) -> Measurement:
    """Return by how many seconds a Python command takes longer than one that does nothing."""

    def run(*command: str) -> float:
        return seconds_per_call(lambda: subprocess.run(command, check=True, capture_output=True))

    values, empty = [], []
    for _ in range(IMPORT_REPEATS):
        empty.append(run(sys.executable, "-c", "pass"))
        values.append(run(*words) - empty[-1])
    return Measurement(values, f"`pass`: {median(empty):.3f} s")


def import_evossl(bench: BenchFolder) -> Measurement:
    """Return the seconds of `import evossl`."""
    return import_time([sys.executable, "-c", "import evossl"])


def show_help(bench: BenchFolder) -> Measurement:
    """Return the seconds of `evossl --help`."""
    return import_time([str(Path(sys.executable).with_name("evossl")), "--help"])


ROWS = (
    Row(
        "fitness",
        "fitness with all indicators, 20,000 x 512 features, k = 200",
        "scikit-learn's KMeans alone on the same features, 2 threads each",
        1.3,
        fitness,
    ),
    *(
        Row(
            f"exported-{batch}",
            f"exported encoder `for_inference()`, batch {batch}",
            "the plain pytorchvideo network",
            0.7,
            partial(exported, batch=batch),
        )
        for batch in (1, 8)
    ),
    Row(
        "import",
        "`import evossl`, beyond `pass`",
        "`python -c pass`",
        0.15,
        import_evossl,
        unit=" s",
    ),
    Row("help", "`evossl --help`, beyond `pass`", "`python -c pass`", 0.35, show_help, unit=" s"),
)
