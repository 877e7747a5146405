"""How much a search trains: the plan that a budget describes, in steps or in encoder passes."""

from typing import Any

from evossl.cluster.search_job import Reporter, SearchJob, SearchPlan
from evossl.cluster.session import Session
from evossl.search.table import TrialRow
from evossl.training.resolved_space import resolve_space
from tests.helpers.tiny_runs import WEIGHTS, tiny_space
from tests.helpers.trial_specs import RUN

ALONE = WEIGHTS | {"simclr.rgb": 0.0}


def job_of(**budget: Any) -> SearchJob:
    """A search with a budget; equal weights cost 9 passes a step, arrow of time alone 3."""
    space = tiny_space(budget={"trials": 4, **budget})
    plan = SearchPlan.of(resolve_space(space))
    return SearchJob(RUN, space, plan, Session(None, is_local=True), Reporter(None, print))  # type: ignore[arg-type]


def test_a_budget_of_steps_gives_all_trials_the_same_steps() -> None:
    job = job_of(steps=20, final_steps=50)
    assert (job.plan.steps, job.plan.final_steps, job.template.passes) == (20, 50, None)
    assert job.trial_spec(TrialRow(1, "", "complete", weights=ALONE)).steps == 20
    assert job.final_steps(ALONE, {}, inherited=3) == 50


def test_a_budget_of_passes_gives_all_trials_the_same_passes() -> None:
    job = job_of(passes=180, final_passes=450)
    assert (job.plan.steps, job.plan.final_steps) == (20, 50), "of equal weights"
    assert job.trial_spec(TrialRow(0, "", "complete", weights=WEIGHTS)).steps == 20
    assert job.trial_spec(TrialRow(1, "", "complete", weights=ALONE)).steps == 60
    assert job.final_steps(ALONE, {}) == 150
    assert job.final_steps(ALONE, {}, inherited=2) == 150 + 2 * 60


def test_passes_of_trials_and_of_the_winner_are_independent() -> None:
    job = job_of(passes=180, final_steps=7)
    assert job.final_steps(ALONE, {}) == 7
    assert job_of(steps=7, final_passes=450).final_steps(ALONE, {}) == 150
