from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evossl.errors import UserError
from evossl.evaluation.splits import make_folds


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[str], list[str], int]:
    """Draw groups of one class each, with at least as many groups per class as folds."""
    num_folds = draw(st.integers(2, 5))
    rows = []
    for c in range(draw(st.integers(2, 4))):
        for g in range(draw(st.integers(num_folds, num_folds + 4))):
            rows += [(f"class{c}", f"group{c}.{g}")] * draw(st.integers(1, 4))
    rows = draw(st.permutations(rows))
    return [label for label, _ in rows], [group for _, group in rows], num_folds


@given(data_sets(), st.integers(0, 3))
def test_clips_are_tested_once_and_groups_stay_together(data, seed) -> None:
    labels, groups, num_folds = data
    made = make_folds(labels, groups, num_folds, seed)
    assert len(made) == num_folds
    assert sorted(np.concatenate([fold.test_idx for fold in made])) == list(range(len(labels)))
    for fold in made:
        assert sorted([*fold.train_idx, *fold.test_idx]) == list(range(len(labels)))
        assert not {groups[i] for i in fold.train_idx} & {groups[i] for i in fold.test_idx}
        assert {labels[i] for i in fold.train_idx} == set(labels)
        assert {labels[i] for i in fold.test_idx} == set(labels)


@given(st.data())
def test_groups_of_several_classes_stay_together(data) -> None:
    num_groups = data.draw(st.integers(3, 8))
    rows = [(label, g) for label in "ab" for g in range(num_groups)]
    rows += data.draw(st.lists(st.sampled_from(rows), max_size=20))
    labels, groups = [r[0] for r in rows], [str(r[1]) for r in rows]
    made = make_folds(labels, groups, 3, 0)
    assert sorted(np.concatenate([fold.test_idx for fold in made])) == list(range(len(rows)))
    for fold in made:
        assert not {groups[i] for i in fold.train_idx} & {groups[i] for i in fold.test_idx}


@given(st.lists(st.integers(6, 40), min_size=2, max_size=5), st.integers(2, 6))
def test_ungrouped_clips_are_stratified_to_within_one(counts, num_folds) -> None:
    labels = [f"c{c}" for c, count in enumerate(counts) for _ in range(count)]
    made = make_folds(labels, [str(i) for i in range(len(labels))], num_folds, 0)
    for c, count in enumerate(counts):
        tested = [Counter(labels[i] for i in fold.test_idx)[f"c{c}"] for fold in made]
        assert set(tested) <= {count // num_folds, -(-count // num_folds)}


def test_the_seed_determines_the_folds() -> None:
    labels, groups = ["a", "b"] * 20, [str(i) for i in range(40)]
    first, again, other = (make_folds(labels, groups, 4, seed)[0].test_idx for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_class_smaller_than_the_folds_is_named() -> None:
    labels = ["jump"] * 9 + ["wave"] * 3
    with pytest.raises(UserError, match=r"--folds 5: class 'wave' has 3 clip.*--folds 3"):
        make_folds(labels, [str(i) for i in range(12)], 5, 0)


def test_groups_rather_than_clips_are_counted() -> None:
    labels = ["jump"] * 9 + ["wave"] * 9
    groups = [str(i) for i in range(9)] + ["one video"] * 9
    with pytest.raises(UserError, match=r"'wave' has 9 clip\(s\) in 1 group.*leave the class out"):
        make_folds(labels, groups, 3, 0)


@pytest.mark.parametrize(("labels", "words"), [(["a"] * 4, "all 4 clips are 'a'"), ([], "no clip")])
def test_fewer_than_two_classes_are_refused(labels, words) -> None:
    with pytest.raises(UserError, match=words):
        make_folds(labels, [str(i) for i in range(len(labels))], 2, 0)


def test_a_single_fold_is_refused() -> None:
    with pytest.raises(UserError, match=r"--folds 1: at least 2.*--split FILE"):
        make_folds(["a", "b"], ["0", "1"], 1, 0)
