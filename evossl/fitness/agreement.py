"""Do two views of one clip say the same?

Shapes: N clip, D feature, C rows of a chunk.
"""

from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1024


def adjusted_mutual_information(first_N: Tensor, second_N: Tensor) -> float:
    """Return AMI of two assignments of the same clips: 1 the same partition, 0 what chance gives.

    Vinh, Epps, Bailey, JMLR 2010, arithmetic mean of the entropies. Where either assignment is a
    single cluster it is 0: nothing was said that could agree (scikit-learn gives two of them 1).
    """
    if bool((first_N == first_N[0]).all()) or bool((second_N == second_N[0]).all()):
        return 0.0
    return float(adjusted_mutual_info_score(first_N.numpy(), second_N.numpy()))


def mean_reciprocal_rank(first_ND: Tensor, second_ND: Tensor) -> float:
    """Return the mean of 1 / rank of a clip's second view among all second views, by cosine.

    Ties count against it, so features that are all alike score 1 / N. Depends on N.
    """
    query_ND, key_ND = F.normalize(first_ND, dim=1), F.normalize(second_ND, dim=1)
    own_N = (query_ND * key_ND).sum(dim=1)
    total = 0.0
    for start in range(0, len(query_ND), CHUNK):
        rows = slice(start, start + CHUNK)
        similarity_CN = query_ND[rows] @ key_ND.T
        is_before_CN = similarity_CN >= own_N[rows, None] - 1e-6
        is_before_CN.diagonal(start).fill_(True)
        total += float((1.0 / is_before_CN.sum(dim=1).double()).sum())
    return total / len(query_ND)
