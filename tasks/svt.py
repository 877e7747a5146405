"""SVT: views of a video at several frame rates and extents are matched in the clusters they get.

Ranasinghe, Naseer, Khan, Khan, Ryoo, Self-supervised Video Transformer, CVPR 2022. After Caron et
al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021.

On RGB, grayscale and flow: a local view is a part in space too, which sound has not.

Shapes: G teacher's view, V student's view.

Should learn: motion.
"""

from collections.abc import Sequence

import torch

from evossl.families import SelfDistilled
from evossl.io.task_options import Classes, Positive, Share
from evossl.task import Place, each
from evossl.types import Stream
from evossl.views.recipes import NumCrops, local_crops, momentum_views
from evossl.views.spec import STRONG, Time, View

MATCHINGS = ("l->g", "g->g", "l->l", "g->l")
SLOW_RATES = (2, 4)  # frames of the cache a step, of the second global view, where they fit


class SVT(SelfDistilled):
    """Two global views, one at the clip's rate, one over more time, and parts of the latter.

    A matching "l->g": the student's clusters of each local view follow the teacher's of each global
    one. A view is never matched with itself.

    Args:
        place: one stream.
        matchings: some of "l->g", "g->g", "l->l", "g->l"; the paper's is the first two.
        local: local views, half as long as the clip and of half its side.
        clusters: outputs of the heads.
        temperature: of the teacher, after the warm-up. At the papers' 0.04 to 0.07 a short training
            of a small encoder stays at the uniform (measured).
        warmup: share of the training over which it rises from 0.04, where it is above that.
    """

    places = each(Stream.RGB, Stream.GRAY, Stream.FLOW)

    def __init__(
        self,
        place: Place,
        matchings: Sequence[str] = MATCHINGS[:2],
        local: NumCrops = 4,
        clusters: Classes = 256,
        temperature: Positive = 0.02,
        warmup: Share = 0.1,
    ) -> None:
        _check(matchings, local)
        asking, asked = ({matching.split("->")[i] for matching in matchings} for i in (0, 1))
        student = {f"student {n}": v for n, v in _views(place, asking, local).items()}
        teacher = momentum_views(_views(place, asked, local), prefix="momentum")
        matched_GV = torch.tensor(
            [
                [f"{v[0]}->{g[0]}" in matchings and v != g for v in _parts(asking, local)]
                for g in _parts(asked, local)
            ]
        )
        super().__init__(place, student, teacher, clusters, temperature, warmup, matched_GV)


def _check(matchings: Sequence[str], local: int) -> None:
    if not matchings or not set(matchings) <= set(MATCHINGS):
        raise ValueError(f"matchings are some of {', '.join(MATCHINGS)}, got {matchings}")
    needed = 2 if "l->l" in matchings else int(any("l" in matching for matching in matchings))
    if local < needed:
        raise ValueError(f"{', '.join(matchings)} need {needed} or more local views, got {local}")


def _views(place: Place, kinds: set[str], local: int) -> dict[str, View]:
    """Return the global views, the local ones, or both."""
    stream, shape = place.stream, place.shape.input
    slow = View(stream, Time(stride=SLOW_RATES), STRONG, draw=1)
    views = {"0": View(stream, space=STRONG), "1": slow} if "g" in kinds else {}
    if "l" in kinds:
        views |= local_crops(stream, shape, local, Time(frames=max(2, shape[1] // 2)), slow)
    return views


def _parts(kinds: set[str], local: int) -> list[tuple[str, int]]:
    """Return kind and number of each of these views, as they come out of the encoder."""
    counts = {"g": 2, "l": local}
    return [(kind, i) for kind, count in counts.items() if kind in kinds for i in range(count)]
