"""The Tune trainable: a warm actor that runs one trial after another.

Only plain data reaches it; it loads the catalogue and opens the data itself, once.
"""

import json
import math
import time
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import ray
import torch
from ray import tune
from ray.util.metrics import Gauge

from evossl.cluster.job import in_words, take_threads
from evossl.errors import RunError
from evossl.experiment.context import RunSpec
from evossl.experiment.trial import (
    RungResult,
    TrialResult,
    TrialSpec,
    iterate_trial,
    rung_indicator,
)
from evossl.io.files import is_full
from evossl.training.history import StepReport


class TrialActor(tune.Trainable):
    """Runs `config["trial"]` (a `TrialSpec` as plain data), one Tune iteration a logged step."""

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the process once; the first trial begins at the first `step`."""
        share = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
        take_threads(share.get("CPU", 1))
        self._rate = Gauge("evossl_clips_per_second", "Training clips a second of a trial.")
        self._wait = Gauge("evossl_data_wait_share", "Share of a trial's time waiting for clips.")
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trial in the same, warm process."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train on to the next logged step, or give the trial's result.

        What a task, a user's function or a library raises is the trial's own failure. A `RunError`
        or a full disk is the machine's: it is handed over as `fault`, and stops the search.
        """
        try:
            report = next(self._steps)
        except StopIteration as stop:
            return _ended(stop.value)
        except torch.AcceleratorError:
            raise  # this process's GPU context is lost: Tune tries again in another process
        except Exception as error:  # the outermost frame of a trial
            if isinstance(error, RunError) or is_full(error):
                return {"done": True, "fault": in_words(error)}
            seconds = time.monotonic() - self._began
            return _ended(TrialResult(self._number, None, in_words(error), seconds, {}))
        if isinstance(report, RungResult):
            return _at_rung(report)
        self._rate.set(report.clips_per_second)
        self._wait.set(report.data_wait)
        return {"done": False, "steps": report.step}

    def cleanup(self) -> None:
        """Stop a training that is under way."""
        self._steps.close()

    def _begin(self, config: dict[str, Any]) -> None:
        spec = trial_spec(config["trial"])
        self._number = spec.number
        self._began = time.monotonic()
        self._steps: Generator[StepReport | RungResult, None, TrialResult] = iterate_trial(spec)


def _ended(result: TrialResult) -> dict[str, Any]:
    """As text: Tune flattens nested results, and would lose which key was whose."""
    return {"done": True, "result": json.dumps(asdict(result))}


def _at_rung(report: RungResult) -> dict[str, Any]:
    """What the scheduler decides on, and what the searcher is told should it cut the trial."""
    result = report.result
    return {
        "done": False,
        "steps": report.step,
        "number": result.number,
        "rung": rung_indicator(report.rung),
        "fitness": math.inf if result.fitness is None else result.fitness,
        "cut": json.dumps(asdict(result)),
    }


def trial_spec(plain: dict[str, Any]) -> TrialSpec:
    """Return the `TrialSpec` that `asdict` made plain."""
    return TrialSpec(**plain | {"run": RunSpec(**plain["run"])})
