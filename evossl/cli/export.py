"""The verb `export`, and where the encoder of a run lies."""

from pathlib import Path

import click

from evossl.cli.checks import check_out_folder
from evossl.cli.options import PATH
from evossl.errors import UserError


@click.command()
@click.argument("source", type=PATH)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder of the encoder.")
@click.option("--onnx", is_flag=True, help="Also write model.onnx (needs evossl[onnx]).")
def export(source: Path, out: Path, onnx: bool) -> None:
    """Export the encoder of a run or of a training.

    SOURCE is the folder of a search (its winner is exported), of a training, or of an encoder.

    Example: evossl export run --out encoder --onnx
    """
    from evossl.export.encoder_folder import export_encoder, load_encoder
    from evossl.export.onnx import export_onnx

    check_out_folder(out)
    encoder = load_encoder(find_encoder(source))
    export_encoder(encoder.encoder, out, encoder.config)
    if onnx:
        export_onnx(encoder, out / "model.onnx")
    click.echo(f"{out}: load it with evossl.load_encoder({str(out)!r})")


def find_encoder(source: Path) -> Path:
    """Return the encoder folder in the folder of a search or a training, or the folder itself.

    Raises:
        UserError: there is no encoder.
    """
    for folder in (source / "winner" / "encoder", source / "encoder", source):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(
        f"{source}: has no encoder. A search writes winner/encoder when it ends (continue it with "
        "--resume), a training writes encoder"
    )
