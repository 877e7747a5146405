"""`score`: the fitness in nats, and every indicator, of features of held-out clips; never NaN.

One k-means, fitted on the clean clips, gives both halves of `consistent_zipf`: the sizes of the
clusters, and the assignment of both views to their nearest centroids. If each view had a clustering
of its own, one could win on sizes and another on agreement.

Shapes: N clip, D feature, K cluster.
"""

import math
import statistics
import time
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from evossl import config
from evossl.errors import UserError, unknown
from evossl.fitness import custom, indicators
from evossl.fitness.agreement import (
    adjusted_mutual_information,
    chance_sd,
    mean_reciprocal_rank,
)
from evossl.fitness.clusters import (
    assign,
    canonical_order,
    default_num_clusters,
    evenly_spaced_rows,
    is_cheap,
    kmeans,
)
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.guards import rejection_reason
from evossl.fitness.label_fitness import label_fitness
from evossl.fitness.standardise import Preprocess, preprocess
from evossl.fitness.zipf import (
    effective_clusters,
    hard_shares,
    soft_shares,
    zipf_divergence,
    zipf_pmf,
)

__all__ = [
    "FITNESS_NAMES",
    "Score",
    "ScoringFeatures",
    "check_fitness",
    "resolve_num_clusters",
    "score",
]

FITNESS_NAMES = ("consistent_zipf", "zipf", "zipf_hard", "labels")
MIN_CLIPS = 8
RECOMMENDED_CLIPS = 400  # with 120, the same encoders were ranked no better than by chance
NUM_CLUSTERINGS = 4
CHANCE_SDS = 3.0  # an AMI up to this many standard deviations of chance is no agreement
MIN_CHANCE = 1e-9  # where permutations cannot change the AMI, such as with a single cluster
MAX_PAIR_ROWS = 2048  # clips for the indicators that compare pairs of clips, and for LiDAR
MAX_INDICATOR_FIT_ROWS = 4096  # clips that the indicators' own clusterings are fitted on


@dataclass(frozen=True)
class Score:
    """An encoder's fitness and indicators.

    Attributes:
        fitness: nats, lower is better; None if a guard rejected the features, or at chance.
        reason: why there is no fitness; None if there is one.
        indicators: finite values by name; an indicator without one is left out.
        clusters_N: int64, the cluster of each clean clip; None if nothing was clustered.
        shares_K: float64, sorted descending, the cluster shares that entered the fitness.
        zipf_K: float64, the shares under Zipf's law.
        lower_bound: at chance, the fitness that an AMI equal to what chance gives would have; the
            true one is no lower. Otherwise None.
    """

    fitness: float | None
    reason: str | None
    indicators: dict[str, float]
    clusters_N: Tensor | None
    shares_K: Tensor | None
    zipf_K: Tensor | None
    lower_bound: float | None = None

    @property
    def is_at_chance(self) -> bool:
        """Whether two views of a clip agree no better than those of two different clips."""
        return self.lower_bound is not None


