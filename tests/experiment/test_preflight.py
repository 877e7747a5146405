"""Preflight: spaces whose first step would fail are refused by name, with the remedy."""

import re

import pytest
import torch

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.experiment import preflight as preflight_module
from evossl.experiment.preflight import preflight
from evossl.training.resolved_space import resolve_space
from tests.helpers.training_cases import make_space

CPU = torch.device("cpu")


def refusal(space: SearchSpace, device: torch.device | None = CPU) -> str | None:
    try:
        preflight(resolve_space(space), device)
    except UserError as error:
        return str(error)
    return None


def space_of(batch: int, **tasks: object) -> SearchSpace:
    keys = {"streams": ["rgb"], "backbone": {"name": "c3d", "width": 8}}
    return make_space(tasks, training={"batch_size": batch}, **keys)


def needed(space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> float:
    """Megabytes that a step needs, from the refusal on a machine without memory."""
    monkeypatch.setattr(preflight_module, "GB", 1e6)
    monkeypatch.setattr(
        preflight_module, "free_memory", lambda device: 0 if device is CPU else 10**12
    )
    monkeypatch.setattr(preflight_module, "_check_encoder_weights", lambda *_: None)
    check = preflight_module._check_state
    monkeypatch.setattr(preflight_module, "_check_state", lambda plan, free: check(plan, 10**12))
    found = re.search(r"a step needs at least ([\d.]+) GB", refusal(space) or "")
    assert found
    return float(found[1])


def test_too_much_memory_is_refused_by_the_largest_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight_module, "free_memory", lambda device: 10**9)
    many = {"reconstruction": {}, "dino": {"options": {"local_crops": 100}}}
    said = refusal(space_of(4096, **many))
    assert said
    assert said.startswith("training.batch_size: 4096: a step needs at least ")
    assert "1.0 GB are free" in said
    assert said.endswith("is for the views of tasks.dino")
    lower = re.search(r"lower training.batch_size to (\d+), clip.size", said)
    assert lower
    assert refusal(space_of(int(lower[1]), **many)) is None
    assert refusal(space_of(int(lower[1]) + 1, **many))


@pytest.mark.parametrize(
    ("task", "options"), [("svt", {"prototypes": 2**20}), ("dino", {"prototypes": 2**20})]
)
def test_heads_that_do_not_fit_are_refused_by_their_options(
    task: str, options: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DINO's last layer with optimiser states and the momentum copy needs 4.3 GB."""
    monkeypatch.setattr(preflight_module, "free_memory", lambda device: 4 * 10**9)
    said = refusal(space_of(4, simclr={}, **{task: {"options": options}}))
    assert said
    assert said.startswith(f"tasks.{task}.options: {options}: weights, queues ")
    assert "4.0 GB are free" in said


def test_the_memory_of_another_machine_is_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preflight_module, "free_memory", lambda device: 10**9)
    assert refusal(space_of(10**9, simclr={}), device=None) is None


def test_memory_grows_with_views_and_batch_not_with_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = needed(space_of(512, simclr={}), monkeypatch)
    both = needed(space_of(512, simclr={}, barlow_twins={}), monkeypatch)
    more = needed(space_of(512, simclr={"options": {"rho": 4}}), monkeypatch)
    assert alone < both < 1.05 * alone  # the other head
    assert 1.9 * alone < more < 2.1 * alone
    assert needed(space_of(1024, simclr={}), monkeypatch) == pytest.approx(2 * alone, rel=0.05)


def test_views_equal_after_stride_resolution_count_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tempo's slow clip equals SimCLR's first view."""
    simclr = needed(space_of(512, simclr={}), monkeypatch)
    tempo = needed(space_of(512, tempo={}), monkeypatch)
    both = needed(space_of(512, simclr={}, tempo={}), monkeypatch)
    assert both == pytest.approx(simclr / 2 + tempo, rel=0.02)


@pytest.mark.parametrize("width", [10**6, 10**9])
def test_a_huge_backbone_is_refused_before_heads_are_built(width: int) -> None:
    said = refusal(make_space({"byol": {}}, backbone={"name": "r2plus1d", "width": width}))
    assert said
    assert said.startswith(f"backbone.width: {width}: ")
    assert said.endswith("lower it")


def test_a_refused_view_is_named_as_its_task_names_it() -> None:
    said = refusal(make_space({"multimodal_contrast": {}}, clip={"frames": 1, "size": 32}))
    assert said
    assert "multimodal_contrast.rgb+flow: view 'flow' has one frame" in said
