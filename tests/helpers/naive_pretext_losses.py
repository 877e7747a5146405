"""Losses of pretext tasks as loops over Python floats, from the papers' formulas."""

import math
from itertools import product

from torch import Tensor

from evossl.losses.colour import SoftEncoding


def cross_entropy(logit_BK: Tensor, label_B: Tensor) -> float:
    """-mean log(exp(logit of the label) / sum exp(logit))."""
    total = 0.0
    for row, label in zip(logit_BK.detach().double().tolist(), label_B.tolist(), strict=True):
        top = max(row)
        total += top + math.log(sum(math.exp(x - top) for x in row)) - row[label]
    return total / len(logit_BK)


def gradient_difference_loss(prediction: Tensor, target: Tensor) -> float:
    """Mathieu et al., equation 6, alpha 1, as the mean over rows' steps plus that over columns'."""
    x, y = prediction.detach().double(), target.detach().double()
    *outer, height, width = x.shape
    down, across = [], []
    for index in product(*map(range, outer)):
        a, b = x[index].tolist(), y[index].tolist()
        for i, j in product(range(height), range(width)):
            if i:
                down.append(abs(abs(b[i][j] - b[i - 1][j]) - abs(a[i][j] - a[i - 1][j])))
            if j:
                across.append(abs(abs(b[i][j] - b[i][j - 1]) - abs(a[i][j] - a[i][j - 1])))
    return sum(down) / len(down) + sum(across) / len(across)


def soft_code(ab: list[float], middles: list[list[float]]) -> dict[int, float]:
    """The 5 classes nearest to a colour, weighted by a Gaussian of standard deviation 5."""
    near = sorted((math.dist(ab, middle), q) for q, middle in enumerate(middles))[:5]
    weights = {q: math.exp(-(d**2) / (2 * 5**2)) for d, q in near}
    return {q: weight / sum(weights.values()) for q, weight in weights.items()}


def rebalancing_weights(share_Q: list[float]) -> list[float]:
    """Zhang et al., equation 4: 1 / ((1 - l) p + l / Q), l = 1/2, of mean 1 under p."""
    raw = [1 / (0.5 * p + 0.5 / len(share_Q)) for p in share_Q]
    mean = sum(p * w for p, w in zip(share_Q, raw, strict=True))
    return [w / mean for w in raw]


def colorization_loss(logit_BQX: Tensor, near: SoftEncoding, weight: list[float]) -> float:
    """Zhang et al., equations 2 and 3: the mean over pixels of -v sum_q Z_q log Zhat_q."""
    costs = []
    for b, x in product(range(logit_BQX.shape[0]), range(logit_BQX.shape[2])):
        logits = logit_BQX[b, :, x].detach().double().tolist()
        total = math.log(sum(math.exp(a) for a in logits))
        code = dict(
            zip(near.index_BKX[b, :, x].tolist(), near.weight_BKX[b, :, x].tolist(), strict=True)
        )
        v = weight[max(code, key=lambda q: code[q])]
        costs.append(-v * sum(share * (logits[q] - total) for q, share in code.items()))
    return sum(costs) / len(costs)