@dataclass(frozen=True)
class Clusterings:
    """One or more k-means clusterings of the clean clips.

    Which of two close clusters k-means splits is chance, and moves F by about 0.07 nats (512 clips,
    17 clusters); the mean over 4 clusterings halves that. Large problems use a single clustering.

    Attributes:
        clean_ND: preprocessed features of the clean clips.
        views: the other sets of features, preprocessed in the same way.
        centroids: centroid_KD of each clustering.
        seed: of the permutations that measure chance.
    """

    clean_ND: Tensor
    views: list[Tensor]
    centroids: list[Tensor]
    seed: int

    @cached_property
    def labels(self) -> list[Tensor]:
        """label_N of each clustering: the nearest centroid of each clean clip."""
        return [assign(self.clean_ND, centroid_KD) for centroid_KD in self.centroids]

    @cached_property
    def share_K(self) -> Tensor:
        """Cluster shares p_K under hard assignment, sorted descending; mean over clusterings."""
        shares = [hard_shares(label_N, len(self.centroids[0])) for label_N in self.labels]
        return torch.stack(shares).mean(dim=0)

    def soft_share_K(self, sigma: float) -> Tensor:
        """Return p_K under soft assignment, sorted descending; mean over clusterings."""
        shares = [soft_shares(self.clean_ND, c_KD, sigma) for c_KD in self.centroids]
        return torch.stack(shares).mean(dim=0)

    @cached_property
    def view_labels(self) -> list[tuple[Tensor, Tensor]]:
        """(first_N, second_N), the clusters of the two views, of each clustering."""
        first_ND, second_ND = self.views[:2]
        return [(assign(first_ND, c_KD), assign(second_ND, c_KD)) for c_KD in self.centroids]

    @cached_property
    def agreement(self) -> float:
        """The AMI between the clusters of the two views; mean over clusterings."""
        return statistics.fmean(adjusted_mutual_information(*pair) for pair in self.view_labels)

    @cached_property
    def chance(self) -> float:
        """The AMI that chance can reach: 3 standard deviations under permutation."""
        order_N = canonical_order(self.clean_ND)  # the draws must not depend on the clips' order
        pairs = [(first_N[order_N], second_N[order_N]) for first_N, second_N in self.view_labels]
        return max(CHANCE_SDS * chance_sd(pairs, self.seed), MIN_CHANCE)

    @cached_property
    def shuffled_agreement(self) -> float:
        """The AMI between the clusters of the clean clips and of their frame-shuffled copies."""
        return statistics.fmean(
            adjusted_mutual_information(label_N, assign(self.views[2], c_KD))
            for label_N, c_KD in zip(self.labels, self.centroids, strict=True)
        )


def check_fitness(settings: config.Fitness) -> None:
    """Raise if the fitness cannot be computed; called before anything is trained.

    Raises:
        UserError: an unknown name, a path that cannot be loaded, or too few clips.
    """
    if custom.is_path(settings.name):
        custom.load_function(settings.name)
    elif settings.name not in FITNESS_NAMES:
        raise UserError(
            f"{unknown('fitness', settings.name, FITNESS_NAMES)}, or a path: file.py:function"
        )
    resolve_num_clusters(settings.clips, settings)


def resolve_num_clusters(num_clips: int, settings: config.Fitness) -> int:
    """Return K for this number of held-out clips.

    Raises:
        UserError: fewer than 8 clips, fewer than 2 per cluster, or fewer than 2 clusters.
    """
    k = settings.clusters or default_num_clusters(num_clips)
    if k < 2:
        raise UserError("fitness.clusters: 1 cluster carries no information; set at least 2")
    least = max(MIN_CLIPS, 2 * k)
    if num_clips < least:
        raise UserError(
            f"fitness: {num_clips} held-out clips are too few for {k} clusters (at least {least}); "
            "add videos or lower fitness.clusters"
        )
    return k


def score(
    features: ScoringFeatures, settings: config.Fitness, seed: int, *, with_indicators: bool = True
) -> Score:
    """Return the fitness of features, and every indicator.

    Permuting clips or features changes nothing but rounding. If features are standardised, neither
    does scaling or shifting any of them, short of collapse.

    Args:
        features: of at least 8 clips, and 2 per cluster.
        settings: which fitness, with its options.
        seed: of k-means, and of the permutations that measure chance.
        with_indicators: compute the indicators too, which take longer than the fitness.

    Raises:
        UserError: an unknown fitness, a user's function that fails, or too few clips or labels.
    """
    start = time.perf_counter()
    check_fitness(settings.model_copy(update={"clips": len(features)}))
    k = resolve_num_clusters(len(features), settings)
    reason = rejection_reason(features)
    if reason is not None:
        return Score(None, reason, {}, None, None, None)
    kind = settings.preprocess or ("raw" if settings.name == "zipf" else "standard")
    main = _cluster(features, kind, k, seed)
    share_K = main.share_K
    if settings.name == "zipf":
        share_K = main.soft_share_K(settings.sigma)
    zipf_K = zipf_pmf(k, settings.exponent)
    found = {}
    if with_indicators:
        found = _indicators(features, settings, {kind: main}, k, seed)
        found["seconds"] = time.perf_counter() - start
        found = {name: value for name, value in found.items() if math.isfinite(value)}
    unscored = Score(None, None, found, main.labels[0], share_K, zipf_K)
    if settings.name == "consistent_zipf":
        return _consistent_zipf(main, unscored, settings.exponent)
    fitness = _fitness(features, settings, main, share_K, seed)
    if not math.isfinite(fitness):
        return replace(unscored, reason=f"fitness is {fitness}")
    return replace(unscored, fitness=fitness)


