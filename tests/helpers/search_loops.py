"""Searches without training, whose fitness is a function of trial number and weights."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evossl.search.genotype import Genotype
from evossl.search.proposal import Proposal
from evossl.search.study import Study

ROOT = Path(__file__).parents[2]
GENOTYPE = Genotype(
    bounds={
        "simclr.rgb": (0.0, 1.0),
        "order.rgb": (0.0, 1.0),
        "audio_visual_alignment.rgb+audio": (0.2, 0.9),
        "distill.flow->rgb.stage3": (0.0, 0.4),
    },
    fixed={"reconstruction.gray": 0.25},
)


def benchmark() -> ModuleType:
    """Return the simulated search of benchmarks/sampler_comparison.py."""
    name, path = "sampler_comparison", ROOT / "benchmarks" / "sampler_comparison.py"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def fitness(number: int, weights: Mapping[str, float]) -> float:
    """Return the squared distance from 0.3, plus noise that depends on the number only."""
    noise = np.random.default_rng([7, number]).normal()
    return sum((weight - 0.3) ** 2 for weight in weights.values()) + 0.05 * float(noise)


def tell(study: Study, proposal: Proposal, **changes: Any) -> None:
    """Tell the study the fitness of a proposal; every seventh trial fails."""
    failed = proposal.number % 7 == 6
    told: dict[str, Any] = {
        "status": "failed" if failed else "complete",
        "fitness": None if failed else fitness(proposal.number, proposal.weights),
        "reason": "loss is nan" if failed else None,
        "seconds": 1.5,
        "indicators": {"kl": 0.5 * proposal.number},
    }
    study.tell(proposal.number, **(told | changes))


def run(study: Study, until: int) -> None:
    """Ask and tell one trial at a time until `until` trials have a result."""
    while sum(row.status not in ("running", "control") for row in study.rows()) < until:
        tell(study, study.ask())
