"""After a step, the tasks' states are updated with the outputs that its losses came from."""

from pathlib import Path
from typing import cast

import torch

from evossl.data.loader import ClipLoader
from evossl.training.loop import train
from evossl.training.objective import Objective
from evossl.training.schedule import Schedule
from tests.helpers.training_cases import MemoryLoader, make_clips, make_model, make_space


def test_a_centre_uses_outputs_from_before_the_ema_update() -> None:
    options = {"prototypes": 8, "local_crops": 0}
    model = make_model(make_space({"dino": {"places": ["rgb"], "options": options}}))
    batches = model.losses(make_clips(), step=0, progress=0.5).batches
    task, batch = model.task("dino.rgb"), batches["dino.rgb"]
    with torch.no_grad():
        scores = [task.teacher_head(x_BD) for x_BD in batch.embeddings(*task.teacher_views)]
        for weight in task.student_head.parameters():
            weight.add_(torch.ones_like(weight))  # an optimiser's step
    model.after_step(batches, decay=0.5)
    torch.testing.assert_close(task.centre.mean_K, 0.1 * torch.cat(scores).mean(dim=0))


def test_a_queue_receives_keys_of_every_accumulated_batch(tmp_path: Path) -> None:
    """With only the last batch's keys, most videos of an accumulated step would be missing."""
    tasks = {"moco": {"places": ["rgb"], "options": {"queue_size": 100}}}
    space = make_space(tasks, training={"batch_size": 6, "accumulate": 3})
    model, loader = make_model(space), MemoryLoader()
    objective = Objective({"moco.rgb": 1.0}, {"moco.rgb": 1.0})
    list(train(model, cast(ClipLoader, loader), objective, Schedule(2), tmp_path))
    assert len(model.task("moco.rgb").queue) == 2 * 3 * 6
