import numpy as np
import pytest
import torch

from evossl.fitness.standardise import Standardiser, preprocess
from tests.helpers.clustered_features import normal


def test_standardised_features_have_mean_0_and_sd_1() -> None:
    x_ND = normal(0, 30, 3) * torch.tensor([1e-3, 1, 1e3]) + torch.tensor([5, 0, 9])
    x_ND = torch.cat([x_ND, torch.full((30, 1), 0.1), torch.zeros(30, 1)], dim=1)
    z_ND = Standardiser.fit(x_ND)(x_ND).numpy()
    assert z_ND[:, :3].mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)
    assert z_ND[:, :3].std(axis=0) == pytest.approx(np.ones(3), rel=1e-3)
    assert not z_ND[:, 3:].any()


def test_a_view_is_standardised_by_the_clean_clips() -> None:
    clean_ND = normal(0, 30, 3)
    _, view_ND = preprocess("standard", clean_ND, [clean_ND + clean_ND.std(dim=0, correction=0)])
    assert view_ND.mean(dim=0).tolist() == pytest.approx([1, 1, 1], rel=1e-5)


@pytest.mark.parametrize("kind", ["raw", "l2"])
def test_subtracting_the_mean_keeps_every_distance(kind: str) -> None:
    clean_ND, view_ND = normal(0, 9, 3) + 2, normal(1, 9, 3)
    moved = preprocess(kind, clean_ND, [view_ND])
    kept = [clean_ND, view_ND] if kind == "raw" else [
        x / x.norm(dim=1, keepdim=True) for x in (clean_ND, view_ND)
    ]  # fmt: skip
    assert torch.allclose(torch.cdist(*moved), torch.cdist(*kept), atol=1e-5)
