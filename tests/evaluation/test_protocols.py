"""The frozen protocols and metrics against closed forms, plain loops and scikit-learn."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from evossl.errors import UserError
from evossl.evaluation import knn, linear, metrics, retrieval
from evossl.evaluation.fold_data import FoldData, LabelledFeatures
from evossl.evaluation.fold_metrics import FROZEN_PROTOCOLS, evaluate_folds, summarise
from evossl.evaluation.metrics import ClassPredictions, compute_metrics
from evossl.evaluation.splits import Fold, make_folds

ACCURACIES = ["knn", "linear", "kmeans"]


def values(protocol: str, x_ND, class_N, group_N, made, seed=0) -> dict[str, float]:
    features = LabelledFeatures(x_ND, class_N, group_N)
    found = evaluate_folds(FROZEN_PROTOCOLS[protocol], features, made, seed)
    return summarise(found, made, group_N, seed)


def fold_data(x_ND, class_N, group_N, fold) -> FoldData:
    """Return both sides of one fold."""
    return FoldData.from_fold(LabelledFeatures(x_ND, class_N, group_N), fold)


def blobs(rng, counts, dims=16, gap=30.0):
    """Return classes that are far apart."""
    class_N = np.repeat(np.arange(len(counts)), counts)
    centre_CD = rng.normal(size=(len(counts), dims)) * gap
    return centre_CD[class_N] + rng.normal(size=(len(class_N), dims)), class_N


def ungrouped(class_N, num_folds=4):
    group_N = np.arange(len(class_N))
    return group_N, make_folds([str(c) for c in class_N], [str(g) for g in group_N], num_folds, 0)


@pytest.mark.parametrize("protocol", list(FROZEN_PROTOCOLS))
def test_separable_classes_score_one(protocol) -> None:
    x_ND, class_N = blobs(np.random.default_rng(0), [40, 20, 12, 8])
    group_N, made = ungrouped(class_N)
    summary = values(protocol, x_ND, class_N, group_N, made)
    assert {v for k, v in summary.items() if not k.endswith("_interval")} == {1.0}
    assert all(v == [1.0, 1.0] for k, v in summary.items() if k.endswith("_interval"))


@pytest.mark.parametrize("protocol", ACCURACIES)
def test_random_labels_score_chance(protocol) -> None:
    rng = np.random.default_rng(1)
    x_ND, class_N = rng.normal(size=(600, 8)), rng.integers(3, size=600)
    group_N, made = ungrouped(class_N)
    summary = values(protocol, x_ND, class_N, group_N, made)
    low, high = stats.binom.ppf([0.0005, 0.9995], 600, 1 / 3) / 600
    assert low < summary["accuracy"] < high
    assert low < summary["balanced_accuracy"] < high


def test_random_labels_are_retrieved_at_chance() -> None:
    rng = np.random.default_rng(2)
    x_ND, class_N = rng.normal(size=(600, 8)), rng.integers(3, size=600)
    group_N, made = ungrouped(class_N)
    summary = values("retrieval", x_ND, class_N, group_N, made)
    for k in (1, 5, 10):
        chance = 1 - (2 / 3) ** k
        spread = 4 * math.sqrt(chance * (1 - chance) / 600)
        assert abs(summary[f"recall@{k}"] - chance) < spread
    assert abs(summary["map"] - 1 / 3) < 0.02


@pytest.mark.parametrize("protocol", list(FROZEN_PROTOCOLS))
def test_scale_and_shift_of_features_do_not_matter(protocol) -> None:
    rng = np.random.default_rng(3)
    x_ND, class_N = blobs(rng, [30, 20, 20], dims=6, gap=0.8)
    group_N, made = ungrouped(class_N)
    moved = x_ND * 10.0 ** rng.integers(-3, 4, size=6) + rng.normal(size=6)
    before, after = (values(protocol, x, class_N, group_N, made) for x in (x_ND, moved))
    assert min(v for k, v in before.items() if not k.endswith("_interval")) > 0.4
    for name, value in before.items():
        assert after[name] == pytest.approx(value), name


@pytest.mark.parametrize("protocol", ACCURACIES)
def test_recognising_groups_helps_only_if_they_are_split(protocol) -> None:
    """Features identify the video of a clip, and carry no information about its class."""
    rng = np.random.default_rng(4)
    group_N = np.repeat(np.arange(60), 6)
    class_N = rng.permutation(np.repeat([0, 1], 30))[group_N]
    x_ND = np.eye(60)[group_N] + 0.01 * rng.normal(size=(360, 60))
    labels = [str(c) for c in class_N]
    by_group = make_folds(labels, [str(g) for g in group_N], 4, 0)
    naive = make_folds(labels, [str(i) for i in range(360)], 4, 0)
    low, high = stats.binom.ppf([0.005, 0.995], 60, 0.5) / 60
    assert low < values(protocol, x_ND, class_N, group_N, by_group)["accuracy"] < high
    if protocol != "kmeans":  # 2 clusters cannot hold 60 videos
        assert values(protocol, x_ND, class_N, group_N, naive)["accuracy"] > 0.95


def test_standardising_uses_the_training_side_only() -> None:
    x_ND = np.array([[1.0, 5.0], [3.0, 5.0], [101.0, 99.0]])
    data = fold_data(x_ND, np.arange(3), np.arange(3), Fold(np.array([0, 1]), np.array([2])))
    assert data.train_ND.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert data.test_MD.tolist() == [[99.0, 0.0]]


def test_a_constant_with_a_rounding_error_becomes_zero() -> None:
    x_ND = np.full((1001, 1), 0.1)
    x_ND[1000] += 1e-9
    assert x_ND[:1000].std() > 0
    fold = Fold(np.arange(1000), np.array([1000]))
    assert fold_data(x_ND, np.arange(1001), np.arange(1001), fold).test_MD.max() == 0.0


def test_knn_equals_loops() -> None:
    rng = np.random.default_rng(5)
    x_ND, class_N = rng.normal(size=(90, 5)), rng.integers(4, size=90)
    part = fold_data(x_ND, class_N, np.arange(90), Fold(np.arange(60), np.arange(60, 90)))
    expected = []
    for query in part.test_MD:
        cosines = [
            sum(a * b for a, b in zip(query, row, strict=True))
            / math.sqrt(sum(a * a for a in query) * sum(b * b for b in row))
            for row in part.train_ND
        ]
        nearest = sorted(range(60), key=lambda i: -cosines[i])[:8]  # 8 = round(sqrt(60))
        votes = [0.0] * 4
        for i in nearest:
            votes[part.train_N[i]] += math.exp(cosines[i] / 0.07)
        expected.append(max(range(4), key=votes.__getitem__))
    assert knn.knn(part).predicted_M.tolist() == expected


def test_k_is_the_root_of_the_training_clips_up_to_20() -> None:
    assert [knn.num_neighbours(n) for n in (1, 2, 90, 400, 10**6)] == [1, 1, 9, 20, 20]


def test_mean_average_precision_equals_scikit_learn() -> None:
    rng = np.random.default_rng(6)
    x_ND, class_N = rng.normal(size=(80, 5)), rng.integers(3, size=80)
    part = fold_data(x_ND, class_N, np.arange(80), Fold(np.arange(50), np.arange(50, 80)))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (part.test_MD, part.train_ND)]
    expected = np.mean(
        [
            average_precision_score(part.train_N == truth, row)
            for truth, row in zip(part.test_M, unit[0] @ unit[1].T, strict=True)
        ]
    )
    found = compute_metrics(retrieval.retrieval(part))["map"](np.arange(30))
    assert found == pytest.approx(expected, rel=1e-12)


def test_blocks_of_queries_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(6)
    x_ND, class_N = rng.normal(size=(80, 5)), rng.integers(3, size=80)
    group_N, made = ungrouped(class_N)
    whole = values("retrieval", x_ND, class_N, group_N, made)
    monkeypatch.setattr(retrieval, "BLOCK_ROWS", 7)
    monkeypatch.setattr(metrics, "BLOCK_ROWS", 5)
    assert values("retrieval", x_ND, class_N, group_N, made) == whole


def test_average_precision_equals_one_by_hand() -> None:
    is_match_MN = np.array([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)
    by_hand = [(1 / 2 + 2 / 4) / 2, 1.0, 0.0]
    assert metrics.average_precision(is_match_MN).tolist() == by_hand


def test_balanced_accuracy_equals_scikit_learn() -> None:
    rng = np.random.default_rng(8)
    truth_M, predicted_M = rng.integers(4, size=50), rng.integers(4, size=50)
    rows = rng.integers(50, size=50)
    found = compute_metrics(ClassPredictions(truth_M, predicted_M))
    assert found["balanced_accuracy"](rows) == pytest.approx(
        balanced_accuracy_score(truth_M[rows], predicted_M[rows])
    )
    assert found["accuracy"](rows) == np.mean(truth_M[rows] == predicted_M[rows])


def test_classes_without_a_clip_do_not_count() -> None:
    predictions = ClassPredictions(np.array([0, 1, 3, 3]), np.array([0, 1, 3, 2]))
    found = compute_metrics(predictions)
    assert found["balanced_accuracy"](np.array([0, 2, 3])) == (1.0 + 0.5) / 2


def test_always_the_largest_class_is_balanced_chance() -> None:
    truth_M = np.repeat([0, 1, 2, 3], [70, 20, 6, 4])
    found = compute_metrics(ClassPredictions(truth_M, np.zeros(100, dtype=np.int64)))
    assert found["accuracy"](np.arange(100)) == 0.7
    assert found["balanced_accuracy"](np.arange(100)) == 0.25


def test_a_linear_probe_is_plain_logistic_regression() -> None:
    """Its predictions from the training rows' space equal those from all (wide) features."""
    rng = np.random.default_rng(9)
    x_ND, class_N = blobs(rng, [30, 30, 20], dims=90, gap=0.1)
    group_N, made = ungrouped(class_N, 2)
    part = fold_data(x_ND, class_N, group_N, made[0])
    strength = linear.choose_strength(part.train_ND, part)
    plain = LogisticRegression(C=strength, max_iter=1000).fit(part.train_ND, part.train_N)
    expected_M = plain.predict(part.test_MD)
    assert 0.4 < (expected_M == part.test_M).mean() < 0.95
    assert linear.linear(part).predicted_M.tolist() == expected_M.tolist()


