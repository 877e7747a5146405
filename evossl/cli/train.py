"""The verb `train`: one training with given loss weights, without a search."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from evossl.cli.checks import check_space
from evossl.cli.options import (
    COUNT,
    PATH,
    RunOptions,
    data_options,
    device_option,
    pass_options,
    read_space,
    seed_option,
    space_options,
)
from evossl.cli.progress import consecutive_bars, print_message, print_verdict, progress_bar
from evossl.cli.run import check_run_folder, opened_run, prepare_run_videos, run_info
from evossl.cli.teacher import teacher_option, with_teacher
from evossl.errors import RunError, UserError
from evossl.experiment.context import RunContext, RunSpec, pick_device
from evossl.experiment.gradient_scales import measure_run
from evossl.experiment.passes import num_steps
from evossl.experiment.run_folder import RunInfo, write_run
from evossl.experiment.selected_checkpoint import NUM_SCORES, best_step, read_scores
from evossl.experiment.terms import active_weights, term_weights
from evossl.experiment.trial import load_trained, run_trial
from evossl.experiment.trial_spec import TrialResult, TrialSpec, checkpoint_folder
from evossl.experiment.verdict import Verdict, decide_verdict
from evossl.experiment.verdict_scores import (
    gather_evidence,
    score_for_verdict,
    write_verdict,
)
from evossl.experiment.winner import describe_scores, genotype_record, long_training_spec
from evossl.export.encoder_folder import EncoderConfig, export_encoder
from evossl.genes import GeneValue, is_number
from evossl.io.yaml_file import parse_yaml
from evossl.search.genotype import Genotype
from evossl.training.cpu_share import describe_starvation
from evossl.training.history import StepReport
from evossl.training.resolved_space import ResolvedSpace


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Options of `evossl train`."""

    steps: int | None
    weights: Path | None


