"""Edge cases for losses: few clips, identical views, a collapsed view.

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
SINGLE_VIEW_EDGES = ("random", "two clips", "a collapsed view")


def make_edge_batch(edge: str, views: Mapping[str, View], seed: int = 0) -> TaskBatch:
    """Return a batch of random features, or as `edge` says; features are float64 leaves."""
    batch = hand.make_batch(views, num=2 if edge == "two clips" else 6, seed=seed)
    features = {name: view.features for name, view in batch.views.items() if view.features}
    first, *_ = features
    if edge == "identical views":
        features = {
            name: repeat_pieces(features[first], views[first], views[name]) for name in features
        }
    if edge == "a collapsed view":
        features[first] = map_features(features[first], torch.ones_like)
    return with_features(
        batch, {name: map_features(x, Tensor.double) for name, x in features.items()}
    )


def repeat_pieces(features: Features, source: View, target: View) -> Features:
    """Return one piece's features of the source view, for each piece of the target view."""

    def repeat(x: Tensor) -> Tensor:
        one = x if source.num_pieces == 1 else x[:, 0]
        more = one[:, None].expand(-1, target.num_pieces, *one.shape[1:])
        return one if target.num_pieces == 1 else more

    return map_features(features, repeat)


def with_features(batch: TaskBatch, features: Mapping[str, Features]) -> TaskBatch:
    """Return the batch with these features of the named views, as leaves."""

    def leaf(x: Tensor) -> Tensor:
        return x.detach().clone().requires_grad_()

    views = {
        name: replace(batch.views[name], features=map_features(x, leaf))
        for name, x in features.items()
    }
    return replace(batch, views={**batch.views, **views})


def map_features(features: Features, function: Callable[[Tensor], Tensor]) -> Features:
    """Return features with the function applied to the embedding and to every map."""
    maps = {stage: function(map_) for stage, map_ in features.maps.items()}
    return Features(function(features.embedding_BD), maps)


def head_outputs(
    head: Callable[[Tensor], Tensor], batch: TaskBatch, names: Iterable[str]
) -> list[Tensor]:
    """Return a head's outputs for the named views in turn; pieces go through it together."""
    outputs = []
    for name in names:
        x = batch[name].embedding_BD
        if x.ndim == 2:
            outputs.append(head(x))
        else:
            outputs += head(x.flatten(0, 1)).unflatten(0, x.shape[:2]).unbind(dim=1)
    return outputs
