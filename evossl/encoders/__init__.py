"""Networks with stage taps, heads, momentum."""

from evossl.encoders.batchnorm import recalibrate
from evossl.encoders.build import BACKBONES, Encoder, build_encoder
from evossl.encoders.heads import ClipDecoder, mlp
from evossl.encoders.momentum import ema_update, make_momentum

__all__ = [
    "BACKBONES",
    "ClipDecoder",
    "Encoder",
    "build_encoder",
    "ema_update",
    "make_momentum",
    "mlp",
    "recalibrate",
]