def test_ties_go_to_the_strongest_l2() -> None:
    x_ND, class_N = blobs(np.random.default_rng(10), [30, 30])
    every = Fold(np.arange(60), np.arange(2))
    shuffled = np.random.default_rng(0).permutation(60)
    part = fold_data(x_ND[shuffled], class_N[shuffled], np.arange(60), every)
    hits = linear.validation_hits(part.train_ND, part).tolist()
    assert hits[-4:] == [60] * 4  # weak L2: several are right everywhere
    assert linear.choose_strength(part.train_ND, part) == linear.STRENGTHS[hits.index(60)]
    one_group = fold_data(x_ND, class_N, np.zeros(60, dtype=np.int64), every)
    assert linear.choose_strength(one_group.train_ND, one_group) == 0.01


def test_l2_is_chosen_with_training_groups_apart() -> None:
    """Features identify the group and nothing else, so mixing groups is always right."""
    rng = np.random.default_rng(11)
    group_N = np.repeat(np.arange(30), 8)
    class_N = rng.permutation(np.repeat([0, 1], 15))[group_N]
    every = Fold(np.arange(240), np.arange(2))
    apart = fold_data(np.eye(30)[group_N], class_N, group_N, every)
    mixed = fold_data(np.eye(30)[group_N], class_N, np.arange(240), every)
    assert linear.validation_hits(apart.train_ND, apart).max() < 0.75 * 240
    assert linear.validation_hits(mixed.train_ND, mixed).max() == 240


def test_features_that_are_not_finite_are_refused() -> None:
    x_ND, class_N = blobs(np.random.default_rng(0), [8, 8])
    x_ND[3, 2] = np.nan
    group_N, made = ungrouped(class_N)
    with pytest.raises(UserError, match="1 of 16 clips"):
        evaluate_folds(knn.knn, LabelledFeatures(x_ND, class_N, group_N), made, 0)
