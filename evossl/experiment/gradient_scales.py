"""Gradient scales: how strongly each term pulls on its encoders at the initial weights.

g_t = RMS over batches of || d L_t / d theta ||, theta the parameters of the encoders that the term
sees as a student. Measured once a run, with every term on, and shared by all trials. Not the
initial value of the loss: SimSiam's starts on either side of zero: dividing could flip its sign.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.task import Task, Term
from evossl.training.denormals import no_denormals
from evossl.training.gradients import own_gradients
from evossl.training.model import MultiTaskModel
from evossl.training.objective import check_scales
from evossl.types import ClipBatch, Stream

NUM_BATCHES = 4


def measure_scales(
    terms: tuple[Term, ...],
    tasks: Mapping[str, type[Task]],
    space: SearchSpace,
    batches: Iterable[ClipBatch],
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return g of every term, over the first batches at the initial weights.

    Args:
        terms: every term of the run.
        tasks: the catalogue.
        space: as for training.
        batches: the first few of the training, on the device to measure on.
        seed: of the initial weights that all trials share.
        progress: called with (gradients done, gradients in all).

    Raises:
        UserError: a scale that is zero or not finite; a term that no batch had enough valid samples
            for (no sound anywhere, stretches too short).
    """
    squares: dict[str, list[float]] = {term.name: [] for term in terms}
    model: MultiTaskModel | None = None
    for step, clips in enumerate(batches):
        if model is None:
            model = MultiTaskModel(terms, tasks, space, seed).to(clips.frames_BLHWC.device).train()
        with no_denormals():
            for done, (name, square) in enumerate(_squared_norms(model, clips, step), start=1):
                if square is not None:
                    squares[name].append(square)
                if progress:
                    progress(step * len(terms) + done, NUM_BATCHES * len(terms))
    for term in terms:
        if not squares[term.name]:
            raise UserError(_never_valid(term))
    scales = {name: math.sqrt(sum(each) / len(each)) for name, each in squares.items()}
    check_scales(scales)
    return scales


def _squared_norms(
    model: MultiTaskModel, clips: ClipBatch, step: int
) -> Iterator[tuple[str, float | None]]:
    """Squared gradient norm of every term; None of one with too few valid samples in this batch."""
    result = model.losses(clips, step, progress=0.0)
    for name in result.losses:
        if name not in result.seen:
            yield name, None
            continue
        streams = sorted(model.plan.trained(name))
        parameters = [p for s in streams for p in model.encoders[s].parameters()]
        gradients = own_gradients(result.losses[name], parameters)
        yield name, sum(float(g.double().square().sum()) for g in gradients)


def _never_valid(term: Term) -> str:
    """Why a term saw too little, in words, with the remedy."""
    if Stream.AUDIO in term.streams:
        return (
            f"{term.name}: no batch had two clips with sound: these videos have none, or nearly "
            "none; take `audio` out of the space's streams"
        )
    return (
        f"{term.name}: no batch had two clips that are long enough for it: shorten what it asks "
        f"for (tasks.{term.task}.options, clip.frames), raise cache.fps, or take the task out"
    )
