"""Video prediction: the next frames from the past ones.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Srivastava, Mansimov, Salakhutdinov, Unsupervised Learning of Video
Representations using LSTMs, ICML 2015 (the future predictor), and Mathieu, Couprie, LeCun, Deep
Multi-Scale Video Prediction Beyond Mean Square Error, ICLR 2016 (the gradient difference loss).

On RGB, grayscale and flow. Not on sound: a view's length is counted in frames of the video, and a
place of sound alone knows only its own log-mel steps.

Should learn: motion.
"""

from torch import Tensor

from evossl.io.task_options import NotNegative
from evossl.losses.distance import squared_error
from evossl.losses.pixels import gradient_difference
from evossl.models.heads.clip_decoder import ClipDecoder
from evossl.task import Place, Task, TaskBatch, each
from evossl.types import Stream
from evossl.views.spec import WEAK, Role, Time, View


class VideoPrediction(Task):
    """Mean squared error of the T/2 frames that follow the T frames an encoder sees.

    Half as many as were seen: with T = 8 a stretch of 32 frames holds the 12 at any stride to 2.

    Args:
        place: one stream.
        gradients: weight of the gradient difference loss beside it; ELo has none, Mathieu et al. 1.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place, gradients: NotNegative = 0.0) -> None:
        super().__init__(place)
        self.gradients = gradients
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

    def loss(self, seen: TaskBatch) -> Tensor:
        predicted, future = self.decoder(seen["past"].last_map), seen["future"].pixels
        loss = squared_error(predicted, future)
        if self.gradients:
            loss = loss + self.gradients * gradient_difference(predicted, future)
        return loss
