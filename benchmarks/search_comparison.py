"""Does an evolved recipe beat what one would do without a search, for the same compute?

    python benchmarks/search_comparison.py --out DIR
    python benchmarks/search_comparison_table.py DIR > table.md

Every search is `evossl search` itself, on Ray: trials, re-runs, and the winner's longer training.
Its rivals, equal weights and single tasks, are trained once, with all the encoder passes of a
search; of each, the step of the best fitness is kept. Every seed has its own initial weights and,
if the videos are synthetic, its own videos, and is evaluated on others than it learns from.

It takes hours on 2 cores. Each finished method is a JSON file in --out, and an interrupted search
continues, so the benchmark can be stopped at any time and run again.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_comparison_cases import CASES, GENES, Setup
from search_comparison_grading import grade_encoder, grade_supervised, grade_trials

from evossl.cluster.finals import run_finals
from evossl.cluster.search import run_search
from evossl.cluster.search_job import Reporter, SearchPlan
from evossl.cluster.session import Session, ray_session
from evossl.config import SearchSpace
from evossl.data.cache.clip_cache import ClipCache
from evossl.data.index.index import build_index
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.passes import passes_per_step
from evossl.experiment.run_folder import RunInfo, open_run, read_run
from evossl.experiment.terms import active_weights
from evossl.experiment.trial import load_encoder_from
from evossl.experiment.trial_spec import checkpoint_folder
from evossl.experiment.winner import long_training_spec
from evossl.export.encoder_folder import EncoderConfig, VideoEncoder, load_encoder
from evossl.training.resolved_space import resolve_space
from evossl.types import Progress

REFERENCE, EQUAL_STEPS, EQUAL_WEIGHTS = "CMA-ES", "CMA-ES, equal steps", "equal weights"
SUPERVISED = "supervised"
SEARCHES: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {"sampler": {"name": "cmaes", "population": 4}},
    "random search": {"sampler": {"name": "random"}},
    "PBT": {"sampler": {"name": "pbt", "population": 4}},
    "genetic algorithm": {"sampler": {"name": "ga", "population": 4}},
    "CMA-ES with genes": {"sampler": {"name": "cmaes", "population": 4}, **GENES},
    EQUAL_STEPS: {"sampler": {"name": "cmaes", "population": 4}},
}
"""The searches, and the keys of the case's space that each replaces."""


def search_space(setup: Setup, method: str) -> SearchSpace:
    """Return the space of a search: every trial has the same encoder passes, or the same steps."""
    budget = setup.case.budget
    wanted: dict[str, Any] = {"trials": budget.trials}
    if method == EQUAL_STEPS:
        wanted |= {"steps": budget.steps, "final_steps": budget.final_steps}
    else:
        passes = num_passes(setup, budget.steps), num_passes(setup, budget.final_steps)
        wanted |= dict(zip(("passes", "final_passes"), passes, strict=True))
    return setup.case.read_space({**SEARCHES[method], "budget": wanted})


def num_passes(setup: Setup, steps: float) -> int:
    """Return the encoder passes of a number of steps of equal weights."""
    resolved = resolve_space(setup.case.read_space({}))
    weights = active_weights(resolved, dict.fromkeys(resolved.terms_by_name, 1.0))
    return round(steps * passes_per_step(resolved.select(weights)))


@contextmanager
def _no_progress_bar(title: str) -> Iterator[Progress]:
    yield lambda done, total: None


REPORTER = Reporter(_no_progress_bar, lambda message: print(f"  {message}", flush=True))


def search(setup: Setup, method: str, session: Session) -> dict[str, Any]:
    """Run a search, and return what it exports and how good its trials are."""
    space, folder = search_space(setup, method), setup.method_folder(method)
    began = time.monotonic()
    info = _open_run(setup, folder, space)
    outcome = run_search(folder, info, _plan(space), session, REPORTER)
    [encoder] = outcome.encoders
    seconds = time.monotonic() - began
    winner = json.loads((folder / "winner" / "winner.json").read_text(encoding="utf-8"))
    return {
        "seconds": seconds,
        "verdict": outcome.verdict.outcome,
        "winner": winner,
        "trials": grade_trials(folder, setup),
        "scores": grade_encoder(load_encoder(encoder), setup),
    }


