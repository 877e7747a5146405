"""Cross-modal transfer: another stream's clip from this one's last map.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016 (gray to RGB).

On every ordered pair of streams but RGB to grayscale, which is a fixed sum of the channels.

Should learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.distance import squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.models.heads.cross_modal_adapter import Bridge
from evossl.task import Place, Task, TaskBatch, directed_pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, View


class CrossModalTransfer(Task):
    """Mean squared error in the target stream's normalised pixels; equal stretch and crop."""

    places = tuple(s for s in directed_pairs(*Stream) if s.streams != (Stream.RGB, Stream.GRAY))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        source, target = place.streams
        start, wanted = place.shape.last_map, place.shapes[target].input
        if Stream.AUDIO in place.streams:
            bridge = Bridge(source, start, wanted)
            self.decoder: nn.Module = nn.Sequential(bridge, ClipDecoder(bridge.shape, wanted))
        else:
            self.decoder = ClipDecoder(start, wanted)

    def views(self) -> dict[str, View]:
        source, target = self.place.streams
        return {
            "source": View(source, space=WEAK),
            "target": View(target, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        return squared_error(self.decoder(seen["source"].last_map), seen["target"].pixels)
