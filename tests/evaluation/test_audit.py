import math
import re
from pathlib import Path

import pytest
import torch
from scipy import stats

from evossl.config import Fitness
from evossl.errors import UserError
from evossl.evaluation.audit import DIRECTIONS, audit_run, compare_scores
from evossl.experiment.held_out import FEATURES_FILE, write_features
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score
from evossl.search.table import TrialRow, write_table


def make_rows(fitness, rankme):
    """Return complete trials with these fitnesses and RankMe values."""
    return [
        TrialRow(i, "", "complete", f, indicators={} if r is None else {"rankme": r})
        for i, (f, r) in enumerate(zip(fitness, rankme, strict=True))
    ]


def test_scores_are_oriented_so_that_plus_one_is_agreement() -> None:
    accuracy = {0: 0.2, 1: 0.4, 2: 0.6, 3: 0.9}
    table = compare_scores(make_rows([4.0, 3.0, 2.0, 1.0], [9.0, 8.0, 7.0, 1.0]), accuracy)
    assert [(one.score, one.spearman) for one in table] == [("fitness", 1.0), ("rankme", -1.0)]


def test_spearman_with_ties_equals_scipy() -> None:
    fitness, accuracy = [0.3, 0.1, 0.1, 0.9, 0.5], [0.5, 0.7, 0.6, 0.5, 0.1]
    table = compare_scores(make_rows(fitness, [1.0] * 5), dict(enumerate(accuracy)))
    expected = -stats.spearmanr(fitness, accuracy).statistic
    assert table[0].spearman == pytest.approx(expected)
    low, high = table[0].interval
    z, half = math.atanh(expected), 1.959964 * math.sqrt((1 + expected**2 / 2) / 2)
    assert (low, high) == pytest.approx((math.tanh(z - half), math.tanh(z + half)), abs=1e-6)


def test_failed_trials_and_constants_have_no_correlation() -> None:
    table = compare_scores(
        make_rows([None, math.nan, 1.0, 2.0], [5.0] * 4), {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}
    )
    assert [(one.score, one.spearman, one.num_trials) for one in table] == [
        ("fitness", None, 2),
        ("rankme", None, 4),
    ]


def test_trials_without_accuracy_are_left_out() -> None:
    table = compare_scores(
        make_rows([1.0, 2.0, 3.0, 0.0], [1.0, 2.0, 3.0, 9.0]), {0: 0.3, 1: 0.2, 2: 0.1}
    )
    assert {one.num_trials for one in table} == {3}
    assert table[0].interval is None


def test_alpha_is_better_the_nearer_it_is_to_one() -> None:
    alphas = [3.0, 0.5, 1.2, 1.0]
    trials = [
        TrialRow(i, "", "complete", 1.0, indicators={"alpha_req": a}) for i, a in enumerate(alphas)
    ]
    table = compare_scores(trials, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4})
    assert table[0].spearman == 1.0


def test_a_score_of_direction_either_comes_last() -> None:
    """`ami_shuffled` is low for an encoder of motion and high for one of appearance."""
    found = [{"ami_shuffled": s, "rankme": r} for s, r in ((0.1, 9), (0.2, 7), (0.4, 8), (0.9, 1))]
    trials = [TrialRow(i, "", "complete", 4.0 - i, indicators=one) for i, one in enumerate(found)]
    for rising, sign in ((True, 1), (False, -1)):
        accuracies = sorted((0.2, 0.4, 0.6, 0.9), reverse=not rising)
        *_, last = compare_scores(trials, dict(enumerate(accuracies)))
        assert (last.score, last.better, last.spearman) == ("ami_shuffled", "either", sign)


def test_directions_match_the_fitness_page() -> None:
    """The number of clusters (best at Zipf's), chance and seconds (a cost) have no direction."""
    page = (Path(__file__).parents[2] / "docs" / "fitness.md").read_text(encoding="utf-8")
    better = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", page, re.MULTILINE))
    words = {"lower": "low", "higher": "high", "near 1": "near 1"}
    words["either"] = "low for motion, high for appearance"
    for name in DIRECTIONS.keys() - {"fitness"}:
        assert better[name] == words[DIRECTIONS[name]], name

    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(64, 8, generator=generator) for _ in range(4)]
    found = score(ScoringFeatures(*views), Fitness(clusters=4), 0).indicators
    shown = compare_scores([TrialRow(0, "", "complete", 1.0, indicators=found)], {0: 0.5})
    assert {one.score for one in shown} == DIRECTIONS.keys()
    assert found.keys() - DIRECTIONS.keys() == {"effective_clusters", "ami_chance", "seconds"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of three trials, of which only the first separates its two classes of clips."""
    generator = torch.Generator().manual_seed(0)
    for trial, distance in enumerate((9.0, 0.5, 0.0)):
        clean_ND = torch.randn(24, 4, generator=generator)
        clean_ND[::2] += distance
        file = tmp_path / "trials" / str(trial) / FEATURES_FILE
        write_features(file, clean_ND, [f"{i}.mp4" for i in range(24)])
    write_table(
        tmp_path / "trials.parquet",
        [TrialRow(i, "", "complete", float(i), indicators={"seconds": 1.0}) for i in range(3)]
        + [
            TrialRow(-1, "noise", "control", 9.0, kind="noise"),
            TrialRow(3, "", "failed", reason="collapsed"),
        ],
    )
    return tmp_path


LABELS = {f"{i}.mp4": "ab"[i % 2] for i in range(24)}


def test_an_audit_covers_complete_trials_and_shows_progress(run: Path) -> None:
    calls: list[tuple[int, int]] = []
    groups = {path: path for path in LABELS}
    table = audit_run(
        run, LABELS, groups, num_folds=2, seed=0, progress=lambda *at: calls.append(at)
    )
    assert [(one.score, one.num_trials) for one in table] == [("fitness", 3)]
    assert table[0].spearman >= 0.5  # the trial of best fitness separates the classes
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_an_audit_of_a_damaged_table_is_refused(run: Path) -> None:
    (run / "trials.parquet").write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"trials\.parquet: not a trials table"):
        audit_run(run, LABELS, LABELS, num_folds=2, seed=0)
