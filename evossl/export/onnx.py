"""Export to ONNX, for runtimes without torch."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import Dim

from evossl.errors import UserError
from evossl.export.encoder_folder import VideoEncoder
from evossl.io.files import write_atomically

REQUIRED_PACKAGES = ("onnx", "onnxscript")


def export_onnx(encoder: VideoEncoder, path: Path) -> None:
    """Write the encoder as an ONNX file: `x` (B, 3, T, H, W) -> `embedding` (B, D).

    B is free; T, H and W are fixed to the config's. The file computes in eval mode.

    Args:
        encoder: not changed.
        path: the file to write.

    Raises:
        UserError: the packages that write ONNX are not installed.
        RunError: the file cannot be written.
    """
    missing = [name for name in REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}: pip install 'evossl[onnx]'")
    config = encoder.config
    device = next(encoder.parameters()).device
    # Two clips: torch.export would treat a dimension of size 1 as fixed.
    x = torch.zeros(2, 3, config.frames, config.size, config.size, device=device)
    was_training = encoder.training
    try:
        program = torch.onnx.export(
            encoder.eval(),
            (x,),
            input_names=["x"],
            output_names=["embedding"],
            dynamic_shapes={"x": {0: Dim("batch", min=1)}},
            dynamo=True,
            verbose=False,
        )
    finally:
        encoder.train(was_training)
    assert program is not None
    write_atomically(path, lambda beside: program.save(beside, external_data=False))
