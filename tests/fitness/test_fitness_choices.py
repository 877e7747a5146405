import math
from pathlib import Path

import pytest
import torch

from evossl.config import Fitness
from evossl.errors import RunError, UserError
from evossl.fitness import controls
from evossl.fitness.labels import kmeans_accuracy, knn_accuracy, label_fitness
from evossl.fitness.score import ScoringFeatures, check_fitness, score
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


def test_kmeans_accuracy_does_not_care_what_clusters_are_called() -> None:
    label_N = torch.tensor([9, 3, 5]).repeat_interleave(6)
    x_ND = 5 * normal(0, 10, 4)[label_N] + 0.01 * normal(1, 18, 4)
    assert kmeans_accuracy(x_ND, label_N, 0) == 1
    label_N[0] = 3
    assert kmeans_accuracy(x_ND, label_N, 0) == pytest.approx(17 / 18)


@pytest.mark.parametrize("by", ["knn", "kmeans"])
def test_label_fitness_is_minus_log_accuracy_of_the_labelled_clips(by: str) -> None:
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
def test_too_few_labels_are_refused_in_words(known: int) -> None:
    with pytest.raises(UserError, match="at least 8 labelled clips"):
        score(labelled(known), Fitness(name="labels"), 0)


def test_no_labels_and_one_class_are_refused() -> None:
    features = real(60)
    with pytest.raises(UserError, match="2 classes"):
        score(features, Fitness(name="labels"), 0)
    with pytest.raises(UserError, match="2 classes"):
        label_fitness(features.clean_ND, torch.zeros(60).long(), "knn", 0)


def write(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_function_of_the_users_own_is_the_fitness(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "def fitness(features):\n    return features.clean_ND.shape[1]\n"
        "def other(features):\n    return -len(features)\n",
    )
    features = real(60)
    for name, expected in ((path, 64), (f"{path}:fitness", 64), (f"{path}:other", -60)):
        check_fitness(Fitness(name=name))
        assert score(features, Fitness(name=name), 0).fitness == expected


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        (None, "", "no such file"),
        (None, ":", "no such file"),
        ("def fitness(:", "", "cannot be loaded"),
        ("import no_such_module", "", "cannot be loaded"),
        ("def fitnes(x): return 1", "", "did you mean 'fitnes'"),
        ("def fitness(x): return 1", ":score", "unknown function 'score'"),
        ("fitness = 3", "", "unknown function 'fitness'"),
    ],
)
def test_a_function_that_cannot_be_found_is_refused_before_training(
    text: str | None, suffix: str, message: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "none.py") if text is None else write(tmp_path, text)
    with pytest.raises(UserError, match=message):
        check_fitness(Fitness(name=path + suffix))


def test_a_file_may_define_dataclasses_and_lie_in_a_folder_that_ends_in_py(tmp_path: Path) -> None:
    folder = tmp_path / "x.py"
    folder.mkdir()
    path = write(
        folder,
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: float = 2.5\n"
        "def fitness(features):\n    return A().x\n",
    )
    assert score(real(60), Fitness(name=path), 0).fitness == 2.5


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 'good'", "ValueError"),
        ("return None", "TypeError"),
        ("return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("return x.clean", "line 2: AttributeError: "),
        ("return [][1]", "line 2: IndexError: "),
        ("assert len(x) > 1000", "line 2: AssertionError: assert len(x) > 1000"),
        ("assert len(x) > 1000, 'too few'", "line 2: AssertionError: too few"),
    ],
)
def test_a_function_that_fails_is_named_with_its_line(body: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"def fitness(x):\n    {body}\n")
    with pytest.raises(UserError, match=r"mine\.py.*failed: .*a number, lower is better") as caught:
        score(real(60), Fitness(name=path), 0)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_function_whose_value_is_not_finite_fails_the_trial(value: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"def fitness(x):\n    return float('{value}')\n")
    found = score(real(60), Fitness(name=path), 0)
    assert found.fitness is None
    assert found.reason == f"fitness is {value}"


def test_a_trial_beats_the_controls_below_three_sds_of_them() -> None:
    inits = [1.0, 2.0, 3.0]  # mean 2, sd 1
    assert controls.sds_below(-0.5, inits) == pytest.approx(2.5)
    assert not controls.beats_controls(-0.99, inits)
    assert controls.beats_controls(-1.01, inits)
    assert controls.sds_below(3.0, inits) == pytest.approx(-1)


def test_equal_random_inits_are_beaten_by_anything_below() -> None:
    assert controls.beats_controls(1.9, [2.0] * 3)
    assert not controls.beats_controls(2.0, [2.0] * 3)
    assert not controls.beats_controls(2.1, [2.0] * 3)


def test_two_random_inits_are_no_control() -> None:
    with pytest.raises(RunError, match="2 random inits"):
        controls.beats_controls(0.0, [1.0, 2.0])


def test_a_colour_grid_is_the_mean_colour_of_each_cell_over_the_clip() -> None:
    pixels_BCTHW = normal(0, 2, 3, 5, 8, 12)
    grid_BD = controls.colour_grid(pixels_BCTHW)
    assert grid_BD.shape == (2, 48)
    for channel, row, column in ((0, 0, 0), (2, 3, 1)):
        cell = pixels_BCTHW[
            1, channel, :, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3
        ].mean()
        assert grid_BD[1, 16 * channel + 4 * row + column] == pytest.approx(float(cell), abs=1e-6)


def test_random_blobs_have_zipf_sizes_and_noise_has_none() -> None:
    blobs = score(controls.zipf_blobs(2000, 16, 8, 0), Fitness(clusters=8), 0).indicators
    assert blobs["kl_hard"] < 0.01
    assert abs(blobs["ami_views"]) < 0.01
    noise = score(controls.noise_features(2000, 16, 0), Fitness(clusters=8), 0).indicators
    assert noise["kl_hard"] > 0.1
    assert abs(noise["ami_views"]) < 0.01
