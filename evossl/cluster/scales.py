"""The gradient scales of a run: measured once, on a worker, and stored in `run.yaml`."""

from pathlib import Path

from evossl.cluster.job import run_in_context
from evossl.cluster.search_job import Reporter
from evossl.cluster.session import Session
from evossl.experiment.context import RunSpec
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.run_folder import RunInfo, write_run


def with_gradient_scales(
    folder: Path, info: RunInfo, session: Session, reporter: Reporter
) -> RunInfo:
    """Return `info` with the gradient scales; measures them once and stores them in `run.yaml`.

    Raises:
        UserError: a term has no gradient.
        RunError: the disk is full.
    """
    if info.gradient_scales:
        return info
    resources = session.divide_cpus(info.parsed_space.resources, num_jobs=1)
    run = RunSpec.of(folder, info)
    with reporter.progress_bar("measuring each loss's gradient scale") as progress:
        scales = run_in_context(measure_run, resources, run, progress=progress)
    info = info.with_gradient_scales(scales)
    write_run(folder, info)
    return info
