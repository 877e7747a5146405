"""The methods of the large-scale study (rho-BYOL and so on) as options of other methods' tasks.

Feichtenhofer, Fan, Xiong, Girshick, He, A Large-Scale Study on Unsupervised Spatiotemporal
Representation Learning, CVPR 2021.
"""

from collections.abc import Mapping
from typing import Any

RHO_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "rho_byol": {"task": "byol", "options": {}},
    "rho_moco": {
        "task": "moco",
        "options": {"symmetric": True, "hidden_layers": 2, "temperature": 0.1},
    },
    "rho_simclr": {"task": "simclr", "options": {"hidden_layers": 2}},
    "rho_swav": {"task": "swav", "options": {"local_crops": 0}},
}
"""Entries under `tasks` of a space, by the method's name; two clips of a video each by default."""
