"""The verb train: one training under given loss weights, without a search."""

import json
from dataclasses import replace
from pathlib import Path

import click

from evossl.cli.checks import (
    check_given_weights,
    check_out_folder,
    check_source,
    check_space,
    finds_run,
)
from evossl.cli.data import prepare_videos
from evossl.cli.options import (
    data_options,
    device_option,
    resolve_space,
    resume_command,
    run_info,
    seed_option,
    space_options,
)
from evossl.cli.progress import bar, phases, say
from evossl.cli.teacher import teacher_option, with_teacher
from evossl.errors import RunError, UserError
from evossl.experiment.context import RunSpec, measure_run, pick_device
from evossl.experiment.run_folder import (
    RunInfo,
    check_same_run,
    open_run,
    removed_if_refused,
    write_run,
)
from evossl.experiment.terms import term_weights
from evossl.experiment.trial import TrialSpec, load_trained, run_trial
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.io.yaml_file import parse_yaml
from evossl.search.genotype import Genotype
from evossl.training.history import StepReport

SAVES = 10  # checkpoints over a training


@click.command()
@data_options
@space_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The training's folder."
)
@click.option("--steps", type=click.IntRange(1), help="Default: the space's final_steps.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="YAML or JSON, {term: weight}; default: the fixed ones, equal ones where they evolve.",
)
@teacher_option
@device_option
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@seed_option
def train(
    data: str,
    cache: Path | None,
    workers: int,
    space: str,
    ignores: str | None,
    tasks_folder: Path | None,
    out: Path,
    steps: int | None,
    weights: Path | None,
    teacher: Path | None,
    device: str | None,
    resume: bool,
    seed: int,
) -> None:
    """Train one encoder under given loss weights; needs neither ray nor optuna.

    Example: evossl train --data DIR --space elo --ignores crop,time --out run
    """
    chosen = resolve_space(space, ignores, {"final_steps": steps})
    chosen = with_teacher(chosen, tasks_folder, teacher)
    check_out_folder(out)
    info = run_info(chosen, data, seed, cache, tasks_folder, device)
    resume = resume and finds_run(out)
    if resume:
        check_same_run(out, info)
    terms = check_space(chosen, tasks_folder, space, pick_device(device))
    lambdas = Genotype.of(term_weights(chosen, terms)).equal_weights()
    if weights:
        lambdas = read_weights(weights)
        check_given_weights(weights, lambdas, chosen, terms, tasks_folder)
    if not resume:
        check_source(data)
    info = open_run(out, info, resume)
    try:
        with removed_if_refused(out, resume):
            encoder = _train(info, out, lambdas, workers, resume)
    except KeyboardInterrupt:
        say(f"\nstopped. Go on from the last checkpoint with:\n  {resume_command()}")
        raise
    click.echo(f"encoder: {encoder}")


def _train(info: RunInfo, out: Path, weights: dict[str, float], workers: int, resume: bool) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    space = info.parsed_space()
    manifest, cache = out / "manifest.parquet", Path(info.cache)
    prepare_videos(info.data, manifest, cache, space, workers, begun=bool(info.scales))
    run = RunSpec.of(out, info)
    if not info.scales:
        with bar("measuring gradient scales") as advance:
            info = info.with_scales(measure_run(run, advance))
        write_run(out, info)
    run = replace(run, scales=info.scales)
    steps = space.budget.final_steps
    spec = TrialSpec(
        0, weights, run, steps, folder=str(out), resume=resume, save_every=max(1, steps // SAVES)
    )
    with phases() as phase, SummaryWriter(str(out / "tensorboard")) as board:
        advance = phase("training")
        skipped: dict[str, int] = {}

        def on_report(report: StepReport) -> None:
            advance(report.step, steps)
            for name, value in report.loss.items():
                board.add_scalar(f"loss/{name}", value, report.step)
            board.add_scalar("objective", report.total, report.step)
            board.add_scalar("clips_per_second", report.clips_per_second, report.step)
            skipped.update(report.skipped)

        result = run_trial(spec, on_report, lambda: phase("scoring"))
    if result.fitness is None:
        raise RunError(f"the training failed: {result.reason}")
    for term, num in skipped.items():
        say(
            f"{term}: nothing to learn from in {num} batches of {steps * space.training.accumulate}"
            ": fewer than two of their clips were long enough for it, or had sound"
        )
    say(f"fitness {result.fitness:.3f} nats ({space.fitness.name})")
    encoder = load_trained(spec).cpu()
    provenance = {"steps": steps, "seed": info.seed, "weights": weights}
    config = EncoderConfig.of(space, encoder, provenance=provenance)
    export_encoder(encoder, out / "encoder", config, replace=True)
    return out / "encoder"


def read_weights(path: Path) -> dict[str, float]:
    """Return {term: weight} of a YAML or JSON file, or of a winner's `winner.json`.

    Raises:
        UserError: no such file, or not a mapping of names to numbers.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else parse_yaml(text, f"--weights {path}")
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"--weights {path}: cannot be read: {error}") from error
    if isinstance(raw, dict) and isinstance(raw.get("weights"), dict):
        raw = raw["weights"]
    if not isinstance(raw, dict) or not all(_is_number(v) for v in raw.values()):
        raise UserError(f"--weights {path}: needs a mapping of terms to numbers, simclr.rgb: 0.5")
    return {str(name): float(value) for name, value in raw.items()}


def _is_number(value: object) -> bool:
    """YAML's `true` is an int to Python, not a weight to anyone."""
    return isinstance(value, int | float) and not isinstance(value, bool)
