"""Encoder passes: counted by hand, and against what a training step really forwards."""

from typing import Any

import pytest
from torch import Tensor, nn

from evossl.experiment.passes import passes_per_step
from evossl.training.model import MultiTaskModel
from evossl.training.resolved_space import ResolvedSpace, resolve_space
from tests.helpers.training_cases import make_clips, make_space

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
