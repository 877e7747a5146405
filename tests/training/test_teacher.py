"""Teachers: unfit ones are refused before training, and a teacher stays frozen in training."""

import json
from pathlib import Path

import pytest
import torch

from evossl.cli.checks import check_space
from evossl.config import SearchSpace
from evossl.errors import UserError
from evossl.export.encoder_folder import EncoderConfig, export_encoder, load_encoder
from evossl.models.encoder import build_encoder
from evossl.types import Stream
from tests.helpers.training_cases import make_clips, make_model, make_space, terms_of

TASK = "knowledge_distillation"


def taught_by(folder: object) -> SearchSpace:
    return make_space({TASK: {"teacher": None if folder is None else str(folder)}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder of another backbone and width than the students'."""
    space = make_space(backbone={"name": "c3d", "width": 3})
    encoder = build_encoder(Stream.RGB, space.backbone, seed=7)
    export_encoder(encoder, tmp_path / "encoder", EncoderConfig.from_space(space, encoder))
    return tmp_path / "encoder"


def refusal(space: SearchSpace) -> str:
    with pytest.raises(UserError) as refused:
        check_space(space, None, "space.yaml")
    return str(refused.value)


def test_a_teacher_may_have_any_backbone_and_width(folder: Path) -> None:
    space = taught_by(folder)
    terms = check_space(space, None, "space.yaml").terms
    assert [term.name for term in terms] == [f"{TASK}.rgb.logits", f"{TASK}.rgb.features"]
    model = make_model(space)
    student, teacher = model.encoder(Stream.RGB), load_encoder(folder)
    assert student.shape((3, 8, 32, 32)).width != teacher.config.width
    assert all(torch.isfinite(loss) for loss in model.losses(make_clips(), 0, 0.0).losses.values())


def test_a_missing_teacher_names_the_task_and_the_option() -> None:
    said = refusal(taught_by(None))
    assert said.startswith(f"space.yaml: tasks.{TASK}: needs a pretrained encoder")
    assert "`teacher: FOLDER`" in said
    assert "--teacher FOLDER" in said


def test_a_teacher_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        said = refusal(taught_by(folder))
        assert f"tasks.{TASK}.teacher: {folder}/config.json: cannot be read" in said
        assert "`evossl export`" in said


def test_a_teacher_with_damaged_weights_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert f"tasks.{TASK}.teacher: {weights}: damaged" in refusal(taught_by(folder))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("frames", 16, "the space's clip.frames 8: set clip.frames 16, or use another teacher"),
        ("size", 112, "the space's clip.size 32: set clip.size 112, or"),
        ("fps", 25.0, "the space's cache.fps 12: set cache.fps 25, or"),
        ("mean", [0.5, 0.5, 0.5], "normalised by mean (0.5, 0.5, 0.5) and"),
        ("std", [0.2, 0.3, 0.2], "std (0.2, 0.3, 0.2); evossl's views use"),
    ],
)
def test_a_teacher_of_other_clips_is_refused_with_the_remedy(
    folder: Path, key: str, value: object, said: str
) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: value}))
    message = refusal(taught_by(folder))
    assert f"tasks.{TASK}.teacher: {folder} was trained on " in message
    assert said in message


def test_a_teacher_of_another_width_than_its_config_is_refused(folder: Path) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"width": 7}))
    said = refusal(taught_by(folder))
    assert (
        f"tasks.{TASK}.teacher: {folder}: config.json says width 7, but its backbone returns "
        in said
    )
    assert "export it again, or use another teacher" in said


def test_a_teacher_for_a_task_that_takes_none_is_refused(folder: Path) -> None:
    said = refusal(make_space({"simclr": {"teacher": str(folder)}}))
    assert "tasks.simclr.teacher: simclr takes no teacher; remove the key" in said


def test_a_teacher_is_frozen_and_in_no_checkpoint(folder: Path) -> None:
    """It stays in eval mode: its BatchNorm uses its own statistics, not the batch's."""
    model, alone = make_model(taught_by(folder)), load_encoder(folder)
    result = model.losses(make_clips(), 0, 0.0)
    sum(result.losses.values()).backward()
    seen = result.batches[f"{TASK}.rgb.logits"]["teacher"]
    torch.testing.assert_close(seen.embedding_BD, alone(seen.pixels), rtol=1e-5, atol=1e-5)
    assert not seen.embedding_BD.requires_grad
    names = model.state_dict().keys()
    assert not [name for name in names if name.split(".")[0] not in ("encoders", "heads")]
    assert any(p.grad.abs().sum() > 0 for p in model.encoder(Stream.RGB).parameters())


def test_terms_share_the_teachers_forward_pass(folder: Path) -> None:
    model = make_model(taught_by(folder))
    assert len(model.terms) == len(terms_of(taught_by(folder))) == 2
    assert len(model.plan.inputs) == 1
    assert len(model.plan.forwards) == 2
