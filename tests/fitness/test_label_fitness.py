import math

import pytest
import torch

from evossl.config import Fitness
from evossl.errors import UserError
from evossl.fitness.label_fitness import kmeans_accuracy, knn_accuracy, label_fitness
from evossl.fitness.score import ScoringFeatures, score
from tests.helpers.clustered_features import exact_zipf, normal, real


def labelled(known: int) -> ScoringFeatures:
    features, label_N = exact_zipf()
    label_N = label_N[torch.randperm(100, generator=torch.Generator().manual_seed(0))].clone()
    label_N[known:] = -1
    return ScoringFeatures(*[x for _, x in features.named()], labels_N=label_N)


def test_knn_accuracy_equals_a_loop_of_votes() -> None:
    label_N = torch.tensor([7, 2, 2, 7, 4] * 6)
    x_ND = normal(0, 30, 5) + label_N[:, None] * normal(1, 1, 5)
    hits = 0
    for i in range(30):
        cosine = {j: float(torch.cosine_similarity(x_ND[i], x_ND[j], dim=0)) for j in range(30)}
        del cosine[i]
        votes = dict.fromkeys((2, 4, 7), 0.0)
        for j in sorted(cosine, key=cosine.get)[-5:]:
            votes[int(label_N[j])] += max(cosine[j], 0)
        hits += max(votes, key=votes.get) == int(label_N[i])
    assert knn_accuracy(x_ND, label_N) == pytest.approx(hits / 30)


def test_kmeans_accuracy_ignores_the_numbering_of_clusters() -> None:
    label_N = torch.tensor([9, 3, 5]).repeat_interleave(6)
    x_ND = 5 * normal(0, 10, 4)[label_N] + 0.01 * normal(1, 18, 4)
    assert kmeans_accuracy(x_ND, label_N, 0) == 1
    label_N[0] = 3
    assert kmeans_accuracy(x_ND, label_N, 0) == pytest.approx(17 / 18)


@pytest.mark.parametrize("by", ["knn", "kmeans"])
def test_label_fitness_is_minus_log_accuracy(by: str) -> None:
    features, label_N = exact_zipf()
    label_N = label_N.clone()
    label_N[::2] = -1
    seen = ScoringFeatures(*[x for _, x in features.named()], labels_N=label_N)
    assert score(seen, Fitness(name="labels", label_metric=by), 0).fitness == pytest.approx(0)
    useless = labelled(100)
    accuracy = knn_accuracy if by == "knn" else lambda x, y: kmeans_accuracy(x, y, 0)
    expected = -math.log(accuracy(useless.clean_ND, useless.labels_N))
    assert label_fitness(useless.clean_ND, useless.labels_N, by, 0) == pytest.approx(expected)
    assert expected > 0.3


@pytest.mark.parametrize("known", [0, 7])
def test_too_few_labels_are_refused(known: int) -> None:
    with pytest.raises(UserError, match="at least 8 labelled clips"):
        score(labelled(known), Fitness(name="labels"), 0)


def test_no_labels_and_a_single_class_are_refused() -> None:
    features = real(60)
    with pytest.raises(UserError, match="2 classes"):
        score(features, Fitness(name="labels"), 0)
    with pytest.raises(UserError, match="2 classes"):
        label_fitness(features.clean_ND, torch.zeros(60).long(), "knn", 0)
