"""evossl: learn video encoders without labels, with loss weights found by evolution."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evossl._version import __version__

if TYPE_CHECKING:
    from evossl.export.encoder_folder import load_encoder

__all__ = ["__version__", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Import `load_encoder`, and with it torch, when it is first used."""
    if name == "load_encoder":
        return import_module("evossl.export.encoder_folder").load_encoder
    raise AttributeError(f"module 'evossl' has no attribute {name!r}")