def _consistent_zipf(main: Clusterings, unscored: Score, exponent: float) -> Score:
    """Return the score with the default fitness, or without one if the AMI is at chance."""
    divergence = zipf_divergence(main.share_K, exponent)
    if main.agreement > main.chance:
        return replace(unscored, fitness=divergence - math.log(main.agreement))
    return replace(
        unscored,
        reason=_at_chance(main.agreement, main.chance),
        lower_bound=divergence - math.log(main.chance),
    )


def _at_chance(agreement: float, chance: float) -> str:
    return (
        "at chance: two views of a clip agree no better than those of different clips (AMI "
        f"{agreement:.3f}; chance reaches {chance:.3f})"
    )


def _cluster(
    features: ScoringFeatures,
    kind: Preprocess,
    k: int,
    seed: int,
    *,
    fit_rows: int | None = None,
    with_views: bool = True,
) -> Clusterings:
    others = [x_ND for _, x_ND in features.named()[1:]] if with_views else []
    clean_ND, *views = preprocess(kind, features.clean_ND, others)
    count = NUM_CLUSTERINGS if is_cheap(len(features), k) else 1
    centroids = kmeans(clean_ND, k, seed, count=count, fit_rows=fit_rows)
    return Clusterings(clean_ND, views, centroids, seed)


def _fitness(
    features: ScoringFeatures,
    settings: config.Fitness,
    main: Clusterings,
    share_K: Tensor,
    seed: int,
) -> float:
    match settings.name:
        case "zipf" | "zipf_hard":
            return zipf_divergence(share_K, settings.exponent)
        case "labels":
            return label_fitness(main.clean_ND, features.labels_N, settings.label_metric, seed)
        case path:
            return custom.evaluate_function(path, features)


def _indicators(
    features: ScoringFeatures,
    settings: config.Fitness,
    known: dict[Preprocess, Clusterings],
    k: int,
    seed: int,
) -> dict[str, float]:
    def clusterings(kind: Preprocess) -> Clusterings:
        return known.get(kind) or _cluster(
            features, kind, k, seed, fit_rows=MAX_INDICATOR_FIT_ROWS, with_views=kind == "standard"
        )

    standard, raw, l2 = clusterings("standard"), clusterings("raw"), clusterings("l2")
    exponent = settings.exponent
    rows = evenly_spaced_rows(len(features), MAX_PAIR_ROWS)
    few_M = canonical_order(standard.clean_ND)[rows]
    few = features.select(few_M)
    found = {
        "kl_hard": zipf_divergence(standard.share_K, exponent),
        "kl_soft": zipf_divergence(raw.soft_share_K(settings.sigma), exponent),
        "kl_l2": zipf_divergence(l2.share_K, exponent),
        "effective_clusters": effective_clusters(standard.share_K),
        "ami_views": standard.agreement,
        "ami_chance": standard.chance,
        "mrr": mean_reciprocal_rank(standard.views[0][few_M], standard.views[1][few_M]),
        "rankme": indicators.rankme(features.clean_ND),
        "alpha_req": indicators.alpha_req(features.clean_ND),
        "lidar": indicators.lidar(few.first_ND, few.second_ND),
        "alignment": indicators.alignment(features.first_ND, features.second_ND),
        "uniformity": indicators.uniformity(few.clean_ND),
    }
    if features.shuffled_ND is not None:
        found["ami_shuffled"] = standard.shuffled_agreement
    return found
