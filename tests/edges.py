"""What a loss is shown at its edges: few clips, views that agree, views that say nothing.

Shapes: B clip, D embedding.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import made_by_hand as hand
import torch
from torch import Tensor

from evossl.streams import Features
from evossl.task import Seen
from evossl.views.spec import View

EDGES = ("random", "two clips", "identical views", "a collapsed view")


def seen_at(edge: str, views: Mapping[str, View], seed: int = 0) -> Seen:
    """Embeddings at random, or as `edge` says: float64 leaves that ask for gradients."""
    seen = hand.show(views, num=2 if edge == "two clips" else 6, seed=seed)
    embeddings = {name: seen[name].embedding_BD for name in views}
    first, *_ = views
    if edge == "identical views":
        embeddings = {name: as_of(embeddings[first], view) for name, view in views.items()}
    if edge == "a collapsed view":
        embeddings[first] = torch.ones_like(embeddings[first])
    return told(seen, {name: x.double() for name, x in embeddings.items()})


def as_of(embedding_BD: Tensor, view: View) -> Tensor:
    """The same embedding for each piece of a view."""
    if view.num_pieces == 1:
        return embedding_BD
    return embedding_BD[:, None].expand(-1, view.num_pieces, -1)


def told(seen: Seen, embeddings: Mapping[str, Tensor]) -> Seen:
    """The same, with encoders that give these embeddings of the named views."""
    views = dict(seen.views)
    for name, x in embeddings.items():
        leaf = x.detach().clone().requires_grad_()
        views[name] = replace(views[name], features=Features(leaf, views[name].maps))
    return replace(seen, views=views)


def outputs(head: Callable[[Tensor], Tensor], seen: Seen, names: Iterable[str]) -> list[Tensor]:
    """What a head gives of each of the named views, one by one; pieces go through it together."""
    given = []
    for name in names:
        x = seen[name].embedding_BD
        if x.ndim == 2:
            given.append(head(x))
        else:
            given += head(x.flatten(0, 1)).unflatten(0, x.shape[:2]).unbind(dim=1)
    return given
