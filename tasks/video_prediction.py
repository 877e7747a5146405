"""Video prediction: decode the next frames from the past ones.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Srivastava, Mansimov, Salakhutdinov, Unsupervised Learning of Video
Representations using LSTMs, ICML 2015 (the future predictor), and Mathieu, Couprie, LeCun, Deep
Multi-Scale Video Prediction Beyond Mean Square Error, ICLR 2016 (the gradient difference loss).

On RGB, grayscale and flow. Not on audio: the length of a view is given in video frames, and a place
with audio alone knows only its log-mel steps.

Expected to learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NonNegativeFloat
from evossl.losses.distance import mean_squared_error
from evossl.losses.pixels import gradient_difference_loss
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, Time, View


class VideoPrediction(Task):
    """Mean squared error of the T/2 frames that follow the encoder's T frames.

    Only half as many frames are predicted, because a stretch of 32 frames then fits all 12 frames
    of a clip with T = 8 at strides up to 2.

    Args:
        place: one stream.
        gradient_difference: weight of the gradient difference loss, which is added. ELo has none;
            Mathieu et al. use 1.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, gradient_difference: NonNegativeFloat = 0.0) -> None:
        super().__init__(place)
        self.gradient_difference = gradient_difference
        channels, self.num_past, height, width = place.shape.input
        self.num_future = max(1, self.num_past // 2)
        self.decoder = ClipDecoder(place.shape.last_map, (channels, self.num_future, height, width))

    def views(self) -> dict[str, View]:
        window = self.num_past + self.num_future
        past = Time(frames=self.num_past, window=window)
        future = Time(frames=self.num_future, offset=self.num_past, window=window)
        return {
            "past": View(self.place.stream, time=past, space=WEAK),
            "future": View(self.place.stream, time=future, space=WEAK, encoder=Role.NONE),
        }

    def loss(self, batch: TaskBatch) -> Tensor:
        predicted, future = self.decoder(batch["past"].last_map), batch["future"].pixels
        loss = mean_squared_error(predicted, future)
        if self.gradient_difference:
            gdl = gradient_difference_loss(predicted, future)
            loss = loss + self.gradient_difference * gdl
        return loss
