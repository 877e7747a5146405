"""Losses of several views written as loops over Python floats, from the papers' formulas."""

import math
from itertools import permutations
from statistics import fmean, variance

from torch import Tensor

from tests.helpers.naive_losses import euclidean, rows


def cosine(x: list[float], y: list[float]) -> float:
    """Return x . y / |x| |y|; a length below 1e-4 counts as 1e-4."""
    first, second = (max(math.hypot(*z), 1e-4) for z in (x, y))
    return sum(a * b for a, b in zip(x, y, strict=True)) / first / second


def negative_log_share(positive: float, negatives: list[float], temperature: float) -> float:
    """-log of the positive's share among exp(cosine / t)."""
    shares = [math.exp(s / temperature) for s in (positive, *negatives)]
    return -math.log(shares[0] / sum(shares))


def info_nce(
    query_ND: Tensor, key_MD: Tensor, video_N: Tensor, video_M: Tensor, temperature: float
) -> float:
    """Query i has the positive key i; the negatives are the keys of other videos."""
    queries, keys = rows(query_ND), rows(key_MD)
    whose, theirs = video_N.tolist(), video_M.tolist()
    costs = []
    for i, query in enumerate(queries):
        others = [key for key, video in zip(keys, theirs, strict=True) if video != whose[i]]
        negatives = [cosine(query, key) for key in others]
        costs.append(negative_log_share(cosine(query, keys[i]), negatives, temperature))
    return fmean(costs)


def multi_view_nt_xent(view_VBD: Tensor, temperature: float) -> float:
    """Each ordered pair of a clip's views, against all views of all other clips."""
    views, costs = [rows(view) for view in view_VBD], []
    for i in range(len(views[0])):
        others = [view[j] for view in views for j in range(len(view)) if j != i]
        for v, w in permutations(range(len(views)), 2):
            anchor = views[v][i]
            negatives = [cosine(anchor, other) for other in others]
            costs.append(negative_log_share(cosine(anchor, views[w][i]), negatives, temperature))
    return fmean(costs)


def triplet_margin_loss(x_BD: Tensor, y_BD: Tensor, margin: float, negatives: str) -> float:
    """FaceNet's equation 3 over the anchors of both views."""
    x, y, costs = rows(x_BD), rows(y_BD), []
    for anchors, others in ((x, y), (y, x)):
        for i, anchor in enumerate(anchors):
            squared = [euclidean(anchor, other) ** 2 for other in others]
            positive = squared.pop(i)
            further = [d for d in squared if d > positive]
            chosen = min(squared)
            if negatives == "semi_hard":
                chosen = min(further) if further else max(squared)
            costs.append(max(0.0, positive - chosen + margin))
    return fmean(costs)


def negative_cosine(prediction_VBD: Tensor, target_VBD: Tensor) -> float:
    """Mean of -cos over clips and ordered pairs of views."""
    predictions, targets = ([rows(view) for view in x] for x in (prediction_VBD, target_VBD))
    pairs = list(permutations(range(len(predictions)), 2))
    clips = range(len(predictions[0]))
    return -fmean(cosine(predictions[v][i], targets[w][i]) for v, w in pairs for i in clips)


def columns(x_BD: Tensor) -> list[list[float]]:
    """Return the columns of a matrix as lists of Python floats."""
    return rows(x_BD.T)


def barlow_twins_loss(x_BD: Tensor, y_BD: Tensor, redundancy: float) -> float:
    """Barlow Twins' equations 1 and 2, with BatchNorm's epsilon in the standard deviation."""

    def standardise_features(x: list[float]) -> list[float]:
        mean = fmean(x)
        deviation = math.sqrt(fmean((a - mean) ** 2 for a in x) + 1e-5)
        return [(a - mean) / deviation for a in x]

    first, second = ([standardise_features(c) for c in columns(z)] for z in (x_BD, y_BD))
    cost = 0.0
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            correlation = fmean(a * b for a, b in zip(x, y, strict=True))
            cost += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    return cost


def vicreg_loss(x_BD: Tensor, y_BD: Tensor, weights: tuple[float, float, float]) -> float:
    """VICReg's equations 1 to 6, v halved as in the authors' code."""
    spread = shared = 0.0
    for z in (columns(x_BD), columns(y_BD)):
        centred = [[a - fmean(c) for a in c] for c in z]
        spread += fmean(max(0.0, 1 - math.sqrt(variance(c) + 1e-4)) for c in z) / 2
        for i, j in permutations(range(len(z)), 2):
            products = [a * b for a, b in zip(centred[i], centred[j], strict=True)]
            shared += (sum(products) / (len(products) - 1)) ** 2 / len(z)
    pairs = zip(columns(x_BD), columns(y_BD), strict=True)
    agreement = fmean((a - b) ** 2 for x, y in pairs for a, b in zip(x, y, strict=True))
    return weights[0] * agreement + weights[1] * spread + weights[2] * shared
