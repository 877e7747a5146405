"""Rho-MoCo: MoCo whose positives are several clips of a video.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021. After He et al., Momentum Contrast, CVPR 2020.

On every stream.

Should learn: motion.
"""

from torch import Tensor

from evossl.encoders.momentum_contrast import MomentumContrast
from evossl.options import Count, Positive
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import Rho, clips_of_a_video, seen_slowly
from evossl.views.spec import View


class RhoMoCo(Task):
    """Each clip finds each other one of its video; averaged over all ordered pairs.

    Args:
        place: one stream.
        rho: clips of a video, 1 to 4; 1 is two views of one clip.
        temperature: of the cosines.
        queue: the most keys it holds.
    """

    places = each(*Stream)

    def __init__(
        self, place: Place, rho: Rho = 2, temperature: Positive = 0.1, queue: Count = 4096
    ) -> None:
        super().__init__(place)
        self.clips = clips_of_a_video(place.stream, rho)
        self.contrast = MomentumContrast(place.width, 2, queue, temperature)
        self.contrast.target = self.momentum(self.contrast.project)

    def views(self) -> dict[str, View]:
        return self.clips | seen_slowly(self.clips)

    def loss(self, seen: Seen) -> Tensor:
        student = {name: seen[name].embedding_BD for name in self.clips}
        return self.contrast.loss(student, self._slow(seen), seen.video_id_B)

    def after_step(self, seen: Seen) -> None:
        self.contrast.update(self._slow(seen), seen.video_id_B)

    def _slow(self, seen: Seen) -> dict[str, Tensor]:
        return {name: seen[f"slow {name}"].embedding_BD for name in self.clips}
