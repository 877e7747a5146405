"""Losses written as loops over Python floats, from the papers' formulas."""

import math

from torch import Tensor


def rows(x: Tensor) -> list[list[float]]:
    """Return the rows of a matrix as lists of Python floats."""
    return x.detach().double().tolist()


def mean_squared_error(prediction: Tensor, target: Tensor) -> float:
    """Mean over all values of the squared difference."""
    assert prediction.shape == target.shape
    a, b = (x.detach().double().flatten().tolist() for x in (prediction, target))
    return sum((p - t) ** 2 for p, t in zip(a, b, strict=True)) / len(a)


def euclidean(x: list[float], y: list[float]) -> float:
    """|x - y|."""
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def to_unit(x: list[float]) -> list[float]:
    """x / |x|."""
    norm = math.sqrt(sum(a * a for a in x))
    return [a / norm for a in x]


def max_margin_loss(x_BD: Tensor, y_BD: Tensor, margin: float) -> float:
    """mean_i |x_i - y_i| + mean_{i != j} max(0, margin - |x_i - y_j|)."""
    x, y = rows(x_BD), rows(y_BD)
    clips = range(len(x))
    same = [euclidean(x[i], y[i]) for i in clips]
    other = [max(0.0, margin - euclidean(x[i], y[j])) for i in clips for j in clips if i != j]
    return sum(same) / len(same) + sum(other) / len(other)


def nt_xent(x_BD: Tensor, y_BD: Tensor, temperature: float) -> float:
    """SimCLR's equation 1, averaged over the 2B anchors."""
    z = [to_unit(row) for row in rows(x_BD) + rows(y_BD)]
    count, total = len(z), 0.0
    for i in range(count):
        cosines = [sum(a * b for a, b in zip(z[i], z[k], strict=True)) for k in range(count)]
        pair = math.exp(cosines[(i + count // 2) % count] / temperature)
        total -= math.log(
            pair / sum(math.exp(cosines[k] / temperature) for k in range(count) if k != i)
        )
    return total / count


def binary_cross_entropy(logit_B: Tensor, label_B: Tensor) -> float:
    """-mean(y log p + (1 - y) log(1 - p)), p = sigmoid(logit)."""
    total = 0.0
    for logit, label in zip(logit_B.detach().double().tolist(), label_B.tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= math.log(p if label else 1 - p)
    return total / len(logit_B)


def softmax(x: list[float]) -> list[float]:
    """exp(x_k) / sum exp(x), shifted by the largest."""
    powers = [math.exp(a - max(x)) for a in x]
    return [p / sum(powers) for p in powers]


def sinkhorn(score_NK: Tensor, epsilon: float, iterations: int) -> list[list[float]]:
    """SwAV's codes: columns made equal, then rows, as in the listing of its appendix."""
    q = [[math.exp(s / epsilon) for s in row] for row in rows(score_NK)]
    for _ in range(iterations):
        columns = [sum(row[k] for row in q) for k in range(len(q[0]))]
        q = [[a / columns[k] for k, a in enumerate(row)] for row in q]
        q = [[a / sum(row) for a in row] for row in q]
    return q


def multi_view_cross_entropy(logit_VBK: Tensor, target_GBK: Tensor, matched_GV: Tensor) -> float:
    """Mean over matched pairs and clips of -sum_k target log softmax(logit)."""
    views, targets = [rows(x) for x in logit_VBK], [rows(x) for x in target_GBK]
    costs = []
    for g, matched_V in enumerate(matched_GV.tolist()):
        for v, is_matched in enumerate(matched_V):
            for wanted, logit in zip(targets[g], views[v], strict=True):
                given = softmax(logit)
                cost = -sum(t * math.log(p) for t, p in zip(wanted, given, strict=True))
                costs += [cost] if is_matched else []
    return sum(costs) / len(costs)