@click.command()
@data_options
@space_options
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder of the training.")
@click.option(
    "--steps",
    type=COUNT,
    metavar="N",
    show_default="the space's final_steps",
    help="Number of training steps.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    show_default="the space's own; equal weights where the space evolves them",
    help="YAML or JSON file {term: loss weight}, or a run's winner.json, with its genes.",
)
@teacher_option
@device_option
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint in --out.")
@seed_option
@pass_options(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train one encoder with given loss weights.

    Writes the encoder to DIR/encoder. Needs neither Ray nor Optuna.

    Example: evossl train --data DIR --space elo --ignores crop,time --out run
    """
    space = read_space(options.space, options.ignores, {"final_steps": options.steps})
    space = with_teacher(space, options.tasks_folder, options.teacher)
    given = read_weights(options.weights) if options.weights else None
    info = run_info(space, options)
    check_run_folder(info, options)
    device = pick_device(options.device)
    resolved = check_space(space, options.tasks_folder, options.space, device)
    genes = read_genes(options.weights) if options.weights else {}
    if options.weights and given is not None:
        check_weights_fit(options.weights, given, genes, resolved)
    weights = given or Genotype.from_weights(term_weights(resolved)).equal_weights()
    with opened_run(info, options) as stored:
        encoder = _train(stored, options, weights, genes)
    click.echo(f"encoder: {encoder}")


def _train(
    info: RunInfo,
    options: TrainOptions,
    weights: dict[str, float],
    genes: dict[str, GeneValue],
) -> Path:
    """Train, score and export; return the encoder's folder."""
    prepare_run_videos(info, options)
    context = _open_context(info, options.out)
    steps = _num_steps(context, weights, genes)
    spec = long_training_spec(context.run, 0, weights, steps, options.out)
    spec = replace(spec, genes=genes)
    result = _run_with_progress(spec, context)
    if result.fitness is None and not result.at_chance:
        raise RunError(f"the training failed: {result.reason}")
    fitness = context.space.fitness.name
    scored = result.reason if result.fitness is None else f"{result.fitness:.3f} nats ({fitness})"
    print_message(f"fitness on the selection clips: {scored}")
    scores = read_scores(options.out)
    if note := describe_scores(tuple(scores), steps):
        print_message(f"{note[0].upper()}{note[1:]}.")
    best = best_step(scores)
    verdict = _judge(spec, context, best.step if best else steps)
    encoder = load_trained(spec, context).cpu()
    provenance = {"steps": best.step if best else steps, "seed": info.seed}
    config = EncoderConfig.from_space(
        context.space,
        encoder,
        warning=verdict.warning,
        provenance=provenance | genotype_record(spec),
    )
    export_encoder(encoder, options.out / "encoder", config, replace=True)
    return options.out / "encoder"


def _num_steps(
    context: RunContext, weights: Mapping[str, float], genes: Mapping[str, GeneValue]
) -> int:
    budget = context.space.budget
    if budget.final_passes is None:
        return budget.final_steps
    return num_steps(budget.final_passes, context.resolved, weights, genes)


def _judge(spec: TrialSpec, context: RunContext, steps: int) -> Verdict:
    """Compare the trained encoder with the controls; print the verdict and write it."""
    checkpoint = checkpoint_folder(spec)
    with progress_bar("scoring the encoder and the controls") as progress:
        scores = score_for_verdict([("the encoder", checkpoint)], context, progress)
    encoder = scores.encoders[0] if scores.encoders else None
    evidence = gather_evidence(context, NUM_SCORES, steps)
    verdict = decide_verdict(encoder, scores.controls, evidence)
    write_verdict(Path(spec.run.folder), verdict, scores, {"steps": steps})
    print_verdict(verdict)
    return verdict


def _open_context(info: RunInfo, out: Path) -> RunContext:
    """Open the run with its gradient scales, which are measured once and stored in `run.yaml`."""
    context = RunContext.open(RunSpec.of(out, info))
    if info.gradient_scales:
        return context
    with progress_bar("measuring gradient scales") as progress:
        scales = measure_run(context, progress)
    write_run(out, info.with_gradient_scales(scales))
    return context.with_gradient_scales(scales)


def _run_with_progress(spec: TrialSpec, context: RunContext) -> TrialResult:
    """Run the training as a trial, with progress bars and TensorBoard logs in its folder."""
    from torch.utils.tensorboard import SummaryWriter

    skipped: dict[str, int] = {}
    with consecutive_bars() as next_bar, SummaryWriter(f"{spec.folder}/tensorboard") as board:
        progress = next_bar("training")
        was_starved = False

        def on_report(report: StepReport) -> None:
            nonlocal was_starved
            progress(report.step, spec.steps)
            starved = describe_starvation("the training", report.cpu_share)
            if starved and not was_starved:
                print_message(starved)
                was_starved = True
            for name, value in report.loss.items():
                board.add_scalar(f"loss/{name}", value, report.step)
            board.add_scalar("objective", report.total, report.step)
            board.add_scalar("clips_per_second", report.clips_per_second, report.step)
            skipped.update(report.skipped)

        result = run_trial(spec, context, on_report, lambda: next_bar("scoring"))
    num_batches = spec.steps * context.space.training.accumulate
    for term, count in skipped.items():
        print_message(
            f"{term}: was skipped in {count} of {num_batches} batches, in which fewer than two "
            "clips were long enough for it or had sound"
        )
    return result


def read_weights(path: Path) -> dict[str, float]:
    """Return {term: loss weight} from a YAML or JSON file, or from a winner's `winner.json`.

    Raises:
        UserError: the file cannot be read, or is not a mapping of names to numbers.
    """
    raw = _read_file(path)
    if isinstance(raw, dict) and isinstance(raw.get("weights"), dict):
        raw = raw["weights"]
    if not isinstance(raw, dict) or not all(is_number(value) for value in raw.values()):
        raise UserError(
            f"--weights {path}: is not a mapping of terms to numbers; give for example "
            "{simclr.rgb: 0.5}"
        )
    return {str(name): float(value) for name, value in raw.items()}


def read_genes(path: Path) -> dict[str, GeneValue]:
    """Return the genes of a winner's `winner.json`; empty if the file has none.

    Raises:
        UserError: the file cannot be read.
    """
    raw = _read_file(path)
    found = raw.get("genes", {}) if isinstance(raw, dict) and "weights" in raw else {}
    return dict(found) if isinstance(found, dict) else {}


def _read_file(path: Path) -> Any:
    """Return the content of a YAML or JSON file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else parse_yaml(text, f"--weights {path}")
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"--weights {path}: cannot be read: {error}") from error


def check_weights_fit(
    file: Path,
    weights: Mapping[str, float],
    genes: Mapping[str, GeneValue],
    resolved: ResolvedSpace,
) -> None:
    """Refuse loss weights and genes of a file that do not fit the space.

    Raises:
        UserError: weights that are unknown, missing, outside [0, 1], all zero or all pruned; genes
            that the space does not have or does not allow.
    """
    try:
        active_weights(resolved.with_genes(genes), weights)
    except UserError as error:
        raise UserError(f"--weights {file}: {error}") from error
