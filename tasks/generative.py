"""Generative: the pixels of a clip of which most is blanked.

VideoMAE (Tong, Song, Wang, Wang, VideoMAE: Masked Autoencoders are Data-Efficient Learners for
Self-Supervised Video Pre-Training, NeurIPS 2022). A convolution cannot leave blanked blocks out as
a transformer can: it is shown them as the mean, and its last map is decoded.

There is no adversarial part. It makes what is painted sharper (Pathak et al., Context Encoders,
CVPR 2016, who transfer features that were trained without it), but an encoder is wanted here, not
pictures; and the loss against a network that learns too is on no fixed scale, so that its weight
would mean something else at every step.

On RGB, grayscale and flow. Not on sound: blocks are squares, which do not divide a log-mel whose
columns go by the frame rate.

Should learn: appearance, motion.
"""

from torch import Tensor

from evossl.io.task_options import Count, Part
from evossl.losses.prediction import masked_pixels
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import masked_and_whole
from evossl.views.spec import Mask, Role, View


class Generative(Task):
    """Squared error in the blanked blocks, the same ones in all frames; each block normalised.

    Args:
        place: one stream.
        ratio: share of the blocks that is blanked.
        patch: side of a block in pixels.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, ratio: Part = 0.9, patch: Count = 8) -> None:
        super().__init__(place)
        self.mask = Mask(ratio, patch, tube=True)
        self.decoder = ClipDecoder(place.shape.last_map, place.shape.input)

    def views(self) -> dict[str, View]:
        return masked_and_whole(self.place.stream, self.mask, whole=Role.NONE)

    def loss(self, seen: TaskBatch) -> Tensor:
        masked = seen["masked"]
        decoded = self.decoder(masked.last_map)
        return masked_pixels(decoded, seen["whole"].pixels, masked.mask_BTHW)
