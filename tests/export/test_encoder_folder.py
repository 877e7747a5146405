"""Encoder folders are written completely or not at all, load exactly, and report damage."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import evossl
from evossl.config import Backbone, SearchSpace
from evossl.errors import RunError, UserError
from evossl.export.encoder_folder import EncoderConfig, export_encoder, load_encoder
from evossl.models.encoder import Encoder, build_encoder
from evossl.types import Stream

Draw = Callable[..., Tensor]


def edit(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("shape", [(1, 3, 8, 32, 32), (2, 3, 4, 48, 40), (1, 3, 16, 112, 64)])
def test_a_loaded_encoder_returns_identical_outputs(
    shape: tuple[int, ...], rgb: Encoder, folder: Path, draw: Draw
) -> None:
    x = draw(*shape)
    loaded, wanted = load_encoder(folder), rgb.eval()(x)
    assert torch.equal(loaded(x), wanted.embedding_BD)
    assert loaded(x).shape == (shape[0], loaded.config.width)
    stages = loaded.stages(x)
    assert stages.keys() == wanted.maps.keys() == loaded.config.stages.keys()
    assert all(torch.equal(stages[name], wanted.maps[name]) for name in stages)
    assert {name: map_.shape[1] for name, map_ in stages.items()} == loaded.config.stages


def test_an_encoder_for_inference_returns_the_same_features(folder: Path, draw: Draw) -> None:
    loaded, x = load_encoder(folder).train(), draw(2, 3, 8, 32, 32)
    statistics = {name: buffer.clone() for name, buffer in loaded.named_buffers()}
    fast = loaded.for_inference()
    found, stages = fast(x), fast.stages(x)
    assert loaded.training, "the encoder itself can still be trained"
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in loaded.named_buffers())
    wanted = loaded.eval()(x).detach()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.std()))
    assert stages.keys() == loaded.config.stages.keys()
    assert not found.requires_grad
    assert not any(isinstance(part, torch.nn.BatchNorm3d) for part in fast.modules())


def test_evossl_load_encoder_returns_it_in_eval_mode(folder: Path) -> None:
    encoder = evossl.load_encoder(str(folder))
    assert not any(part.training for part in encoder.modules())
    assert all(p.requires_grad and p.device.type == "cpu" for p in encoder.parameters())


def test_depth_18_and_channels_last_weights_are_loaded(
    tmp_path: Path, space: SearchSpace, draw: Draw
) -> None:
    backbone = Backbone(depth=18, width=8)
    encoder = build_encoder(Stream.RGB, backbone, 0).to(memory_format=torch.channels_last_3d)
    config = EncoderConfig.from_space(space.model_copy(update={"backbone": backbone}), encoder)
    export_encoder(encoder, tmp_path / "e", config)
    loaded = load_encoder(tmp_path / "e")
    weights = loaded.encoder.state_dict()
    assert all(torch.equal(t, weights[name]) for name, t in encoder.state_dict().items())


def test_the_config_records_the_choices_of_the_space(folder: Path, space: SearchSpace) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["backbone"] == {"name": "r2plus1d", "depth": 50, "width": 8}
    assert (config["frames"], config["size"]) == (space.clip.frames, space.clip.size)
    assert (config["fps"], config["short_side"]) == (space.cache.fps, space.cache.short_side)
    assert config["ignores"] == ["crop", "time"]
    assert config["evossl_version"] == evossl.__version__
    assert config["stages"] == {"stage1": 32, "stage2": 64, "stage3": 128, "stage4": 256}
    assert config["width"] == 256


def test_loading_does_not_change_the_random_state(folder: Path) -> None:
    before = torch.get_rng_state()
    load_encoder(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_imports_neither_ray_nor_optuna(folder: Path) -> None:
    code = (
        "import sys, evossl; assert 'torch' not in sys.modules; "
        f"encoder = evossl.load_encoder({str(folder)!r}); "
        "import numpy; encoder(encoder.preprocess(numpy.zeros((9, 40, 60, 3), numpy.uint8))); "
        "found = {'ray', 'optuna', 'cmaes', 'click', 'sklearn'} & set(sys.modules); "
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stored_warning_is_issued_on_load(
    tmp_path: Path, rgb: Encoder, space: SearchSpace, folder: Path
) -> None:
    config = EncoderConfig.from_space(
        space, rgb, warning="the winner is no better than the controls"
    )
    export_encoder(rgb, tmp_path / "warned", config)
    with pytest.warns(UserWarning, match="no better than the controls") as caught:
        load_encoder(tmp_path / "warned")
    assert caught[0].filename == __file__  # the caller of load_encoder
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_encoder(folder)


def test_provenance_is_loaded_as_it_was_written(
    tmp_path: Path, rgb: Encoder, space: SearchSpace
) -> None:
    provenance = {"trial": 3, "weights": {"simclr.rgb": 0.5}, "run": "runs/a"}
    export_encoder(rgb, tmp_path / "e", EncoderConfig.from_space(space, rgb, provenance=provenance))
    assert load_encoder(tmp_path / "e").config.provenance == provenance


def test_a_folder_with_files_is_not_overwritten(
    tmp_path: Path, folder: Path, rgb: Encoder, space: SearchSpace
) -> None:
    config, before = EncoderConfig.from_space(space, rgb), contents(folder)
    with pytest.raises(UserError, match="holds an encoder; replace it"):
        export_encoder(rgb, folder, config)
    assert contents(folder) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (folder / "notes.txt").write_text("mine too")
    for other in (tmp_path / "notes", folder):
        with pytest.raises(UserError, match="holds other files"):
            export_encoder(rgb, other, config, replace=True)
    assert (folder / "notes.txt").read_text() == "mine too"
    with pytest.raises(UserError, match="this is a file"):
        export_encoder(rgb, folder / "notes.txt", config, replace=True)


def test_export_can_replace_an_encoder_or_fill_an_empty_folder(
    tmp_path: Path, folder: Path, space: SearchSpace
) -> None:
    other = build_encoder(Stream.RGB, space.backbone, seed=7)
    (tmp_path / "empty").mkdir()
    for place, replace in ((folder, True), (tmp_path / "empty", False)):
        export_encoder(other, place, EncoderConfig.from_space(space, other), replace=replace)
        weights = load_encoder(place).encoder.state_dict()
        assert all(torch.equal(t, weights[name]) for name, t in other.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "encoder"]  # no temporary files


def test_a_failed_write_leaves_the_old_encoder(
    folder: Path, rgb: Encoder, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    before = contents(folder)
    monkeypatch.setattr("evossl.export.encoder_folder.save_file", full)
    with pytest.raises(RunError, match="the disk is full"):
        export_encoder(rgb, folder, EncoderConfig.from_space(space, rgb), replace=True)
    with pytest.raises(RunError, match="the disk is full"):
        export_encoder(rgb, folder.with_name("new"), EncoderConfig.from_space(space, rgb))
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["encoder"]


def test_a_failed_rename_restores_the_old_encoder(
    folder: Path, rgb: Encoder, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = contents(folder), Path.rename

    def fail_for_the_new_folder(source: Path, target: Path) -> Path:
        if source.name.endswith(".tmp"):
            raise OSError(5, "Input/output error")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_folder)
    with pytest.raises(RunError, match="Input/output error"):
        export_encoder(rgb, folder, EncoderConfig.from_space(space, rgb), replace=True)
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["encoder"]


def test_weights_that_are_not_finite_are_not_exported(
    tmp_path: Path, rgb: Encoder, space: SearchSpace
) -> None:
    config = EncoderConfig.from_space(space, rgb)
    next(rgb.parameters()).data[0] = float("nan")
    with pytest.raises(RunError, match=r"network\.stem\.conv\.weight has values"):
        export_encoder(rgb, tmp_path / "e", config)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/config\.json: cannot be read"):
        load_encoder(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        load_encoder(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_files_are_named(share: float, folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        file = folder / name
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(UserError, match=f"{name}: .*damaged"):
            load_encoder(folder)
        file.write_bytes(whole)
    load_encoder(folder)


def test_a_config_that_is_no_json_object_is_refused(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"config\.json: damaged"):
        load_encoder(folder)
    (folder / "config.json").write_text("[1, 2]")
    with pytest.raises(UserError, match=r"config\.json: format None"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, r"config\.json: format 2, but this evossl .* reads format 1"),
        (
            {"size": -1},
            r"config\.json: size: Input should be greater than 0 \(got -1\); export it again",
        ),
        ({"fps": "fast"}, r"config\.json: fps: Input should be a valid number"),
        ({"colour": "red"}, r"config\.json: unknown key 'colour'"),
        ({"stream": "audio"}, r"config\.json: stream: unknown word 'audio'"),
        ({"backbone": {"name": "r2plus1", "width": 8}}, r"config\.json: .*mean 'r2plus1d'"),
        ({"backbone": {"depth": 34}}, r"config\.json: backbone\.depth: .*Known: 18, 50"),
        ({"backbone": {"name": "csn", "depth": 18}}, r"config\.json: backbone\.depth: csn exists"),
        (
            {"backbone": {"width": 16}},
            r"model\.safetensors: network\.stem\.conv\.weight has shape \(8, ",
        ),
        ({"backbone": {"width": 8, "depth": 18}}, r"model\.safetensors: network\..* is missing"),
        ({"backbone": {"width": 10**9}}, r"config\.json: backbone: cannot be built"),
    ],
)
def test_an_invalid_config_is_refused_by_key(
    changes: dict[str, object], said: str, folder: Path
) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=said):
        load_encoder(folder)


def test_missing_unexpected_and_misshaped_weights_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "network.stages.stage2.res_blocks.0.branch1_conv.weight"
    for changed, said in (
        ({n: t for n, t in weights.items() if n != name}, f"{name} is missing"),
        (weights | {"head.weight": torch.zeros(1)}, "head.weight is unexpected"),
        (weights | {name: weights[name][:3].clone()}, rf"{name} has shape \(3, "),
    ):
        save_file(changed, file)
        with pytest.raises(UserError, match=said) as error:
            load_encoder(folder)
        assert str(file) in str(error.value)


@pytest.mark.parametrize("shape", [(3, 8, 32, 32), (2, 1, 8, 32, 32), (2, 8, 32, 32, 3)])
def test_a_clip_of_another_shape_is_refused(shape: tuple[int, ...], folder: Path) -> None:
    encoder = load_encoder(folder)
    with pytest.raises(UserError, match=r"float clips \(B, 3, T, H, W\)"):
        encoder(torch.zeros(shape))
    with pytest.raises(UserError, match="preprocess"):
        encoder.stages(torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8))


def test_a_loaded_encoder_can_be_fine_tuned(folder: Path, draw: Draw) -> None:
    encoder = load_encoder(folder).train()
    before = encoder.encoder.state_dict()["network.stem.norm.running_mean"].clone()
    encoder(draw(4, 3, 8, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.parameters())
    assert not torch.equal(encoder.state_dict()["encoder.network.stem.norm.running_mean"], before)


def test_torch_export_accepts_the_encoder(folder: Path, draw: Draw) -> None:
    encoder = load_encoder(folder)
    x = draw(2, 3, 8, 32, 32)
    dynamic = {"x": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(encoder, (x,), dynamic_shapes=dynamic)
    for clips in (x, draw(1, 3, 8, 32, 32), draw(5, 3, 8, 32, 32)):
        torch.testing.assert_close(program.module()(clips), encoder(clips))


@pytest.mark.slow
def test_torch_compile_accepts_the_encoder(folder: Path, draw: Draw) -> None:
    encoder = load_encoder(folder)
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    x = draw(2, 3, 8, 32, 32)
    torch.testing.assert_close(compiled(x), encoder(x))
    compiled(x).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
