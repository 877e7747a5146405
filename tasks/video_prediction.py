"""Video prediction: the next frames from the past ones.

ELo (Piergiovanni, Angelova, Ryoo, Evolving Losses for Unsupervised Video Representation Learning,
CVPR 2020). After Srivastava, Mansimov, Salakhutdinov, Unsupervised Learning of Video
Representations using LSTMs, ICML 2015 (the future predictor).

On RGB, grayscale and flow. Not on sound: a view's length is counted in frames of the video, and a
place of sound alone knows only its own log-mel steps.
"""

from torch import Tensor

from evossl.encoders.heads import ClipDecoder
from evossl.losses.distance import squared_error
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.spec import WEAK, Time, View


class VideoPrediction(Task):
    """Mean squared error of the T/2 frames that follow the T frames an encoder sees.

    Half as many as were seen: with T = 8 a stretch of 32 frames holds the 12 at any stride to 2.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        shape = place.shapes[place.stream]
        channels, self.num_past, height, width = shape.input
        self.num_future = max(1, self.num_past // 2)
        self.last = list(shape.maps)[-1]
        self.decoder = ClipDecoder(
            shape.maps[self.last], (channels, self.num_future, height, width)
        )

    def views(self) -> dict[str, View]:
        window = self.num_past + self.num_future
        past = Time(frames=self.num_past, window=window)
        future = Time(frames=self.num_future, offset=self.num_past, window=window)
        return {
            "past": View(self.place.stream, time=past, space=WEAK),
            "future": View(self.place.stream, time=future, space=WEAK, encoder=None),
        }

    def loss(self, seen: Seen) -> Tensor:
        return squared_error(self.decoder(seen["past"].maps[self.last]), seen["future"].pixels)
