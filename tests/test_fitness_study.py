"""The arithmetic of the fitness study's tables, and its views of another augmentation family."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
WEIGHTINGS = ("simclr", "byol", "order_binary", "tempo", "equal", "random-0")
SCORES = (0.1, 0.9, 0.4, 0.3, 0.7, 0.5)
ACCURACIES = (0.2, 0.8, 0.3, 0.4, 0.5, 0.6)


@pytest.fixture(autouse=True)
def benchmarks_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def analysis() -> ModuleType:
    import fitness_study_analysis

    return fitness_study_analysis


def rows(data: str = "motion-0", step: int = 300) -> list[dict[str, Any]]:
    return [
        {
            "data": data,
            "step": step,
            "weighting": name,
            "weights": {f"{name}.rgb": 1.0},
            "ami_views": score,
            "motion": accuracy,
        }
        for name, score, accuracy in zip(WEIGHTINGS, SCORES, ACCURACIES, strict=True)
    ]


def test_the_correlation_is_the_mean_over_strata(analysis: ModuleType) -> None:
    reverse = [row | {"ami_views": -row["ami_views"]} for row in rows("motion-1")]
    statistic = analysis.spearman_of("ami_views", "motion")
    expected = spearmanr(SCORES, ACCURACIES).statistic
    assert analysis.over_strata(rows(), statistic) == pytest.approx(expected)
    assert analysis.over_strata(rows() + reverse, statistic) == pytest.approx(0)


def test_a_score_that_is_missing_ranks_last(analysis: ModuleType) -> None:
    failed = rows()
    failed[1]["ami_views"] = math.nan
    assert analysis.ranks(failed, "ami_views").argmin() == 1


def test_within_families_ignores_differences_of_families(analysis: ModuleType) -> None:
    changed = [
        row | {"ami_views": row["motion"] + 10 * (analysis.family_of(row) == "contrastive")}
        for row in rows()
    ]
    within = analysis.within_families("ami_views", "motion")
    both = analysis.spearman_of("ami_views", "motion")
    assert analysis.over_strata(changed, within) > analysis.over_strata(changed, both)
    bias = analysis.bias_of("ami_views", "motion", "contrastive")
    assert analysis.over_strata(changed, bias) > 0.1


@pytest.mark.parametrize("family", ["contrastive", "predictive", "mixture"])
def test_the_bias_of_a_perfect_score_is_zero(analysis: ModuleType, family: str) -> None:
    assert analysis.bias_of("motion", "motion", family)(rows()) == pytest.approx(0)


def test_rows_survive_being_written_and_read(analysis: ModuleType, tmp_path: Path) -> None:
    written = [row | {"fitness": None, "reason": "collapsed"} for row in rows()]
    analysis.write_rows(tmp_path / "rows.csv", written)
    for before, after in zip(written, analysis.read_rows(tmp_path / "rows.csv"), strict=True):
        assert after == {name: value for name, value in before.items() if value is not None}


def test_other_family_changes_every_clip_differently() -> None:
    from fitness_study_views import other_family

    x_NCTHW = torch.rand(1, 3, 4, 16, 16).expand(6, -1, -1, -1, -1)
    for colour in (False, True):
        changed = other_family(x_NCTHW, 0, colour=colour)
        assert changed.shape == x_NCTHW.shape
        assert torch.pdist(changed.flatten(1)).min() > 1
        assert torch.equal(changed, other_family(x_NCTHW, 0, colour=colour))


def test_a_rotation_by_zero_degrees_changes_nothing() -> None:
    from fitness_study_views import _rotate

    x_NCTHW = torch.rand(2, 3, 4, 16, 16)
    same = _rotate(x_NCTHW, torch.zeros(2), torch.ones(2))
    torch.testing.assert_close(same, x_NCTHW, atol=1e-4, rtol=0)
