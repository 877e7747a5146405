"""The evaluation chart shows the numbers of evaluation.json."""

import json

import numpy as np
import pytest

from tests.helpers.parsed_pages import WrittenReport


def test_encoder_and_random_init_bars_share_one_scale(written: WrittenReport) -> None:
    scores = json.loads((written.folder / "winner" / "evaluation.json").read_text())
    chart = written.page.by_id("evaluation").drawing("evaluation")
    widths = {
        side: [float(bar.attributes["width"]) for bar in chart.all("rect", f"bar {class_}")]
        for side, class_ in (("encoder", "ours"), ("random_init", "random"))
    }
    for side, found in widths.items():
        means = [
            value
            for metrics in scores[side].values()
            for name, value in metrics.items()
            if not name.endswith("_interval")
        ]
        np.testing.assert_allclose(found, np.array(means) * found[0] / means[0], atol=0.02)
    assert widths["encoder"][0] / widths["random_init"][0] == pytest.approx(0.62 / 0.41, rel=1e-3)
    assert "0.620 [0.580, 0.660]" in chart.attributes["aria-label"]
