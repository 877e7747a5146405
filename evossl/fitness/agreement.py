"""Agreement between two views of the same clips.

Shapes: N clip, D feature, C rows of a chunk.
"""

from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor
from torch.nn import functional as F

CHUNK_ROWS = 1024


def adjusted_mutual_information(first_N: Tensor, second_N: Tensor) -> float:
    """Return the AMI of two clusterings of the same clips: 1 if they are equal, about 0 by chance.

    Vinh, Epps, Bailey, JMLR 2010, normalised by the arithmetic mean of the entropies. It is 0 when
    either clustering has a single cluster, which carries no information to agree on (scikit-learn
    returns 1 for two of them).
    """
    if bool((first_N == first_N[0]).all()) or bool((second_N == second_N[0]).all()):
        return 0.0
    return float(adjusted_mutual_info_score(first_N.numpy(), second_N.numpy()))


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
