"""The retrieval protocol: test clips search for training clips of their own class.

Shapes: N training clip (gallery), M test clip (query), B query of a block, D feature.
"""

import numpy as np

from evossl.evaluation.fold_data import Floats, FoldData
from evossl.evaluation.metrics import RetrievalPredictions

BLOCK_ROWS = 512  # queries that are ranked at once: 20,000 clips need megabytes, not gigabytes


def retrieval(data: FoldData, seed: int = 0) -> RetrievalPredictions:
    """Return the gallery ranked by cosine for each query; equal cosines keep the gallery's order.

    The gallery is the training side and the queries are the test side, as in Xu et al.,
    Self-Supervised Spatiotemporal Learning via Video Clip Order Prediction, CVPR 2019.
    """
    query_MD, gallery_ND = _normalise(data.test_MD), _normalise(data.train_ND)
    blocks = []
    for start in range(0, len(query_MD), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        cosine_BN = query_MD[rows] @ gallery_ND.T
        order_BN = np.argsort(-cosine_BN, axis=1, kind="stable")
        blocks.append(data.train_N[order_BN] == data.test_M[rows, None])
    return RetrievalPredictions(np.concatenate(blocks))


def _normalise(x_ND: Floats) -> Floats:
    """Return unit rows; a zero row stays zero."""
    norm_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    return x_ND / np.where(norm_N1 > 0, norm_N1, 1.0)
