"""Rows about what is computed once a trial or for good: the fitness, the encoder, the imports."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import fitness as fitness_benchmark
import torch
from pytorchvideo.models.r2plus1d import create_r2plus1d
from threadpoolctl import threadpool_limits
from torch import nn

from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, export_encoder, load_encoder
from evossl.io.spaces import load_space
from evossl.models.encoder import build_encoder
from evossl.types import Stream
from perf.place import Place
from perf.row import REPEATS, Measured, Row, interleaved, of_pairs, seconds

WEAK = 0.1  # clusters' distances, in standard deviations of the noise
FORWARDS = 3
THREADS = 2  # of the fitness, and of KMeans


def fitness(place: Place) -> Measured:
    """The default fitness and every indicator, and scikit-learn's KMeans on the same features."""
    torch.set_num_threads(THREADS)
    features = fitness_benchmark.make_features(WEAK, seed=0)
    pairs = []
    with threadpool_limits(THREADS):  # of numpy's BLAS and scikit-learn's OpenMP
        for repeat in range(REPEATS):
            theirs = fitness_benchmark.seconds_of_kmeans(features, repeat)
            pairs.append((fitness_benchmark.seconds_of_score(features, repeat), theirs))
    return of_pairs(pairs, "s")


def exported(place: Place, batch: int) -> Measured:
    """An exported encoder's forward, and that of the plain pytorchvideo network it came from."""
    space = load_space("elo", {"backbone": {"name": "r2plus1d", "depth": 50, "width": 16}})
    encoder = build_encoder(Stream.RGB, space.backbone, 0)
    folder = place.folder / "encoder"
    if not folder.is_dir():
        export_encoder(encoder, folder, EncoderConfig.of(space, encoder))
    ours: VideoEncoder = load_encoder(folder)
    theirs = _plain(space.backbone.width)
    theirs.eval()
    sizes = [sum(p.numel() for p in network.parameters()) for network in (ours, theirs)]
    assert sizes[0] == sizes[1], sizes
    x = torch.rand(batch, 3, 8, 64, 64)
    with torch.inference_mode():
        return interleaved(
            lambda: [ours(x) for _ in range(FORWARDS)], lambda: [theirs(x) for _ in range(FORWARDS)]
        )


def _plain(width: int) -> nn.Module:
    """The same network of pytorchvideo's, its head without a projection."""
    network = create_r2plus1d(
        model_depth=50, model_num_class=1, stem_dim_out=width, head_pool_kernel_size=(2, 2, 2)
    )
    head = network.blocks[-1]
    head.pool, head.dropout, head.proj = nn.Identity(), None, nn.Identity()
    assert isinstance(network, nn.Module)
    return network


def imports(words: list[str]) -> Measured:
    """Seconds that a Python command takes longer than one that does nothing."""

    def run(*command: str) -> float:
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True))

    values, nothing = [], []
    for _ in range(9):
        nothing.append(run(sys.executable, "-c", "pass"))
        values.append(run(*words) - nothing[-1])
    return Measured(values, f"`pass`: {median(nothing):.3f} s")


def import_evossl(place: Place) -> Measured:
    """`import evossl`."""
    return imports([sys.executable, "-c", "import evossl"])


def show_help(place: Place) -> Measured:
    """`evossl --help`."""
    return imports([str(Path(sys.executable).with_name("evossl")), "--help"])


ROWS = (
    Row(
        "fitness",
        "Zipf fitness with all indicators, 20,000 x 512 features, k = 200",
        "scikit-learn's KMeans alone on the same, 2 threads each",
        1.3,
        fitness,
    ),
    *(
        Row(
            f"exported-{batch}",
            f"exported encoder, batch {batch}",
            "the plain pytorchvideo network",
            1.03,
            partial(exported, batch=batch),
        )
        for batch in (1, 8)
    ),
    Row(
        "import",
        "`import evossl`, more than `pass`",
        "`python -c pass`",
        0.15,
        import_evossl,
        unit=" s",
    ),
    Row(
        "help", "`evossl --help`, more than `pass`", "`python -c pass`", 0.35, show_help, unit=" s"
    ),
)
