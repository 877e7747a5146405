"""Classifier folders, which hold `encoder/`, `head.safetensors` and `classifier.json`."""

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

ENCODER_FOLDER, HEAD_FILE, CONFIG_FILE = "encoder", "head.safetensors", "classifier.json"


class ClassifierConfig(Model):
    """The content of `classifier.json`: the class names in the order of the logits."""

    format: int = 1
    classes: tuple[str, ...]


def save_classifier(model: Classifier, folder: Path) -> None:
    """Write a classifier's folder atomically.

    Raises:
        UserError: the folder is not empty.
        RunError: a weight is not finite, or the folder cannot be written.
    """
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        raise UserError(f"--out {folder}: is not empty; name a new folder")
    config = ClassifierConfig(classes=model.classes)

    def write(temporary: Path) -> None:
        temporary.mkdir()
        export_encoder(model.encoder.encoder, temporary / ENCODER_FOLDER, model.encoder.config)
        head = {name: t.detach().cpu().contiguous() for name, t in model.head.state_dict().items()}
        save_file(head, temporary / HEAD_FILE)
        text = json.dumps(config.model_dump(mode="json"), indent=2) + "\n"
        (temporary / CONFIG_FILE).write_text(text, encoding="utf-8")

    write_atomically(folder, write)


def load_classifier(path: str | Path) -> Classifier:
    """Return a classifier that `save_classifier` wrote, on the CPU, in eval mode.

    It maps clips (B, 3, T, H, W) as made by `encoder.preprocess` to logits (B, C) of `.classes`.

    Raises:
        UserError: there is no classifier, a file is damaged, or the head does not fit.
    """
    folder = Path(path)
    try:
        raw = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        config = ClassifierConfig.model_validate(raw)
    except OSError as error:
        raise UserError(
            f"{folder / CONFIG_FILE}: cannot be read ({error.strerror}); a classifier is the "
            "folder that `evossl finetune` writes"
        ) from error
    except ValidationError as error:
        first, *_ = explain(error, ClassifierConfig)
        raise UserError(f"{folder / CONFIG_FILE}: is damaged: {first}; fine-tune again") from error
    except ValueError as error:
        raise UserError(
            f"{folder / CONFIG_FILE}: is damaged (not JSON); fine-tune again"
        ) from error
    model = Classifier(load_encoder(folder / ENCODER_FOLDER), config.classes)
    try:
        model.head.load_state_dict(load_file(folder / HEAD_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{folder / HEAD_FILE}: is not this classifier's head: {error}; fine-tune again"
        ) from error
    return model.eval()
