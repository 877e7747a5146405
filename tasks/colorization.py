"""Colorization: which colours had this clip, of which only the luma is shown?

Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016. The rarity of a colour is counted while
training, in place of once over a data set.

On RGB, whose three channels show the luma, and from grayscale to RGB.

Shapes: B clip, C channel, T time, H height, W width, X pixel, Q colour class.

Should learn: appearance.
"""

from math import ceil

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.colour import (
    NearColours,
    colour_cross_entropy,
    colour_shares,
    near_colours,
    palette,
    rarity,
)
from evossl.models.heads.class_prior import Shares
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, directed_pairs, each
from evossl.types import PIXEL_MEAN, PIXEL_SD, Stream
from evossl.views.spec import WEAK, Channels, Role, View

SHRINK = 4  # a colour is that of 4 x 4 pixels, as in the paper
FRAME_STEP = 4  # of one frame in four: the others are much the same


class Colorization(Task):
    """Class-rebalanced cross entropy of the ab plane's squares, from the last map."""

    places = (*each(Stream.RGB), *directed_pairs(Stream.GRAY, Stream.RGB, into=Stream.RGB))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        _, frames, height, width = place.shape.input
        num_colours = len(palette())
        wanted = num_colours, ceil(frames / FRAME_STEP), height // SHRINK, width // SHRINK
        self.decoder = ClipDecoder(place.shape.last_map, wanted)
        self.shares = Shares(num_colours)

    def views(self) -> dict[str, View]:
        source = self.place.stream
        channels: Channels = "luma" if source is Stream.RGB else "own"
        return {
            "luma": View(source, space=WEAK, channels=channels),
            "colours": View(Stream.RGB, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, seen: TaskBatch) -> Tensor:
        logit_BQX = self.decoder(seen["luma"].last_map).flatten(2)
        return colour_cross_entropy(logit_BQX, _colours(seen), rarity(self.shares.share_Q))

    def after_step(self, seen: TaskBatch) -> None:
        self.shares.update(colour_shares(_colours(seen)))


def _colours(seen: TaskBatch) -> NearColours:
    pixels_BCTHW = seen["colours"].pixels[:, :, ::FRAME_STEP] * PIXEL_SD + PIXEL_MEAN
    rgb_BCTHW = F.avg_pool3d(pixels_BCTHW.clamp(0, 1), (1, SHRINK, SHRINK))
    return near_colours(rgb_BCTHW.flatten(2))
