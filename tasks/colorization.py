"""Colorization: predict the colours of a clip from its luma.

Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016. The colour frequencies that rebalance
the loss are counted during training instead of once over a dataset.

On RGB, whose three channels then all show the luma, and from grayscale to RGB.

Shapes: B clip, C channel, T time, H height, W width, X pixel, Q colour bin.

Expected to learn: appearance.
"""

from math import ceil

from torch import Tensor
from torch.nn import functional as F

from evossl.losses.colour import (
    SoftEncoding,
    ab_bins,
    bin_frequencies,
    colorization_loss,
    rebalancing_weights,
    soft_encode,
)
from evossl.models.heads.class_prior import ClassPrior
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, directed_pairs, each
from evossl.types import PIXEL_MEAN, PIXEL_SD, Stream
from evossl.views.spec import WEAK, Channels, Role, View

SPACE_STRIDE = 4  # colours are averaged over 4 x 4 pixels, as in the paper
TIME_STRIDE = 4  # every fourth frame; the frames between are much the same


class Colorization(Task):
    """Class-rebalanced cross entropy of quantised ab colours, predicted from the last map."""

    places = (*each(Stream.RGB), *directed_pairs(Stream.GRAY, Stream.RGB, into=Stream.RGB))

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        _, frames, height, width = place.shape.input
        size = (ceil(frames / TIME_STRIDE), height // SPACE_STRIDE, width // SPACE_STRIDE)
        self.decoder = ClipDecoder(place.shape.last_map, (len(ab_bins()), *size))
        self.colour_prior = ClassPrior(len(ab_bins()))

    def views(self) -> dict[str, View]:
        source = self.place.stream
        channels: Channels = "luma" if source is Stream.RGB else "all"
        return {
            "luma": View(source, space=WEAK, channels=channels),
            "colours": View(Stream.RGB, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        logit_BQX = self.decoder(batch["luma"].last_map).flatten(2)
        weight_Q = rebalancing_weights(self.colour_prior.frequency_Q)
        return colorization_loss(logit_BQX, _encode_colours(batch), weight_Q)

    def after_step(self, batch: TaskBatch) -> None:
        self.colour_prior.update(bin_frequencies(_encode_colours(batch)))


def _encode_colours(batch: TaskBatch) -> SoftEncoding:
    pixels_BCTHW = batch["colours"].pixels[:, :, ::TIME_STRIDE] * PIXEL_SD + PIXEL_MEAN
    rgb_BCTHW = F.avg_pool3d(pixels_BCTHW.clamp(0, 1), (1, SPACE_STRIDE, SPACE_STRIDE))
    return soft_encode(rgb_BCTHW.flatten(2))
