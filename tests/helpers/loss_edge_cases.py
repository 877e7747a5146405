"""What a loss is shown at its edges: few clips, views that agree, views that say nothing.

Shapes: B clip, D embedding.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from evossl.task import TaskBatch
from evossl.types import Features
from evossl.views.spec import View
from tests.helpers import handmade_batches as hand

EDGES = ("random", "two clips", "identical views", "a collapsed view")
ONE_VIEW = ("random", "two clips", "a collapsed view")  # nothing is there to be identical to


def seen_at(edge: str, views: Mapping[str, View], seed: int = 0) -> TaskBatch:
    """Features at random, or as `edge` says: float64 leaves that ask for gradients."""
    seen = hand.show(views, num=2 if edge == "two clips" else 6, seed=seed)
    given = {name: view.features for name, view in seen.views.items() if view.features is not None}
    first, *_ = given
    if edge == "identical views":
        given = {name: as_of(given[first], views[first], views[name]) for name in given}
    if edge == "a collapsed view":
        given[first] = changed(given[first], torch.ones_like)
    return shown(seen, {name: changed(x, Tensor.double) for name, x in given.items()})


def as_of(features: Features, shown: View, view: View) -> Features:
    """Of one piece of the view that was shown, for each piece of another."""

    def repeat(x: Tensor) -> Tensor:
        one = x if shown.num_pieces == 1 else x[:, 0]
        more = one[:, None].expand(-1, view.num_pieces, *one.shape[1:])
        return one if view.num_pieces == 1 else more

    return changed(features, repeat)


def told(seen: TaskBatch, embeddings: Mapping[str, Tensor]) -> TaskBatch:
    """The same, with encoders that give these embeddings of the named views."""
    return shown(seen, {name: Features(x, seen[name].maps) for name, x in embeddings.items()})


def shown(seen: TaskBatch, given: Mapping[str, Features]) -> TaskBatch:
    """The same, with encoders that give these features of the named views: as leaves."""

    def leaf(x: Tensor) -> Tensor:
        return x.detach().clone().requires_grad_()

    views = {n: replace(seen.views[n], features=changed(x, leaf)) for n, x in given.items()}
    return replace(seen, views={**seen.views, **views})


def changed(features: Features, change: Callable[[Tensor], Tensor]) -> Features:
    """The embedding and every map."""
    maps = {stage: change(map_) for stage, map_ in features.maps.items()}
    return Features(change(features.embedding_BD), maps)


def outputs(
    head: Callable[[Tensor], Tensor], seen: TaskBatch, names: Iterable[str]
) -> list[Tensor]:
    """What a head gives of each of the named views, one by one; pieces go through it together."""
    given = []
    for name in names:
        x = seen[name].embedding_BD
        if x.ndim == 2:
            given.append(head(x))
        else:
            given += head(x.flatten(0, 1)).unflatten(0, x.shape[:2]).unbind(dim=1)
    return given
