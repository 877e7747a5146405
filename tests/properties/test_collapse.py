"""No method collapses in 100 steps of training alone on 60 synthetic videos.

The tests measure RankMe (Garrido et al., ICML 2023; not centred) of the embeddings of 20 held-out
videos, which ranges from 1 (collapse) to 20. Random init has 9.0 to 9.3; training views only to
agree ends at 1.7 to 1.8. DPC is the method nearest to that, with 4.1: it compares positions of the
map, most of them within one clip, while their mean is scored.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from evossl.cli.data import prepare_videos
from evossl.config import SearchSpace
from evossl.data.synth.dataset import synthesise
from evossl.experiment.held_out import calibrate, scoring_features
from evossl.experiment.split import RunData, open_data
from evossl.fitness.indicators import rankme
from evossl.io.spaces import load_space
from evossl.training.loop import train
from evossl.training.model import MultiTaskModel
from evossl.training.objective import Objective
from evossl.training.resolved_space import resolve_space
from evossl.training.schedule import Schedule
from evossl.types import Stream
from evossl.views.settings import ViewSettings
from tests.helpers.published_methods import METHODS, method_alone, with_teacher

STEPS = 100
FLOORS = {
    "arrow_of_time": 4.0,
    "barlow_twins": 3.0,
    "brave": 5.0,
    "byol": 2.5,
    "colorization": 4.5,
    "cubic_puzzles": 3.5,
    "dino": 4.0,
    "dpc": 2.5,
    "generative": 3.5,
    "interpolation": 5.0,
    "jepa": 3.5,
    "jigsaw": 3.0,
    "knowledge_distillation": 4.0,
    "moco": 3.5,
    "nnclr": 4.0,
    "order_binary": 3.5,
    "order_multiclass": 3.5,
    "pirl": 4.0,
    "reconstruction": 3.5,
    "rho_byol": 3.0,
    "rho_moco": 4.5,
    "rho_simclr": 5.0,
    "rho_swav": 3.5,
    "simclr": 5.5,
    "simsiam": 3.5,
    "svt": 4.0,
    "swav": 3.0,
    "tempo": 6.0,
    "triplet": 3.0,
    "vicreg": 4.5,
    "video_prediction": 4.5,
}
"""Two thirds of the lower rank of two measured seeds, rounded down to a half."""

AGREE = """
from evossl.losses.distance import mean_squared_error
from evossl.types import Stream
from evossl.task import Task, each
from evossl.views.spec import STRONG, View


class Agree(Task):
    places = each(Stream.RGB)

    def views(self):
        return {str(draw): View(Stream.RGB, space=STRONG, draw=draw) for draw in (0, 1)}

    def loss(self, batch):
        return mean_squared_error(*(batch[draw].embedding_BD for draw in ("0", "1")))
"""


def space_of(method: str) -> SearchSpace:
    """Return a space of one method with the demo's encoder and optimiser."""
    return load_space("tiny", method_alone(method))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    folder = tmp_path_factory.mktemp("collapse")
    synthesise(folder / "videos", 60, 8, 1)
    files = sorted((folder / "videos").rglob("*.mp4"))
    listed = "".join(f"{file},{file.name}\n" for file in files)  # the split goes by the group
    (folder / "videos.csv").write_text(f"path,group\n{listed}")
    space, manifest = space_of("simclr"), folder / "manifest.parquet"
    prepare_videos(
        str(folder / "videos.csv"), manifest, folder / "cache", space, 1, has_begun=False
    )
    return open_data(manifest, folder / "cache", space, 0)


def rank_after(
    space: SearchSpace, data: RunData, folder: Path, tasks_folder: Path | None = None
) -> float:
    """Return the RankMe of the held-out videos' embeddings after training with the method."""
    model = MultiTaskModel(resolve_space(space, tasks_folder), seed=0)
    ones = {term.name: 1.0 for term in model.terms}
    for _ in train(model, data.train, Objective(ones, ones), Schedule(STEPS), folder):
        pass
    encoder, settings = model.encoder(Stream.RGB), ViewSettings.from_space(space)
    calibrate(encoder, data.train, settings)
    features = scoring_features(encoder, data.selection, settings, seed=0)
    assert torch.isfinite(features.clean_ND).all()
    return rankme(features.clean_ND)


def test_every_method_has_a_rank_floor() -> None:
    assert list(FLOORS) == METHODS


@pytest.mark.slow
@pytest.mark.parametrize("method", FLOORS)
def test_method_does_not_collapse(
    method: str, data: RunData, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    space = with_teacher(space_of(method), tmp_path, width=8)
    rank = rank_after(space, data, tmp_path / "run")
    record_property("rankme", round(rank, 2))
    record_property("floor", FLOORS[method])
    assert rank > FLOORS[method]


@pytest.mark.slow
def test_agreement_alone_collapses(data: RunData, tmp_path: Path) -> None:
    """Without anything that prevents collapse, the rank falls below all floors."""
    (tmp_path / "agree.py").write_text(AGREE)
    rank = rank_after(space_of("agree"), data, tmp_path / "run", tmp_path)
    assert rank < min(FLOORS.values())
