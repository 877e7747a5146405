"""Agreement between two views of the same clips.

Shapes: N clip, D feature, K cluster, P permutation, C rows of a chunk.
"""

from collections.abc import Sequence

import torch
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor
from torch.nn import functional as F

CHUNK_ROWS = 1024
NUM_PERMUTATIONS = 200  # the standard deviation of chance is then known to 5 %


def adjusted_mutual_information(first_N: Tensor, second_N: Tensor) -> float:
    """Return the AMI of two clusterings of the same clips: 1 if they are equal, about 0 by chance.

    Vinh, Epps, Bailey, JMLR 2010, normalised by the arithmetic mean of the entropies. It is 0 when
    either clustering has a single cluster, which carries no information to agree on (scikit-learn
    returns 1 for two of them).
    """
    if bool((first_N == first_N[0]).all()) or bool((second_N == second_N[0]).all()):
        return 0.0
    return float(adjusted_mutual_info_score(first_N.numpy(), second_N.numpy()))


def chance_sd(pairs: Sequence[tuple[Tensor, Tensor]], seed: int) -> float:
    """Return the standard deviation of the mean AMI if clips were paired at random.

    The second clusterings are permuted against the first, all with the same permutation of clips.
    Cluster sizes do not change, so that only the mutual information does.

    Args:
        pairs: one or more pairs of clusterings (first_N, second_N) of the same clips.
        seed: of the permutations.
    """
    generator = torch.Generator().manual_seed(seed)
    num_clips = len(pairs[0][0])
    total_P = torch.zeros(NUM_PERMUTATIONS, dtype=torch.float64)
    orders = [torch.randperm(num_clips, generator=generator) for _ in range(NUM_PERMUTATIONS)]
    for first_N, second_N in pairs:
        information_P = torch.stack([_mutual_information(first_N, second_N[o]) for o in orders])
        entropy = (_entropy(first_N) + _entropy(second_N)) / 2
        # AMI = (MI - E[MI]) / (H - E[MI]), where E[MI] is the mean over permutations.
        room = float(entropy - information_P.mean())
        if room > 1e-12:
            total_P += information_P / room
    return float(total_P.std()) / len(pairs)


def _mutual_information(first_N: Tensor, second_N: Tensor) -> Tensor:
    joint = first_N * (int(second_N.max()) + 1) + second_N
    return _entropy(first_N) + _entropy(second_N) - _entropy(joint)


def _entropy(label_N: Tensor) -> Tensor:
    share_K = torch.bincount(label_N).double() / len(label_N)
    entropy: Tensor = torch.special.entr(share_K).sum()
    return entropy


def mean_reciprocal_rank(first_ND: Tensor, second_ND: Tensor) -> float:
    """Return the mean of 1 / rank of a clip's second view among all second views, by cosine.

    Ties count against the clip, so identical features for all clips score 1 / N. The value depends
    on N.
    """
    query_ND, key_ND = F.normalize(first_ND, dim=1), F.normalize(second_ND, dim=1)
    own_N = (query_ND * key_ND).sum(dim=1)
    total = 0.0
    for start in range(0, len(query_ND), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        similarity_CN = query_ND[rows] @ key_ND.T
        is_before_CN = similarity_CN >= own_N[rows, None] - 1e-6
        is_before_CN.diagonal(start).fill_(True)
        total += float((1.0 / is_before_CN.sum(dim=1).double()).sum())
    return total / len(query_ND)
