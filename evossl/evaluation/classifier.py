"""Classifier folders: `encoder/`, `head.safetensors` and `classifier.json`."""

import json
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from evossl.config import Model
from evossl.errors import UserError
from evossl.evaluation.finetune import Classifier
from evossl.export.encoder_folder import export_encoder, load_encoder
from evossl.io.files import write_atomically
from evossl.io.validation import explain

ENCODER, HEAD, CONFIG = "encoder", "head.safetensors", "classifier.json"


class ClassifierConfig(Model):
    """`classifier.json`: the names of the classes, in the order of the logits."""

    format: int = 1
    classes: tuple[str, ...]


def save_classifier(model: Classifier, folder: Path) -> None:
    """Write a classifier's folder; whatever happens, it is there whole or not at all.

    Raises:
        UserError: the folder holds something.
        RunError: a weight that is not finite; a folder that cannot be written.
    """
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"--out {folder}: holds other files; name a new folder")
    config = ClassifierConfig(classes=model.classes)

    def write(beside: Path) -> None:
        beside.mkdir()
        export_encoder(model.encoder.encoder, beside / ENCODER, model.encoder.config)
        head = {name: t.detach().cpu().contiguous() for name, t in model.head.state_dict().items()}
        save_file(head, beside / HEAD)
        text = json.dumps(config.model_dump(mode="json"), indent=2) + "\n"
        (beside / CONFIG).write_text(text, encoding="utf-8")

    write_atomically(folder, write)


def load_classifier(path: str | Path) -> Classifier:
    """Return a classifier that `save_classifier` wrote, on the CPU, in eval mode.

    Takes x as `encoder.preprocess` makes it, (B, 3, T, H, W), to logits (B, C) of `.classes`.

    Raises:
        UserError: no classifier there, a damaged file, a head of other classes or another width.
    """
    folder = Path(path)
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = ClassifierConfig.model_validate(raw)
    except OSError as error:
        raise UserError(
            f"{folder / CONFIG}: cannot be read ({error.strerror}); a classifier is the folder "
            "that `evossl finetune` writes"
        ) from error
    except ValidationError as error:
        first, *_ = explain(error, ClassifierConfig)
        raise UserError(f"{folder / CONFIG}: damaged: {first}; fine-tune again") from error
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: damaged, not JSON; fine-tune again") from error
    model = Classifier(load_encoder(folder / ENCODER), config.classes)
    try:
        model.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder / HEAD}: not this classifier's head: {error}") from error
    return model.eval()
