"""The time of the whole fitness with all indicators, next to scikit-learn's KMeans alone.

    python benchmarks/fitness_cost.py [--repeats 5]

It takes three minutes. Both use the same 20,000 x 512 features and the same threads, and take
turns; the medians are printed.
"""

import argparse
import statistics
import time

import torch
from sklearn.cluster import KMeans

from evossl.config import Fitness
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score
from evossl.fitness.zipf import zipf_pmf

NUM_CLIPS, WIDTH, NUM_CLUSTERS = 20_000, 512, 200


def make_features(separation: float, seed: int) -> ScoringFeatures:
    """Return four sets of features in Gaussian clusters of Zipf sizes.

    Args:
        separation: of the clusters, in standard deviations of the noise per feature.
        seed: of everything random.
    """
    generator = torch.Generator().manual_seed(seed)
    share_K = zipf_pmf(NUM_CLUSTERS)
    label_N = torch.multinomial(share_K, NUM_CLIPS, replacement=True, generator=generator)
    centre_KD = separation * torch.randn(NUM_CLUSTERS, WIDTH, generator=generator)
    noise = torch.randn(4, NUM_CLIPS, WIDTH, generator=generator)
    return ScoringFeatures(*(centre_KD[label_N] + noise))


def seconds_of_kmeans(features: ScoringFeatures, seed: int) -> float:
    """Return the time of scikit-learn's KMeans with one initialisation."""
    start = time.perf_counter()
    KMeans(NUM_CLUSTERS, n_init=1, random_state=seed).fit(features.clean_ND.numpy())
    return time.perf_counter() - start


def seconds_of_score(features: ScoringFeatures, seed: int) -> float:
    """Return the time of the default fitness with all indicators."""
    start = time.perf_counter()
    score(features, Fitness(clips=NUM_CLIPS, clusters=NUM_CLUSTERS), seed)
    return time.perf_counter() - start


def main() -> None:
    """Print one line for each kind of features."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{NUM_CLIPS} x {WIDTH}, k = {NUM_CLUSTERS}, {torch.get_num_threads()} threads")
    for name, separation in (("noise", 0.0), ("weak clusters", 0.1), ("clear clusters", 1.0)):
        features = make_features(separation, seed=0)
        ours, theirs = [], []
        for repeat in range(repeats):
            theirs.append(seconds_of_kmeans(features, repeat))
            ours.append(seconds_of_score(features, repeat))
        fitness, kmeans = statistics.median(ours), statistics.median(theirs)
        print(f"{name}: fitness {fitness:.2f} s, KMeans {kmeans:.2f} s, {fitness / kmeans:.2f}")


if __name__ == "__main__":
    main()
