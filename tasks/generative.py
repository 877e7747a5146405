"""Generative: reconstruct the masked pixels of a clip, most of which is masked.

VideoMAE (Tong, Song, Wang, Wang, VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training, NeurIPS 2022). A convolution cannot leave out masked blocks as
a transformer can: masked pixels are set to the mean, and the last map is decoded.

There is no adversarial loss. It makes reconstructions sharper (Pathak et al., Context Encoders,
CVPR 2016, who transfer features that were trained without it), but the goal here is an encoder, not
pictures; and a loss against a network that is itself trained has no fixed scale, so that its weight
would mean something else at every step.

On RGB, grayscale and flow. Not on audio: mask blocks are squares, which do not divide a log-mel,
whose number of columns follows from the frame rate.

Expected to learn: appearance, motion.
"""

from torch import Tensor

from evossl.io.task_options import OpenUnitInterval, PositiveCount
from evossl.losses.prediction import masked_pixel_loss
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import masked_and_full_views
from evossl.views.spec import Mask, Role, View


class Generative(Task):
    """Mean squared error over masked blocks, each normalised; all frames share one mask (a tube).

    Args:
        place: one stream.
        mask_ratio: fraction of the blocks that is masked.
        patch_size: side of a block in pixels.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self, place: Place, mask_ratio: OpenUnitInterval = 0.9, patch_size: PositiveCount = 8
    ) -> None:
        super().__init__(place)
        self.mask = Mask(mask_ratio, patch_size, tube=True)
        self.decoder = ClipDecoder(place.shape.last_map, place.shape.input)

    def views(self) -> dict[str, View]:
        return masked_and_full_views(self.place.stream, self.mask, full_role=Role.NONE)

    def loss(self, batch: TaskBatch) -> Tensor:
        masked = batch["masked"]
        decoded_BCTHW = self.decoder(masked.last_map)
        return masked_pixel_loss(decoded_BCTHW, batch["full"].pixels, masked.mask_BTHW)
