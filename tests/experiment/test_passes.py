"""Encoder passes: counted by hand, and against what a training step really forwards."""

from typing import Any

import pytest
from torch import Tensor, nn

from evossl.errors import UserError
from evossl.experiment.passes import num_steps, passes_per_step
from evossl.experiment.trial_spec import TrialSpec, sized
from evossl.training.model import MultiTaskModel
from evossl.training.resolved_space import ResolvedSpace, resolve_space
from tests.helpers.training_cases import make_clips, make_space
from tests.helpers.trial_specs import RUN

RGB_FLOW = ["rgb", "flow"]


def resolved_of(tasks: dict[str, Any], **keys: Any) -> ResolvedSpace:
    small = {"streams": RGB_FLOW, "backbone": {"name": "c3d", "width": 8}}
    return resolve_space(make_space(tasks, **{**small, **keys}))


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({"arrow_of_time": {"places": ["rgb"]}}, 3),
        ({"simclr": {"places": ["rgb"]}}, 2 * 3),
        ({"byol": {"places": ["rgb"]}}, 2 * 3 + 2 * 1),
        ({"multimodal_contrast": {"places": ["rgb+flow"]}}, 2 * 3),
    ],
)
def test_passes_are_those_counted_by_hand(tasks: dict[str, Any], expected: int) -> None:
    assert passes_per_step(resolved_of(tasks)) == expected


def test_shared_views_are_counted_once() -> None:
    both = {"simclr": {"places": ["rgb"]}, "vicreg": {"places": ["rgb"]}}
    assert passes_per_step(resolved_of(both)) == 6


def test_accumulated_batches_are_all_counted() -> None:
    tasks = {"simclr": {"places": ["rgb"]}}
    training = {"batch_size": 4, "accumulate": 3}
    assert passes_per_step(resolved_of(tasks, training=training)) == 18


def test_passes_equal_the_pixels_really_forwarded() -> None:
    tasks = {"dino": {"places": ["rgb"]}, "arrow_of_time": {"places": ["rgb", "flow"]}}
    resolved = resolved_of(tasks)
    model, space = MultiTaskModel(resolved, seed=0), resolved.space
    seen: list[float] = []

    def count(factor: int) -> Any:
        def hook(encoder: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen.append(factor * inputs[0].select(-4, 0).numel())

        return hook

    for encoders, factor in ((model.encoders, 3), (model.momentum, 1)):
        for encoder in encoders.values():
            encoder.register_forward_pre_hook(count(factor))
    clips = make_clips(8)
    model.losses(clips, step=0, progress=0.0)
    full_size = 8 * space.clip.frames * space.clip.size**2
    assert passes_per_step(resolved) == pytest.approx(sum(seen) / full_size)


TWO = {"simclr": {"places": ["rgb"]}, "arrow_of_time": {"places": ["rgb"]}}
EQUAL = {"simclr.rgb": 0.5, "arrow_of_time.rgb": 0.5}
ALONE = {"simclr.rgb": 0.0, "arrow_of_time.rgb": 0.5}


def test_cheap_losses_train_for_more_steps() -> None:
    resolved = resolved_of(TWO)
    assert num_steps(900, resolved, EQUAL) == 900 // (6 + 3)
    assert num_steps(900, resolved, ALONE) == 900 // 3
    assert num_steps(1, resolved, EQUAL) == 1, "at least one"


def test_genes_that_cost_compute_are_counted() -> None:
    training = {"batch_size": 4, "accumulate": {"low": 1, "high": 4}}
    resolved = resolved_of(TWO, training=training)
    steps = [num_steps(360, resolved, EQUAL, {"training.accumulate": n}) for n in (1, 2, 4)]
    assert steps == [40, 20, 10]
    with pytest.raises(UserError, match="accumulate"):
        num_steps(360, resolved, EQUAL, {"training.accumulate": 9})


def test_a_sized_trial_keeps_its_rungs_as_fractions() -> None:
    resolved = resolved_of(TWO, stopping={"rungs": [0.5]})
    template = TrialSpec(0, EQUAL, RUN, 100, log_every=5, rungs=(50,), passes=900)
    assert sized(template, resolved) == template
    alone = sized(TrialSpec(1, ALONE, RUN, 100, log_every=5, rungs=(50,), passes=900), resolved)
    assert (alone.steps, alone.log_every, alone.rungs) == (300, 15, (150,))
    without_active_term = TrialSpec(1, dict.fromkeys(ALONE, 0.0), RUN, 100, passes=900)
    assert sized(without_active_term, resolved) is without_active_term
    prescribed = TrialSpec(1, ALONE, RUN, 100)
    assert sized(prescribed, resolved) is prescribed
