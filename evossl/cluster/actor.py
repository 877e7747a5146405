"""The Tune trainable: an actor that runs one trial after another in the same, warm process.

A trial reaches the actor as plain data; the actor opens the run and loads the tasks itself.
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

from evossl.cluster.job import describe_exception, set_num_threads
from evossl.errors import RunError
from evossl.experiment.context import RunContext, RunSpec
from evossl.experiment.trial import iterate_trial
from evossl.experiment.trial_spec import RungResult, TrialResult, TrialSpec, rung_indicator
from evossl.io.files import is_disk_full
from evossl.training.cpu_share import describe_starvation
from evossl.training.history import StepReport


class TrialActor(tune.Trainable):
    """Runs the trial `config["trial"]`, a `TrialSpec` as plain data.

    One Tune iteration lasts until the next logged step.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare the process, once. Training begins at the first `step`."""
        share = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
        self._cpus: float = share.get("CPU", 1)
        set_num_threads(self._cpus)
        self._rate = Gauge("evossl_clips_per_second", "Training clips per second of a trial.")
        self._wait = Gauge("evossl_data_wait_share", "Share of its time a trial waits for clips.")
        self._context: RunContext | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self.cleanup()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train until the next logged step, and return it for Tune; at the end, the trial's result.

        Whatever a task, a user's function or a library raises is the trial's own failure, and
        becomes its result. A `RunError` or a full disk is a fault of the machine: it is returned
        as `fault`, and stops the search.
        """
        try:
            report = next(self._steps)
        except StopIteration as stop:
            return final_report(stop.value)
        except torch.AcceleratorError:
            raise  # this process has lost its GPU; Tune retries the trial in a new process
        except Exception as error:  # the outermost frame of a trial
            if isinstance(error, RunError) or is_disk_full(error):
                return {"done": True, "fault": describe_exception(error)}
            seconds = time.monotonic() - self._began
            reason = describe_exception(error)
            return final_report(TrialResult(self._number, None, reason, seconds, {}))
        if isinstance(report, RungResult):
            return rung_report(report, self._num_steps)
        self._rate.set(report.clips_per_second)
        self._wait.set(report.data_wait)
        starved = describe_starvation(f"trial {self._number}", report.cpu_share, self._cpus)
        share = report.step / self._num_steps
        return {"done": False, "share": share, "starved": starved}

    def cleanup(self) -> None:
        """Stop a training that is under way."""
        self._steps.close()

    def _begin(self, config: dict[str, Any]) -> None:
        spec = trial_spec(config["trial"])
        self._number, self._num_steps = spec.number, spec.steps
        self._began = time.monotonic()
        self._steps = self._run(spec)

    def _run(self, spec: TrialSpec) -> Generator[StepReport | RungResult, None, TrialResult]:
        """Run a trial; opens the run's context unless the previous trial was of the same run."""
        if self._context is None or self._context.run != spec.run:
            self._context = RunContext.open(spec.run)
        return (yield from iterate_trial(spec, self._context))


def final_report(result: TrialResult) -> dict[str, Any]:
    """Return what Tune is given at the end of a trial.

    The result is JSON text, because Tune flattens nested dictionaries and would mix up their keys.
    """
    return {"done": True, "result": json.dumps(asdict(result))}


def rung_report(report: RungResult, num_steps: int) -> dict[str, Any]:
    """Return what Tune is given at a rung of a trial of `num_steps` steps.

    The scheduler decides by `rung` and `fitness`; `pruned` is the trial's result if it is stopped.
    """
    result = report.result
    return {
        "done": False,
        "share": report.step / num_steps,
        "number": result.number,
        "rung": rung_indicator(report.rung),
        "fitness": math.inf if result.fitness is None else result.fitness,
        "pruned": json.dumps(asdict(result)),
    }


def trial_spec(plain: dict[str, Any]) -> TrialSpec:
    """Return the `TrialSpec` that `dataclasses.asdict` turned into plain data."""
    return TrialSpec(**plain | {"run": RunSpec(**plain["run"])})
