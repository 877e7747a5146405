"""An ONNX file returns the encoder's embeddings in another runtime."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor

from evossl.errors import RunError, UserError
from evossl.export.encoder_folder import load_encoder
from evossl.export.onnx import export_onnx

Draw = Callable[..., Tensor]


@pytest.mark.slow
def test_onnxruntime_returns_the_same_embeddings(folder: Path, draw: Draw) -> None:
    encoder = load_encoder(folder).train()
    file = folder / "model.onnx"
    export_onnx(encoder, file)
    assert all(part.training for part in encoder.modules())
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.onnx",
        "model.safetensors",
    ]
    session = onnxruntime.InferenceSession(file)
    for batch in (1, 2, 5):
        x = draw(batch, 3, 8, 32, 32)
        (got,) = session.run(["embedding"], {"x": x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(
                torch.from_numpy(got), encoder.eval()(x), rtol=1e-3, atol=1e-4
            )
    assert load_encoder(folder).config == encoder.config  # the folder is still an encoder


def test_an_onnx_path_that_cannot_be_written_is_named(folder: Path) -> None:
    encoder = load_encoder(folder)
    with pytest.raises(RunError, match="cannot be written"):
        export_onnx(encoder, folder / "config.json" / "model.onnx")


def test_missing_packages_name_the_extra_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str) -> object:
        return None if name == "onnxscript" else find_spec(name)

    monkeypatch.setattr("evossl.export.onnx.find_spec", without)
    with pytest.raises(UserError, match=r"ONNX needs onnxscript: pip install 'evossl\[onnx\]'"):
        export_onnx(load_encoder(folder), folder / "model.onnx")
    assert not (folder / "model.onnx").exists()