def _plan(space: SearchSpace) -> SearchPlan:
    budget = space.budget
    return SearchPlan(
        trials=budget.trials,
        steps=budget.steps,
        final_steps=budget.final_steps,
        max_reruns=budget.max_reruns,
    )


def _open_run(setup: Setup, folder: Path, space: SearchSpace) -> RunInfo:
    """Open the run folder, and put its videos into the clip cache."""
    info = RunInfo(
        space=space.model_dump(mode="json"),
        seed=setup.seed,
        data=str(setup.videos.resolve()),
        command="benchmarks/search_comparison.py",
        cache=str(setup.cache.resolve()),
        device="cpu",
    )
    info = open_run(folder, info, resume=(folder / "run.yaml").is_file())
    manifest = folder / "manifest.parquet"
    if not manifest.is_file():
        index = build_index(str(setup.videos), manifest)
        ClipCache(setup.cache, space.cache).fill(index.videos)
    return info


def train_rivals(setup: Setup, base: Path, methods: Sequence[str], session: Session) -> None:
    """Train each rival once with all the passes of a search, and store its result.

    They share the split and the gradient scales of the search in `base`.
    """
    run = RunSpec.of(base, read_run(base))
    context = RunContext.open(run)
    names = context.resolved.terms_by_name
    total = num_passes(setup, setup.case.budget.total)
    specs = []
    for number, method in enumerate(methods):
        chosen = {name: float(method in (EQUAL_WEIGHTS, name)) for name in names}
        active = context.resolved.select(active_weights(context.resolved, chosen))
        steps = round(total / passes_per_step(active))
        spec = long_training_spec(run, number, chosen, steps, setup.method_folder(method))
        specs.append(replace(spec, save_every=None))
    results = run_finals(specs, session, context.space.resources)
    for method, spec, result in zip(methods, specs, results, strict=True):
        encoder = load_encoder_from(checkpoint_folder(spec), context)
        config = EncoderConfig.from_space(context.space, encoder)
        record = {
            "seconds": result.seconds,
            "fitness": result.fitness,
            "steps": spec.steps,
            "scores": grade_encoder(VideoEncoder(encoder, config), setup),
        }
        store(setup, method, record)


def train_supervised(setup: Setup, base: Path) -> dict[str, Any]:
    """Train the network of the search in `base` on the labels, from scratch."""
    began = time.monotonic()
    encoder = load_encoder(base / "winner" / "encoder")
    scores = grade_supervised(encoder, setup)
    return {"seconds": time.monotonic() - began, "scores": scores}


def store(setup: Setup, method: str, record: dict[str, Any]) -> None:
    """Write a method's result."""
    setup.result_file(method).write_text(json.dumps(record), encoding="utf-8")
    found = next(iter(record["scores"]["encoder"].items()))
    accuracy = f"{found[0]} {found[1]['balanced_accuracy']:.3f}"
    print(f"{setup.folder.name}, {method}: {accuracy}, {record['seconds']:.0f} s", flush=True)


def run_setup(setup: Setup, methods: Sequence[str], session: Session) -> None:
    """Run all methods of one case and seed that have no result yet."""
    setup.make_videos()
    for method in methods:
        if not setup.result_file(method).is_file():
            store(setup, method, search(setup, method, session))
    rivals = (EQUAL_WEIGHTS, *setup.case.singles)
    missing = [method for method in rivals if not setup.result_file(method).is_file()]
    if missing:
        train_rivals(setup, setup.method_folder(methods[0]), missing, session)
    if not setup.result_file(SUPERVISED).is_file():
        store(setup, SUPERVISED, train_supervised(setup, setup.method_folder(methods[0])))


def main() -> None:
    """Run every case and seed that has no result yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", default=["motion", "appearance"], choices=CASES)
    parser.add_argument("--seeds", type=int, help="of each case; the default is the case's own")
    parser.add_argument("--methods", nargs="+", default=list(SEARCHES), choices=SEARCHES)
    options = parser.parse_args()
    with ray_session(None, dashboard=False) as session:
        for seed in range(options.seeds or max(case.seeds for case in CASES.values())):
            for name in options.cases:
                if options.seeds or seed < CASES[name].seeds:
                    run_setup(Setup(name, seed, options.out), options.methods, session)


if __name__ == "__main__":
    main()
