"""Scores of trained encoders and of the controls on the verdict set, which is used only here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from evossl.errors import UserError
from evossl.experiment.context import RunContext
from evossl.experiment.controls import control_features
from evossl.experiment.held_out import held_out_features
from evossl.experiment.run_folder import VERDICT_FILE
from evossl.experiment.trial import load_encoder_from
from evossl.experiment.verdict import Evidence, Verdict, VerdictScore
from evossl.fitness import custom
from evossl.fitness.features import ScoringFeatures
from evossl.fitness.score import score
from evossl.io.files import write_json
from evossl.search.table import ControlKind
from evossl.types import Progress

NUM_RANDOM_INITS = 16  # with 5, the bar of a search of 128 trials would be out of reach
NUM_CONTROLS = NUM_RANDOM_INITS + 3


@dataclass(frozen=True)
class VerdictScores:
    """Scores on the verdict set; empty without one.

    Attributes:
        encoders: of the trained encoders, in the order given.
        controls: of the controls.
    """

    encoders: tuple[VerdictScore, ...] = ()
    controls: tuple[VerdictScore, ...] = ()


def score_for_verdict(
    checkpoints: Sequence[tuple[str, Path]], context: RunContext, progress: Progress | None = None
) -> VerdictScores:
    """Return the scores of trained encoders and of the controls on the verdict set.

    Args:
        checkpoints: (name of the encoder, folder of its checkpoint).
        context: of the run.
        progress: called with (encoders and controls scored, their number).
    """
    held_out = context.data.verdict
    if held_out is None:
        return VerdictScores()
    total = len(checkpoints) + NUM_CONTROLS

    def encoders() -> Iterator[tuple[str, ControlKind | None, ScoringFeatures]]:
        for name, folder in checkpoints:
            encoder: nn.Module = load_encoder_from(folder, context)
            features = held_out_features(encoder, context, held_out, with_shuffled=False)
            yield name, None, features
        for control in control_features(context, held_out, NUM_RANDOM_INITS, with_shuffled=False):
            yield control.name, control.kind, control.features

    found: list[VerdictScore] = []
    for name, kind, features in encoders():
        found.append(_scored(name, kind, features, context))
        if progress:
            progress(len(found), total)
    split = len(checkpoints)
    return VerdictScores(tuple(found[:split]), tuple(found[split:]))


def _scored(
    name: str, kind: ControlKind | None, features: ScoringFeatures, context: RunContext
) -> VerdictScore:
    try:
        found = score(features, context.space.fitness, context.run.seed, with_indicators=False)
    except UserError as error:  # the user's own fitness function failed on these features
        return VerdictScore(name, None, str(error), kind=kind)
    return VerdictScore(name, found.fitness, found.reason, found.lower_bound, kind)


def gather_evidence(context: RunContext, num_compared: int, steps: int) -> Evidence:
    """Return what a verdict of this run rests on; see `Evidence`."""
    data, fitness = context.data, context.space.fitness
    return Evidence(
        num_clips=len(data.verdict.videos) if data.verdict else 0,
        num_videos=data.num_videos,
        num_compared=num_compared,
        steps=steps,
        least_fitness=None if custom.is_path(fitness.name) else 0.0,
    )


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain data, with its sentences."""
    return asdict(verdict) | {"line": verdict.line, "warning": verdict.warning}


def write_verdict(
    folder: Path, verdict: Verdict, scores: VerdictScores, identity: Mapping[str, Any]
) -> None:
    """Write `verdict.json`: the verdict, every score that it rests on, and what was scored.

    Raises:
        RunError: the disk is full.
    """
    record = {"scored": dict(identity), "scores": asdict(scores)} | verdict_record(verdict)
    write_json(folder / VERDICT_FILE, record)


def read_scores(folder: Path, identity: Mapping[str, Any]) -> VerdictScores | None:
    """Return the scores in `verdict.json` if they are of the same encoders, else None."""
    try:
        record = json.loads((folder / VERDICT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("scored") != json.loads(json.dumps(identity)):
        return None
    scores = record["scores"]
    return VerdictScores(_from_records(scores["encoders"]), _from_records(scores["controls"]))


def _from_records(records: Sequence[Mapping[str, Any]]) -> tuple[VerdictScore, ...]:
    return tuple(VerdictScore(**record) for record in records)
