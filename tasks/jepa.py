"""JEPA: the features of what is blanked in a clip, predicted from those of what is left.

V-JEPA (Bardes et al., Revisiting Feature Prediction for Learning Visual Representations from Video,
TMLR 2024), as far as a convolution allows: the student is shown the blanks as the mean, for it
cannot leave them out; features are places of the last map; the predictor convolves. Blocks are a
quarter of a side, for the last map of a small clip has about four places: theirs are drawn as large
rectangles.

On RGB, grayscale and flow. Not on sound, whose log-mel no square block divides.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import Part
from evossl.losses.prediction import hidden_share, masked_features
from evossl.models.heads.map_predictor import MapPredictor
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import masked_and_whole
from evossl.views.spec import Mask, Role, View

BLOCKS = 4  # along a side


class JEPA(Task):
    """Absolute error to the momentum encoder's map of the whole clip, where the student was blind.

    Args:
        place: one stream.
        ratio: share of the blocks that is blanked, the same ones in all frames.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, ratio: Part = 0.75) -> None:
        super().__init__(place)
        self.mask = Mask(ratio, patch=max(1, place.shape.input[-1] // BLOCKS), tube=True)
        channels, frames, height, width = place.shape.last_map
        self.size = (frames, height, width)
        self.predict = MapPredictor(channels)

    def views(self) -> dict[str, View]:
        return masked_and_whole(self.place.stream, self.mask, whole=Role.MOMENTUM)

    def loss(self, seen: TaskBatch) -> Tensor:
        masked, target = seen["masked"], seen["whole"].last_map
        share_BTHW = hidden_share(masked.mask_BTHW, self.size)
        predicted = self.predict(masked.last_map, share_BTHW)
        return masked_features(predicted, target, share_BTHW)
