"""evossl: evolve the loss of self-supervised video learning, and use the encoder it finds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evossl.export import load_encoder

__version__ = "0.1.0"
__all__ = ["__version__", "load_encoder"]


def __getattr__(name: str) -> Any:
    """Import torch only when an encoder is asked for."""
    if name == "load_encoder":
        return import_module("evossl.export").load_encoder
    raise AttributeError(f"module 'evossl' has no attribute {name!r}")
