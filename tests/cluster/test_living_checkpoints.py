"""Checkpoints of the living population are kept, and no others, whatever moment a kill comes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evossl.cluster.actor import final_report, trial_spec
from evossl.cluster.searcher import StudySearcher
from evossl.cluster.tracker import TrialTracker
from evossl.config import Sampler
from evossl.experiment.trial_spec import TrialResult
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from tests.helpers.search_loops import fitness
from tests.helpers.trial_specs import SPEC

GENOTYPE = Genotype.from_weights({"simclr.rgb": (0.0, 1.0), "arrow_of_time.rgb": (0.0, 1.0)})
PBT = Sampler(name="pbt", population=4)
TRIALS = 40


class KilledError(Exception):
    """The driver dies."""


class Search:
    """A search without training: a trial only writes its checkpoint, once its parent's is there."""

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder, self.study = folder, study
        self.tracker = TrialTracker(study, folder, num_best=1)

    def checkpoint(self, number: int) -> Path:
        return self.folder / "trials" / str(number) / "checkpoint"

    @property
    def on_disk(self) -> set[int]:
        return {int(path.parent.name) for path in self.folder.glob("trials/*/checkpoint")}

    def start(self) -> None:
        proposal = self.study.ask()
        if proposal.parent is not None:
            assert self.checkpoint(proposal.parent).is_dir(), proposal

    def end(self, number: int, kill: str) -> None:
        """End a trial; the driver may die before or after the study takes the result."""
        self.checkpoint(number).mkdir(parents=True, exist_ok=True)
        if kill == "trained":
            raise KilledError
        failed = number % 7 == 6
        row = self.study.tell(
            number,
            status="failed" if failed else "complete",
            fitness=None if failed else fitness(number, self.study.rows()[number].weights),
            reason=None,
            seconds=1.0,
            indicators={},
        )
        if kill == "told":
            raise KilledError
        self.tracker.record(row)
        best = self.study.best(1)
        kept = {r.trial for r in best} | {r.parent for r in best if r.parent is not None}
        unfinished = {r.trial for r in self.study.rows() if r.status == "running"}
        assert self.on_disk - unfinished == kept | self.study.inheritable() | {number}
        if kill == "recorded":
            raise KilledError


def drive(folder: Path, rng: np.random.Generator, kills: Iterator[str]) -> None:
    """Run the search until it is killed or done; a resume starts the interrupted trials again."""
    begin = Study.resume if (folder / "study.journal").exists() else Study.create
    with begin(folder, GENOTYPE, PBT, 0) as study:
        search = Search(folder, study)
        running = [row.trial for row in study.rows() if row.status == "running"]
        for _ in running:
            search.start()
        while study.num_finished < TRIALS:
            running = [row.trial for row in study.rows() if row.status == "running"]
            if len(running) < 3 and len(study.rows()) < TRIALS and study.can_ask():
                search.start()
            else:
                search.end(int(rng.choice(running)), next(kills))


@pytest.mark.parametrize("seed", range(4))
def test_no_kill_loses_a_checkpoint_that_is_needed(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moments = ["", "", "", "trained", "told", "recorded"]
    kills = (str(rng.choice(moments)) for _ in iter(int, 1))
    num_killed = 0
    while True:
        try:
            drive(tmp_path, rng, kills)
        except KilledError:
            num_killed += 1
            continue
        break
    assert num_killed > 10
    with Study.open(tmp_path) as study:
        assert study.num_finished == TRIALS
        assert len(study.inheritable()) == 4


def test_specs_name_the_parent_and_wait_for_a_free_member(tmp_path: Path) -> None:
    with Study.create(tmp_path, GENOTYPE, PBT, 0) as study:
        searcher = StudySearcher(study, SPEC, 20, lambda: 9, on_row=lambda row: None)
        specs = [trial_spec(searcher.suggest(str(i))["trial"]) for i in range(4)]  # type: ignore[index]
        assert [spec.parent for spec in specs] == [None] * 4
        assert searcher.suggest("4") is None, "every member is running"
        done = final_report(TrialResult(2, 1.0, None, 1.0, {}))
        searcher.on_trial_complete("2", done)
        child = trial_spec(searcher.suggest("4")["trial"])  # type: ignore[index]
        assert (child.number, child.parent, child.part) == (4, 2, "middle")
        assert child.weights == specs[2].weights
