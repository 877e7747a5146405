"""The multi-task model: sharing views and forward passes changes no loss or gradient."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from evossl.training import model as model_module
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.types import Stream
from tests.helpers.training_cases import SIX, make_clips, make_model, make_space


def gradients(model: MultiTaskModel, total: Tensor) -> dict[str, Tensor]:
    """Gradient of every encoder parameter that has one."""
    model.zero_grad()
    total.backward()
    named = model.encoders.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def test_joint_gradients_are_the_sum_of_separate_ones() -> None:
    space, clips = make_space(), make_clips()
    together = make_model(space)
    losses = together.losses(clips, step=3, progress=0.1).losses
    assert len(losses) == len(SIX)
    summed = gradients(together, sum(losses.values(), start=torch.zeros(())))
    alone: Counter[str] = Counter()
    totals: dict[str, Tensor] = {}
    for name, loss in losses.items():
        single = make_model(space, {name})
        own = single.losses(clips, step=3, progress=0.1).losses
        assert own.keys() == {name}
        torch.testing.assert_close(own[name], loss, rtol=1e-6, atol=1e-7)
        for key, gradient in gradients(single, own[name]).items():
            totals[key] = totals.get(key, torch.zeros_like(gradient)) + gradient
            alone[key] += 1
    assert totals.keys() == summed.keys()
    assert max(alone.values()) > 1, "no encoder is shared: the test would show nothing"
    for key, gradient in summed.items():
        torch.testing.assert_close(totals[key], gradient, rtol=1e-3, atol=1e-5)


def test_another_task_changes_no_loss_or_gradient() -> None:
    space, clips = make_space(), make_clips()
    names = {name for name in make_model(space).plan.views if not name.startswith("order_binary")}
    without, with_it = make_model(space, names), make_model(space)
    before = without.losses(clips, step=0, progress=0.0).losses
    after = with_it.losses(clips, step=0, progress=0.0).losses
    weights = dict.fromkeys(after, 1.0) | {"order_binary.rgb": 1e-9}
    scales = dict.fromkeys(after, 1.0)
    for name in names:
        assert torch.equal(before[name], after[name]), name
    small, _ = Objective(weights, scales).combine(after)
    plain, _ = Objective(dict.fromkeys(names, 1.0), scales).combine(before)
    for (key, a), b in zip(
        gradients(without, plain).items(), gradients(with_it, small).values(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=key)


def test_each_distinct_view_is_built_and_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space, clips = (
        make_space(
            {"simclr": {"places": ["rgb"]}, "multimodal_contrast": {"places": ["rgb+audio"]}}
        ),
        make_clips(),
    )
    model = make_model(space)
    made: list[int] = []
    forwards: Counter[str] = Counter()
    plain = model_module.build_views
    monkeypatch.setattr(
        model_module,
        "build_views",
        lambda views, *a, **k: made.append(len(views)) or plain(views, *a, **k),
    )
    for stream, encoder in model.encoders.items():
        encoder.register_forward_hook(lambda *_, stream=stream: forwards.update([stream]))
    model.losses(clips, step=0, progress=0.0)
    distinct = {view.input_key for views in model.plan.views.values() for view in views.values()}
    assert made == [len(distinct)]
    asked = sum(len(views) for views in model.plan.views.values())
    assert sum(forwards.values()) == len(model.plan.forwards) < asked
    assert forwards["rgb"] == 2, "SimCLR's two strong views; contrast shares one of them"


def test_an_inactive_term_has_no_head_and_no_encoder() -> None:
    model = make_model(make_space(), {"simclr.rgb"})
    assert set(model.encoders) == {"rgb"}
    assert len(model.heads) == 1


def test_initial_weights_do_not_depend_on_other_terms() -> None:
    every, single = make_model(make_space()), make_model(make_space(), {"simclr.rgb"})
    there = every.state_dict()
    for name, value in single.state_dict().items():
        assert torch.equal(there[name], value), name


def test_silent_clips_are_invalid_for_audio_terms_only() -> None:
    space = make_space()
    model = make_model(space)
    result = model.losses(make_clips(silent=2), step=0, progress=0.0)
    assert not result.skipped
    contrast, simclr = result.batches["multimodal_contrast.rgb+audio"], result.batches["simclr.rgb"]
    assert contrast.valid_B.tolist() == [False, False, True, True, True, True]
    assert contrast.video_id_B.tolist() == [2, 3, 4, 5]
    assert all(len(view.pixels) == 4 for view in contrast.views.values())
    assert all(len(view.embedding_BD) == 4 for view in contrast.views.values())
    assert bool(simclr.valid_B.all())


def test_valid_rows_equal_those_of_the_whole_batch() -> None:
    model = make_model(make_space({"multimodal_contrast": {"places": ["rgb+audio"]}})).eval()
    whole = model.losses(make_clips(), step=0, progress=0.0).batches[
        "multimodal_contrast.rgb+audio"
    ]
    part = model.losses(make_clips(silent=2), step=0, progress=0.0).batches[
        "multimodal_contrast.rgb+audio"
    ]
    for name, view in part.views.items():
        torch.testing.assert_close(view.embedding_BD, whole[name].embedding_BD[2:])
        torch.testing.assert_close(view.pixels, whole[name].pixels[2:])
        assert torch.equal(view.applied.start_B, whole[name].applied.start_B[2:])


def test_a_skipped_terms_loss_is_a_zero_that_reaches_its_heads() -> None:
    model = make_model(make_space())
    result = model.losses(make_clips(silent=5), step=0, progress=0.0)
    assert result.skipped == {"multimodal_contrast.rgb+audio"}
    assert result.losses.keys() == model.plan.views.keys()
    loss = result.losses["multimodal_contrast.rgb+audio"]
    assert loss.item() == 0.0
    heads = [p for p in model.task("multimodal_contrast.rgb+audio").parameters() if p.requires_grad]
    if heads:
        loss.backward()
        assert all(p.grad is not None and not p.grad.any() for p in heads)


def test_missing_and_surplus_losses_are_refused() -> None:
    one = {"a": torch.tensor(1.0)}
    with pytest.raises(KeyError, match="expected losses"):
        Objective({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 1.0}).combine(one)
    with pytest.raises(KeyError, match="expected losses"):
        Objective({"a": 1.0}, {"a": 1.0, "b": 1.0}).combine(one | {"b": torch.tensor(1.0)})


def test_the_objective_is_the_weighted_sum_over_scales() -> None:
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(5.0)}
    total, weighted = Objective({"a": 0.25, "b": 0.75}, {"a": 2.0, "b": 0.5}).combine(losses)
    assert total.item() == 3.0 * 0.25 / 2.0 + 5.0 * 0.75 / 0.5
    assert weighted["b"].item() == 7.5


def test_losses_are_a_function_of_seed_and_step() -> None:
    """Randomness is a function of (seed, step): two calls agree, another step does not."""
    model = make_model(make_space({"simclr": {"places": ["rgb"]}})).eval()
    a, b, c = (model.losses(make_clips(), step, 0.0).losses["simclr.rgb"] for step in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_heads_and_losses_stay_in_float32_under_autocast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, where only the encoders run under autocast."""
    monkeypatch.setattr(
        model_module, "_autocast", lambda device: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    model = make_model(make_space())
    inside: list[torch.dtype] = []
    model.encoders["rgb"].register_forward_hook(
        lambda _m, _i, features: inside.append(features.embedding_BD.dtype)
    )
    result = model.losses(make_clips(), step=0, progress=0.0)
    assert set(inside) == {torch.bfloat16}
    views = result.batches["simclr.rgb"].views.values()
    assert all(view.embedding_BD.dtype == torch.float32 for view in views)
    assert all(torch.isfinite(loss) for loss in result.losses.values())


def test_the_rgb_encoder_is_always_built() -> None:
    model = make_model(make_space(), {"arrow_of_time.flow"})
    assert set(model.encoders) == {Stream.RGB, Stream.FLOW}
