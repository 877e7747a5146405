"""Gradient scales: the strength of each term's gradient at the initial weights.

g_t = RMS over batches of || d L_t / d theta ||, where theta are the parameters of the encoders that
the term trains. Measured once per run with all terms active, and shared by all trials. Initial
losses would not do: SimSiam's starts on either side of zero, so dividing by it could flip its sign.
"""

import math
from collections.abc import Iterable, Iterator

from evossl.errors import UserError
from evossl.experiment.context import RunContext
from evossl.task import Term
from evossl.training.denormals import flush_denormals
from evossl.training.gradients import gradients_of
from evossl.training.memory_use import OUT_OF_MEMORY, is_out_of_memory
from evossl.training.model import MultiTaskModel
from evossl.training.objective import check_scales
from evossl.training.resolved_space import ResolvedSpace
from evossl.types import ClipBatch, Progress, Stream

NUM_BATCHES = 4


def measure_run(context: RunContext, progress: Progress | None = None) -> dict[str, float]:
    """Return the gradient scale of every term of a run, at the weights that all trials share.

    All scales are 1 if the space says `normalize: none`.

    Raises:
        UserError: as `measure_scales`; a step that needs more memory than there is.
    """
    if context.space.training.normalize == "none":
        return {term.name: 1.0 for term in context.resolved.terms}
    loader = context.data.train
    batches = (loader.batch(step).to(context.device) for step in range(NUM_BATCHES))
    try:
        return measure_scales(context.resolved, batches, seed=context.run.seed, progress=progress)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"a training step of all tasks runs {OUT_OF_MEMORY}") from error


def measure_scales(
    resolved: ResolvedSpace,
    batches: Iterable[ClipBatch],
    *,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Return the gradient scale of every term over the given batches.

    Args:
        resolved: the space with all of its terms.
        batches: the training's first few, on the device to measure on.
        seed: of the initial weights that all trials share.
        progress: called with (gradients computed, gradients in total).

    Raises:
        UserError: a scale that is zero or not finite; a term for which no batch had enough valid
            samples (no sound, or clips that are too short).
    """
    terms = resolved.terms
    squares: dict[str, list[float]] = {term.name: [] for term in terms}
    model: MultiTaskModel | None = None
    for step, clips in enumerate(batches):
        if model is None:
            model = MultiTaskModel(resolved, seed).to(clips.frames_BLHWC.device).train()
        with flush_denormals():
            for done, (name, square) in enumerate(_squared_norms(model, clips, step), start=1):
                if square is not None:
                    squares[name].append(square)
                if progress:
                    progress(step * len(terms) + done, NUM_BATCHES * len(terms))
    for term in terms:
        if not squares[term.name]:
            raise UserError(_never_valid(term))
    scales = {name: math.sqrt(sum(values) / len(values)) for name, values in squares.items()}
    check_scales(scales)
    return scales


def _squared_norms(
    model: MultiTaskModel, clips: ClipBatch, step: int
) -> Iterator[tuple[str, float | None]]:
    """Each term's squared gradient norm, or None if the batch has too few valid samples for it."""
    batch = model.losses(clips, step, progress=0.0)
    for name in batch.losses:
        if name in batch.skipped:
            yield name, None
            continue
        streams = sorted(model.plan.student_streams(name))
        parameters = [p for s in streams for p in model.encoders[s].parameters()]
        gradients = gradients_of(batch.losses[name], parameters)
        yield name, sum(float(g.double().square().sum()) for g in gradients)


def _never_valid(term: Term) -> str:
    """Why no batch was valid for a term, with the remedy."""
    if Stream.AUDIO in term.streams:
        return (
            f"{term.name}: no batch had two clips with sound: the videos have hardly any; remove "
            "`audio` from the space's streams"
        )
    return (
        f"{term.name}: no batch had two clips that are long enough for it: let it need fewer "
        f"frames (tasks.{term.task}.options, clip.frames), raise cache.fps, or remove the task"
    )
