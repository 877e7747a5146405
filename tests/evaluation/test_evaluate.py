import json

import numpy as np
import pytest
import torch

from evossl.errors import UserError
from evossl.evaluation.evaluate import (
    PROTOCOLS,
    EvaluationSettings,
    evaluate,
    parse_protocols,
)
from evossl.evaluation.features import open_clips
from evossl.evaluation.finetune import FineTuning
from evossl.evaluation.labels import labelled_videos
from evossl.evaluation.splits import Fold, make_folds
from tests.helpers.painted_videos import SIZE, PaintedClips

SHORT = FineTuning(epochs=1, batch_size=16)


@pytest.fixture
def data(bars):
    labels = [("left", "right")[c] for c in bars[1][:24]]
    labels[3] = None
    return labelled_videos(labels, [f"video {i}" for i in range(24)])


def folds_of(data, count=2) -> list[Fold]:
    return make_folds(data.labels, data.groups, count, 0)


def test_every_protocol_is_compared_with_random_init(bars, data, make_encoder) -> None:
    seen = []
    result = evaluate(
        make_encoder(),
        bars[0],
        data,
        folds_of(data),
        EvaluationSettings(
            PROTOCOLS, finetuning=SHORT, from_scratch=FineTuning(epochs=2, batch_size=16)
        ),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result["n_videos"] == 23
    assert result["n_unlabelled"] == 1
    assert result["classes"] == ["left", "right"]
    for side in ("encoder", "random_init", "difference"):
        assert set(result[side]) == set(PROTOCOLS)
    for protocol, metrics in result["encoder"].items():
        for name in (n for n in metrics if not n.endswith("_interval")):
            low, high = metrics[f"{name}_interval"]
            assert 0 <= low <= metrics[name] <= high <= 1
            gain = metrics[name] - result["random_init"][protocol][name]
            assert result["difference"][protocol][name] == pytest.approx(gain)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    totals = {total for _, total in seen}
    assert len(totals) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_progress_moves_with_each_fold(bars, data, make_encoder) -> None:
    seen = []
    evaluate(
        make_encoder(),
        bars[0],
        data,
        folds_of(data),
        EvaluationSettings(["linear"]),
        progress=lambda done, total: seen.append(done / total),
    )
    assert [share for share in seen if share > 0.5] == pytest.approx(
        np.arange(9, 17) / 16, abs=0.01
    )


def test_the_same_seed_gives_the_same_numbers(bars, data, make_encoder) -> None:
    first, again = (
        evaluate(
            make_encoder(), bars[0], data, folds_of(data), EvaluationSettings(["kmeans"], 2**40)
        )
        for _ in range(2)
    )
    assert first == again


def test_one_split_has_intervals_over_its_test_clips(bars, data, make_encoder) -> None:
    split = [Fold(np.arange(12), np.arange(12, 23))]
    result = evaluate(
        make_encoder(), bars[0], data, split, EvaluationSettings(["knn", "retrieval"])
    )
    low, high = result["encoder"]["knn"]["accuracy_interval"]
    assert 0 <= low < result["encoder"]["knn"]["accuracy"] < high <= 1
    assert result["n_folds"] == 1


def test_a_random_encoder_is_no_better_than_random_init(bars, data, make_encoder) -> None:
    result = evaluate(make_encoder(), bars[0], data, folds_of(data), EvaluationSettings(["knn"]))
    low, high = result["difference"]["knn"]["accuracy_interval"]
    assert -1 <= low <= 0 <= high <= 1
    assert low <= result["difference"]["knn"]["accuracy"] <= high


def test_a_constant_encoder_is_worse_than_random_init(bars, data, make_encoder) -> None:
    """The classes are two shades; constant features always predict the same class."""
    encoder = make_encoder()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    shades = PaintedClips(
        [np.full((6, SIZE, SIZE, 3), 20 + 100 * c + i, np.uint8) for i, c in enumerate(bars[1])]
    )
    result = evaluate(encoder, shades, data, folds_of(data), EvaluationSettings(["linear"]))
    assert result["encoder"]["linear"]["balanced_accuracy"] == 0.5
    assert result["random_init"]["linear"]["balanced_accuracy"] > 0.8
    low, high = result["difference"]["linear"]["balanced_accuracy_interval"]
    assert low <= result["difference"]["linear"]["balanced_accuracy"] < -0.3
    assert low < 0
    assert high <= 1


def test_features_that_are_not_finite_are_refused(bars, data, make_encoder) -> None:
    encoder = make_encoder()
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="23 of 23 clips have features that are not finite"):
        evaluate(encoder, bars[0], data, folds_of(data), EvaluationSettings(["knn"]))


def test_protocols_are_parsed_from_a_list() -> None:
    assert parse_protocols("knn, linear,knn,") == ("knn", "linear")
    with pytest.raises(UserError, match=r"unknown protocol 'lineer': did you mean 'linear'"):
        parse_protocols("knn,lineer")
    with pytest.raises(UserError, match="the list is empty"):
        parse_protocols(" , ")


@pytest.mark.slow
def test_real_clips_pass_through_every_protocol(surveillance_clips, make_encoder, tmp_path) -> None:
    from evossl.data.index.index import build_index

    index = build_index(str(surveillance_clips))
    encoder = make_encoder()
    loader, report = open_clips(index.videos, encoder.config, tmp_path, seed=0)
    data = labelled_videos([v.label for v in report.readable], [v.group for v in report.readable])
    result = evaluate(
        encoder,
        loader,
        data,
        folds_of(data, 5),
        EvaluationSettings(PROTOCOLS, finetuning=SHORT, from_scratch=SHORT),
    )
    assert result["classes"] == ["fight", "no_fight"]
    assert result["n_videos"] == len(report.readable) > 100
    for metrics in result["encoder"].values():
        for name, value in metrics.items():
            assert name.endswith("_interval") or 0 < value <= 1
