"""How well a linear classifier predicts a label from a statistic that may be a shortcut.

Shapes: B clip, K statistic.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def linear_accuracy(statistic_BK: Tensor, label_B: Tensor) -> float:
    """Return the accuracy on the second half of the clips of ridge regression on the first half."""
    x_BK = statistic_BK.flatten(1).double()
    x_BK = (x_BK - x_BK.mean(dim=0)) / (x_BK.std(dim=0) + 1e-9)
    x_BK = torch.cat([x_BK, torch.ones(len(x_BK), 1, dtype=torch.float64)], dim=1)
    half = len(x_BK) // 2
    wanted = F.one_hot(label_B[:half].long()).double()
    ridge = 0.01 * half * torch.eye(x_BK.shape[1], dtype=torch.float64)
    train_BK = x_BK[:half]
    weight = torch.linalg.solve(train_BK.T @ train_BK + ridge, train_BK.T @ wanted)
    answer_B = (x_BK[half:] @ weight).argmax(dim=1)
    return float((answer_B == label_B[half:].cpu()).double().mean())


def chance_limit(chance: float, num: int) -> float:
    """Return the accuracy of guessing plus four standard deviations."""
    return chance + 4 * math.sqrt(chance * (1 - chance) / num)
