import math
import re
from pathlib import Path

import pytest
import torch
from scipy import stats

from evossl.config import Fitness
from evossl.errors import UserError
from evossl.evaluation.audit import DIRECTIONS, audit, audit_run
from evossl.experiment.held_out import FEATURES, write_features
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score
from evossl.search.table import TrialRow, write_table


def rows(fitness, rankme):
    return [
        TrialRow(i, "", "complete", f, indicators={} if r is None else {"rankme": r})
        for i, (f, r) in enumerate(zip(fitness, rankme, strict=True))
    ]


def test_directions_are_turned_so_that_plus_one_is_agreement() -> None:
    accuracy = {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.9}
    table = audit(rows([4.0, 3.0, 2.0, 1.0], [9.0, 8.0, 7.0, 1.0]), accuracy)
    assert [(one.score, one.spearman) for one in table] == [("fitness", 1.0), ("rankme", -1.0)]


def test_it_equals_scipys_spearman_with_ties() -> None:
    fitness, accuracy = [0.3, 0.1, 0.1, 0.9, 0.5], [0.5, 0.7, 0.6, 0.5, 0.1]
    table = audit(rows(fitness, [1.0] * 5), dict(enumerate(accuracy)))
    expected = -stats.spearmanr(fitness, accuracy).statistic
    assert table[0].spearman == pytest.approx(expected)
    low, high = table[0].interval
    z, half = math.atanh(expected), 1.959964 * math.sqrt((1 + expected**2 / 2) / 2)
    assert (low, high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)), abs=1e-6)


def test_failed_trials_and_constant_scores_have_no_correlation() -> None:
    table = audit(rows([None, math.nan, 1.0, 2.0], [5.0] * 4), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert [(one.score, one.spearman, one.num_trials) for one in table] == [
        ("fitness", None, 2),
        ("rankme", None, 4),
    ]


def test_trials_without_accuracy_are_left_out() -> None:
    table = audit(rows([1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 9.0]), {0: 0.3, 1: 0.2, 2: 0.1})
    assert {one.num_trials for one in table} == {3}
    assert table[0].interval is None


def test_alpha_is_better_the_nearer_it_is_to_one() -> None:
    alphas = [3.0, 0.5, 1.2, 1.0]
    trials = [
        TrialRow(i, "", "complete", 1.0, indicators={"alpha_req": a}) for i, a in enumerate(alphas)
    ]
    table = audit(trials, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert table[0].spearman == 1.0


def test_a_score_that_may_be_read_either_way_is_not_turned_and_stands_last() -> None:
    """`ami_shuffled` is low where an encoder sees motion and high where it sees appearance."""
    found = [{"ami_shuffled": s, "rankme": r} for s, r in ((0.1, 9), (0.2, 7), (0.4, 8), (0.9, 1))]
    trials = [TrialRow(i, "", "complete", 4.0 - i, indicators=one) for i, one in enumerate(found)]
    for rising, sign in ((True, 1), (False, -1)):
        accuracies = sorted((0.2, 0.4, 0.6, 0.9), reverse=not rising)
        *_, last = audit(trials, dict(enumerate(accuracies)))
        assert (last.score, last.better, last.spearman) == ("ami_shuffled", "either", sign)


def test_indicators_have_the_directions_of_the_page_on_fitness_or_no_row() -> None:
    """Those without one: the number of clusters, which is best at Zipf's, and what a score cost."""
    page = (Path(__file__).parents[2] / "docs" / "fitness.md").read_text(encoding="utf-8")
    good = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (\w+)", page, re.MULTILINE))
    words = {"lower": "low", "higher": "high", "near 1": "near", "either": "either"}
    for name in DIRECTIONS.keys() - {"fitness"}:
        assert good[name] == words[DIRECTIONS[name]], name

    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(64, 8, generator=generator) for _ in range(4)]
    found = score(ScoringFeatures(*views), Fitness(clusters=4), 0).indicators
    shown = audit([TrialRow(0, "", "complete", 1.0, indicators=found)], {0: 0.5})
    assert {one.score for one in shown} == DIRECTIONS.keys()
    assert found.keys() - DIRECTIONS.keys() == {"effective_clusters", "seconds"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three trials, the first of which tells its two classes of clips apart."""
    generator = torch.Generator().manual_seed(0)
    for trial, distance in enumerate((9.0, 0.5, 0.0)):
        clean_ND = torch.randn(24, 4, generator=generator)
        clean_ND[::2] += distance
        file = tmp_path / "trials" / str(trial) / FEATURES
        write_features(file, clean_ND, [f"{i}.mp4" for i in range(24)])
    write_table(
        tmp_path / "trials.parquet",
        [TrialRow(i, "", "complete", float(i), indicators={"seconds": 1.0}) for i in range(3)]
        + [TrialRow(-1, "noise", "control", 9.0), TrialRow(3, "", "failed", reason="collapsed")],
    )
    return tmp_path


LABELS = {f"{i}.mp4": "ab"[i % 2] for i in range(24)}


def test_an_audit_of_a_run_takes_its_complete_trials_and_says_how_far_it_is(run: Path) -> None:
    said: list[tuple[int, int]] = []
    groups = {path: path for path in LABELS}
    table = audit_run(
        run, LABELS, groups, num_folds=2, seed=0, progress=lambda *at: said.append(at)
    )
    assert [(one.score, one.num_trials) for one in table] == [("fitness", 3)]
    assert table[0].spearman >= 0.5  # the best fitness is the one that tells the classes apart
    assert said == [(1, 3), (2, 3), (3, 3)]


def test_an_audit_of_a_damaged_table_is_refused_by_its_file(run: Path) -> None:
    (run / "trials.parquet").write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"trials\.parquet: not a trials table"):
        audit_run(run, LABELS, LABELS, num_folds=2, seed=0)
