"""The heat map of the loss weights: its columns, colours and drift."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evossl.report.weight_map import VIRIDIS, drift, viridis
from evossl.search.table import TrialRow, write_table
from tests.helpers.fabricated_runs import begin_run
from tests.helpers.parsed_pages import report_page


def test_drift_is_the_last_quarter_minus_the_first() -> None:
    weight_NR = np.array([[0.1, 0.5]] * 2 + [[0.9, 0.0]] * 4 + [[0.4, 0.2]] * 2)
    np.testing.assert_allclose(drift(weight_NR), [0.3, -0.3])
    assert not drift(weight_NR[1:]).any()


def moved_late(first: int, **changes: None) -> list[TrialRow]:
    """Eight trials. The `first` proposed ones end last and have weight 1 on `simclr.rgb`."""
    return [
        TrialRow(
            trial, "", "complete", 2.0, None, 9.0, {},
            {"simclr.rgb": float(trial < first), "simclr.flow": 0.5},
            **{"completed": (trial - first) % 8} | changes,
        )
        for trial in range(8)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "order", "drift_"),
    [
        ({}, "trials, in the order of completion", "+1.00"),
        ({"completed": None}, "trials, in the order of proposal", "-1.00"),
    ],
)
def test_columns_follow_the_order_of_completion_if_known(
    tmp_path: Path, changes: dict[str, None], order: str, drift_: str
) -> None:
    begin_run(tmp_path)
    running = TrialRow(8, "", "running", weights={"simclr.rgb": 0.0, "simclr.flow": 0.0})
    write_table(tmp_path / "trials.parquet", [*moved_late(2, **changes), running])
    page = report_page(tmp_path)
    chart = page.by_id("evolution").drawing("map")
    words = [node.text for node in chart.all("text")]
    assert order in words
    assert drift_ in words
    assert words[-8:] == list("12345678")
    (image,) = chart.all("image")
    pixels = np.asarray(Image.open(BytesIO(base64.b64decode(image.attributes["href"][22:]))))
    brightest = pixels.sum(axis=(0, 2)).argsort()[-2:]
    assert sorted(brightest) == ([6, 7] if drift_ == "+1.00" else [0, 1])


def test_the_anchor_colours_of_viridis_are_exact() -> None:
    colour_AC = viridis(np.linspace(0, 1, 18)[None])[0]
    assert [bytes(colour).hex() for colour in colour_AC] == VIRIDIS.split()
    luma_N = viridis(np.linspace(0, 1, 256)[None])[0] @ [0.299, 0.587, 0.114]
    assert (np.diff(luma_N) > -1).all()
