"""SVT: views of a video at several frame rates and extents are matched in the clusters they get.

Ranasinghe, Naseer, Khan, Khan, Ryoo, Self-supervised Video Transformer, CVPR 2022. After Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021.

On RGB, grayscale and flow: a local view is a part in space too, which sound has not.

Shapes: G teacher's view, V student's view.

Should learn: motion.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evossl.encoders.self_distillation import SelfDistillation
from evossl.streams import Stream
from evossl.task import Place, Seen, Task, each
from evossl.views.recipes import local_crops
from evossl.views.spec import STRONG, Encoder, Time, View

MATCHINGS = ("l->g", "g->g", "l->l", "g->l")
NUM_GLOBAL = 2
SLOW_RATES = (2, 4)  # frames of the cache a step, of the second global view, where they fit


class SVT(Task):
    """Two global views, one at the clip's rate, one over more time, and parts of the latter.

    A matching "l->g": the student's clusters of each local view follow the teacher's of each global
    one. A view is never matched with itself.

    Args:
        place: one stream.
        matchings: some of "l->g", "g->g", "l->l", "g->l"; the paper's is the first two.
        local: local views, half as long as the clip and of half its side.
        clusters: outputs of the heads.
        temperature: of the teacher, after the warm-up.
        warmup: share of the training over which it rises.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self,
        place: Place,
        matchings: Sequence[str] = MATCHINGS[:2],
        local: int = 4,
        clusters: int = 256,
        temperature: float = 0.07,
        warmup: float = 0.1,
    ) -> None:
        super().__init__(place)
        _check(matchings, local)
        asking, asked = ({matching[i] for matching in matchings} for i in (0, -1))
        self.student = _views(place, asking, local, "student")
        self.teacher = _views(place, asked, local, "momentum")
        self.matched_GV = torch.tensor(
            [
                [f"{v[0]}->{g[0]}" in matchings and v != g for v in _members(asking, local)]
                for g in _members(asked, local)
            ]
        )
        self.distil = SelfDistillation(place.width, clusters, temperature, warmup)
        self.distil.teacher = self.momentum(self.distil.student)

    def views(self) -> dict[str, View]:
        return self.student | self.teacher

    def loss(self, seen: Seen) -> Tensor:
        student = [seen[name].embedding_BD for name in self.student]
        loss: Tensor = self.distil(student, self._taught(seen), seen.progress, self.matched_GV)
        return loss

    def after_backward(self, progress: float) -> None:
        self.distil.last.hold(progress)

    def after_step(self, seen: Seen) -> None:
        self.distil.update(self._taught(seen))

    def _taught(self, seen: Seen) -> list[Tensor]:
        return [seen[name].embedding_BD for name in self.teacher]


def _check(matchings: Sequence[str], local: int) -> None:
    if not matchings or not set(matchings) <= set(MATCHINGS):
        raise ValueError(f"matchings are some of {', '.join(MATCHINGS)}, got {matchings}")
    needed = 2 if "l->l" in matchings else int(any("l" in matching for matching in matchings))
    if local < needed:
        raise ValueError(f"{', '.join(matchings)} need {needed} or more local views, got {local}")


def _views(place: Place, kinds: set[str], local: int, encoder: Encoder) -> dict[str, View]:
    """Return the global views, the local ones, or both, as an encoder sees them."""
    stream, shape = place.stream, place.shapes[place.stream].input
    slow = View(stream, Time(stride=SLOW_RATES), STRONG, draw=1, encoder=encoder)
    half = Time(frames=max(2, shape[1] // 2))
    views = {}
    if "g" in kinds:
        views = {"0": View(stream, space=STRONG, encoder=encoder), "1": slow}
    if "l" in kinds:
        views |= local_crops(stream, shape, local, half, slow, encoder)
    return {f"{encoder} {name}": view for name, view in views.items()}


def _members(kinds: set[str], local: int) -> list[tuple[str, int]]:
    """Return each view's kind and number, in the order of `_views`."""
    counts = {"g": NUM_GLOBAL, "l": local}
    return [(kind, i) for kind in counts if kind in kinds for i in range(counts[kind])]
