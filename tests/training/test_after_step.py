"""After a step, state is updated with what the step's losses were graded by."""

from pathlib import Path
from typing import cast

import torch

from evossl.data.loader import ClipLoader
from evossl.training.loop import Objective, Schedule, train
from tests.helpers.training_cases import MemoryLoader, make_clips, make_model, make_space


def test_a_centre_moves_to_what_the_momentum_head_gave_before_it_followed() -> None:
    options = {"clusters": 8, "local": 0}
    model = make_model(make_space({"dino": {"places": ["rgb"], "options": options}}))
    seen = model.losses(make_clips(), step=0, progress=0.5).seen
    distil = model.task("dino.rgb").distil
    with torch.no_grad():
        given = [distil.teacher(seen["dino.rgb"][f"teacher {i}"].embedding_BD) for i in range(2)]
        for weight in distil.student.parameters():
            weight.add_(torch.ones_like(weight))  # an optimiser's step
    model.after_step(seen, decay=0.5)
    torch.testing.assert_close(distil.centre_K, 0.1 * torch.cat(given).mean(dim=0))


def test_a_queue_gets_the_keys_of_every_accumulated_batch(tmp_path: Path) -> None:
    """elo's space accumulates: with the last batch's keys alone half of the videos were none."""
    tasks = {"moco": {"places": ["rgb"], "options": {"queue": 100}}}
    space = make_space(tasks, training={"batch_size": 6, "accumulate": 3})
    model, loader = make_model(space), MemoryLoader()
    weighing = Objective({"moco.rgb": 1.0}, {"moco.rgb": 1.0})
    list(train(model, cast(ClipLoader, loader), space, weighing, Schedule(2), tmp_path))
    assert len(model.task("moco.rgb").contrast.queue) == 2 * 3 * 6
