"""The cluster chart shows the numbers of clusters.json."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evossl.report.cluster_chart import divergence
from evossl.report.records import Clusters
from tests.helpers.parsed_pages import WrittenReport, points_of


def test_cluster_bars_and_zipf_line_share_one_scale(written: WrittenReport) -> None:
    clusters = json.loads((written.folder / "winner" / "clusters.json").read_text())
    chart = written.page.by_id("clusters").drawing("clusters")
    bars = chart.all("rect", "bar")
    heights = [float(bar.attributes["height"]) for bar in bars]
    ground = float(bars[0].attributes["y"]) + heights[0]
    unit = heights[0] / clusters["shares"][0]
    np.testing.assert_allclose(heights, unit * np.array(clusters["shares"]), atol=0.02)
    line_N2 = points_of(chart.one("polyline", "zipf"))
    np.testing.assert_allclose(ground - line_N2[:, 1], unit * np.array(clusters["zipf"]), atol=0.1)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
def test_divergence_is_the_kl_divergence_in_nats(raw: list[float]) -> None:
    shares = [value / sum(raw) for value in raw]
    zipf = [1 / len(raw)] * len(raw)  # from the uniform law: log K minus the entropy
    entropy = -sum(p * math.log(p) for p in shares)
    found = divergence(Clusters(shares=shares, zipf=zipf, examples=[]))
    assert found == pytest.approx(math.log(len(raw)) - entropy, abs=1e-9)
