"""Cross-modal transfer: decode another stream's clip from the last map of this one.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016 (grayscale to RGB).

On every ordered pair of streams except RGB to grayscale, which is a fixed sum of the channels.

Expected to learn: motion.
"""

from torch import Tensor, nn

from evossl.losses.distance import mean_squared_error
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.models.heads.cross_modal_adapter import CrossModalAdapter
from evossl.task import Place, Task, TaskBatch, directed_pairs
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, View


class CrossModalTransfer(Task):
    """Mean squared error in the target stream's normalised pixels; same time and same crop."""

    places = tuple(p for p in directed_pairs(*Stream) if p.streams != (Stream.RGB, Stream.GRAY))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        source, target = place.streams
        map_shape, out_shape = place.shape.last_map, place.shapes[target].input
        if Stream.AUDIO in place.streams:
            adapter = CrossModalAdapter(source, map_shape, out_shape)
            decoder = ClipDecoder(adapter.shape, out_shape)
            self.decoder: nn.Module = nn.Sequential(adapter, decoder)
        else:
            self.decoder = ClipDecoder(map_shape, out_shape)

    def views(self) -> dict[str, View]:
        source, target = self.place.streams
        return {
            "source": View(source, space=WEAK),
            "target": View(target, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        return mean_squared_error(self.decoder(batch["source"].last_map), batch["target"].pixels)
