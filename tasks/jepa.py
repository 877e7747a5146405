"""JEPA: predict the features of a clip's masked regions from those of its visible regions.

V-JEPA (Bardes et al., Revisiting Feature Prediction for Learning Visual Representations from Video,
TMLR 2024), as far as a convolutional encoder allows. It cannot leave out masked regions, so the
student's masked pixels are set to the mean; the features are positions of the last map; the
predictor is convolutional. V-JEPA masks large rectangles; here blocks have a quarter of the side,
because the last map of a small clip has about four positions along a side.

On RGB, grayscale and flow. Not on audio, whose log-mel cannot be divided into square blocks.

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import OpenUnitInterval
from evossl.losses.prediction import masked_feature_loss, masked_fraction
from evossl.models.heads.map_predictor import MapPredictor
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.recipes import masked_and_full_views
from evossl.views.spec import Mask, Role, View

BLOCKS_PER_SIDE = 4


class JEPA(Task):
    """Absolute error to the momentum encoder's map of the full clip, at the masked positions.

    Args:
        place: one stream.
        mask_ratio: fraction of the blocks that is masked; all frames share one mask.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, mask_ratio: OpenUnitInterval = 0.75) -> None:
        super().__init__(place)
        patch_size = max(1, place.shape.input[-1] // BLOCKS_PER_SIDE)
        self.mask = Mask(mask_ratio, patch_size, tube=True)
        channels, frames, height, width = place.shape.last_map
        self.map_size = (frames, height, width)
        self.predictor = MapPredictor(channels)

    def views(self) -> dict[str, View]:
        return masked_and_full_views(self.place.stream, self.mask, full_role=Role.MOMENTUM)

    def loss(self, batch: TaskBatch) -> Tensor:
        masked, target_BCTHW = batch["masked"], batch["full"].last_map
        fraction_BTHW = masked_fraction(masked.mask_BTHW, self.map_size)
        predicted_BCTHW = self.predictor(masked.last_map, fraction_BTHW)
        return masked_feature_loss(predicted_BCTHW, target_BCTHW, fraction_BTHW)
