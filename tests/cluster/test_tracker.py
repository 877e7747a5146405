"""The trials table follows the study without slowing down the driver."""

from pathlib import Path

import pytest

from evossl.cluster import tracker as tracker_module
from evossl.cluster.tracker import TrialTracker
from evossl.config import Sampler
from evossl.search.study import Study
from evossl.search.table import read_table
from tests.helpers.trial_specs import GENOTYPE


def test_a_slow_table_is_written_rarely_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "MAX_TABLE_TIME_SHARE", 1e-9)
    with Study.create(tmp_path, GENOTYPE, Sampler(name="random"), 0) as study:
        tracker = TrialTracker(study, tmp_path)
        for _ in range(3):
            number = study.ask().number
            row = study.tell(
                number, status="complete", fitness=1.0, reason=None, seconds=1.0, indicators={}
            )
            tracker.record(row)
        assert len(read_table(tmp_path / "trials.parquet")) == 1
        tracker.close()
        assert read_table(tmp_path / "trials.parquet") == study.rows()
