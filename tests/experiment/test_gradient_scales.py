"""Gradient scales: divided by them, all initial gradients have norm 1."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.experiment.gradient_scales import measure_scales
from evossl.task import Task, TaskBatch
from evossl.task_loader import load_catalogue
from evossl.training.objective import Objective, check_scales
from evossl.training.resolved_space import resolve_with
from evossl.types import ClipBatch
from tests.helpers.training_cases import SIX, make_clips, make_model, make_space


def scales_of(
    space: SearchSpace, batches: list[ClipBatch], tasks: Mapping[str, type[Task]] | None = None
) -> dict[str, float]:
    return measure_scales(resolve_with(space, tasks or load_catalogue()), batches, seed=0)


def norms_after(
    space: SearchSpace, scales: dict[str, float], batches: list[ClipBatch]
) -> dict[str, float]:
    """RMS gradient norm of each term's scaled loss, each in a model of its own."""
    norms = {}
    for name in scales:
        model = make_model(space, {name})
        squares = []
        for step, clips in enumerate(batches):
            losses = model.losses(clips, step, 0.0).losses
            total, _ = Objective({name: 1.0}, scales).combine(losses)
            model.zero_grad()
            total.backward()
            grads = [p.grad for p in model.encoders.parameters() if p.grad is not None]
            squares.append(sum(float(g.double().square().sum()) for g in grads))
        norms[name] = (sum(squares) / len(squares)) ** 0.5
    return norms


def test_scaled_gradient_norms_are_1_on_synthetic_clips() -> None:
    space = make_space()
    batches = [make_clips(seed=seed) for seed in range(4)]
    norms = norms_after(space, scales_of(space, batches), batches)
    assert len(norms) == len(SIX)
    assert all(0.8 < norm < 1.2 for norm in norms.values()), norms


def test_scaled_gradient_norms_are_1_on_real_clips(
    surveillance_clips: Path, tmp_path: Path
) -> None:
    from evossl.data.cache.clip_cache import ClipCache
    from evossl.data.index.index import build_index
    from evossl.data.loader import ClipLoader

    videos = build_index(str(surveillance_clips)).videos[::8]
    space = make_space()
    loader = ClipLoader(
        ClipCache(tmp_path, space.cache), videos, stretch=space.clip.stretch, batch_size=6, seed=0
    )
    batches = [loader.batch(step) for step in range(3)]
    norms = norms_after(space, scales_of(space, batches), batches)
    assert all(0.8 < norm < 1.2 for norm in norms.values()), norms


def test_the_objective_does_not_depend_on_a_losss_unit() -> None:
    space = make_space({"simclr": {"places": ["rgb"]}, "reconstruction": {"places": ["rgb"]}})
    catalogue = dict(load_catalogue())
    plain = catalogue["reconstruction"]

    class Louder(plain):  # type: ignore[misc, valid-type]
        def loss(self, seen: TaskBatch) -> Tensor:
            return 1000 * super().loss(seen)

    batches = [make_clips()]
    louder = catalogue | {"reconstruction": Louder}
    quiet_scales, loud_scales = scales_of(space, batches), scales_of(space, batches, louder)
    name = "reconstruction.rgb"
    assert loud_scales[name] == pytest.approx(1000 * quiet_scales[name], rel=1e-4)
    assert loud_scales["simclr.rgb"] == pytest.approx(quiet_scales["simclr.rgb"], rel=1e-6)
    losses = make_model(space).losses(batches[0], 0, 0.0).losses
    weights = {"simclr.rgb": 0.5, name: 0.5}
    quiet, _ = Objective(weights, quiet_scales).combine(losses)
    loud, _ = Objective(weights, loud_scales).combine(losses | {name: 1000 * losses[name]})
    torch.testing.assert_close(quiet, loud, rtol=1e-4, atol=0)


def test_a_loss_without_encoder_gradient_is_refused_by_name() -> None:
    class Deaf(Task):
        places = load_catalogue()["simclr"].places

        def views(self) -> dict[str, object]:  # type: ignore[override]
            return dict(load_catalogue()["simclr"](self.place).views())

        def loss(self, seen: TaskBatch) -> Tensor:
            return next(iter(seen.views.values())).embedding_BD.detach().sum() * 0.0

    space = make_space({"simclr": {"places": ["rgb"]}})
    with pytest.raises(UserError, match=r"simclr\.rgb: the norm of its gradient .* is 0\.0"):
        scales_of(space, [make_clips()], {"simclr": Deaf})


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_scales_that_are_zero_or_not_finite_are_refused(scale: float) -> None:
    with pytest.raises(UserError, match="simclr"):
        check_scales({"fine": 1.0, "simclr.rgb": scale})


def test_videos_without_sound_are_refused_by_term() -> None:
    space = make_space({"multimodal_contrast": {"places": ["rgb+audio"]}})
    with pytest.raises(UserError, match=r"multimodal_contrast\.rgb\+audio.*remove `audio`"):
        scales_of(space, [make_clips(silent=6)])
