import numpy as np
import pytest

from evossl.evaluation.fold_metrics import difference, mean_over_seeds, summarise
from evossl.evaluation.intervals import interval_over_clips, interval_over_folds
from evossl.evaluation.metrics import Metrics
from evossl.evaluation.splits import Fold


def test_the_corrected_interval_equals_one_by_hand() -> None:
    """5 values with s = 0.1: t(4, 97.5 %) = 2.776445 (tables), variance (1/5 + 1/4) 0.01."""
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * 0.1 / np.sqrt(2.5) + 0.5
    low, high = interval_over_folds(values.tolist())
    half = 2.776445 * np.sqrt(0.45 * 0.01)
    assert low == pytest.approx(0.5 - half, abs=1e-6)
    assert high == pytest.approx(0.5 + half, abs=1e-6)


def test_the_bootstrap_of_a_mean_is_the_normal_interval() -> None:
    """It is mean -+ 1.96 sd / sqrt(N), up to the noise of 1,000 resamples."""
    x_N = np.random.default_rng(0).normal(size=400)
    ends = interval_over_clips(lambda rows: float(x_N[rows].mean()), np.arange(400), 0)
    in_sd = (np.array(ends) - x_N.mean()) / (x_N.std() / np.sqrt(400))
    assert in_sd == pytest.approx([-1.96, 1.96], abs=0.2)


def test_a_group_is_drawn_with_all_its_clips() -> None:
    groups_N = np.array([7, 3, 7, 5, 3, 7])
    drawn = []
    interval_over_clips(lambda rows: drawn.append(rows.tolist()) or 0.0, groups_N, 0)
    members = [[0, 2, 5], [1, 4], [3]]
    for rows in drawn:
        counts = [[rows.count(clip) for clip in group] for group in members]
        assert all(len(set(count)) == 1 for count in counts)
        assert sum(count[0] for count in counts) == 3
    assert len({tuple(rows) for rows in drawn}) == 27  # all 3^3 draws occur


def test_clips_of_one_group_count_as_one() -> None:
    hit_N = np.repeat([0.0, 1.0, 1.0, 0.0], 25)
    metric = lambda rows: float(hit_N[rows].mean())  # noqa: E731
    together = interval_over_clips(metric, np.repeat(np.arange(4), 25), 0)
    apart = interval_over_clips(metric, np.arange(100), 0)
    assert np.ptp(together) > 3 * np.ptp(apart)


FOLDS = [Fold(np.array([1, 3]), np.array([0, 2])), Fold(np.array([0, 2]), np.array([1, 3]))]
GROUP_N = np.array([0, 1, 0, 1])


def constant(value: float) -> list[Metrics]:
    """Return an accuracy of `value` on the first fold, and 0.1 more on the second."""
    return [{"accuracy": lambda rows, more=more: value + more} for more in (0.0, 0.1)]


def test_seeds_are_averaged_and_differences_paired() -> None:
    runs = [constant(value) for value in (0.2, 0.4, 0.6)]
    mean = summarise(mean_over_seeds(runs[:2]), FOLDS, GROUP_N, 0)
    assert mean["accuracy"] == pytest.approx(0.35)
    gain = summarise(difference(runs[2], runs[0]), FOLDS, GROUP_N, 0, lowest=-1.0)
    assert gain["accuracy"] == pytest.approx(0.4)
    assert gain["accuracy_interval"] == pytest.approx([0.4, 0.4])  # paired, so without variance


def test_an_interval_stays_within_the_metric_range() -> None:
    low, high = summarise(constant(0.9), FOLDS, GROUP_N, 0)["accuracy_interval"]
    assert 0.0 <= low < high == 1.0
    assert summarise(constant(0.9), FOLDS, GROUP_N, 0, lowest=-1.0)["accuracy_interval"][0] < 0
