"""After a step, state is updated with what the step's losses were graded by."""

import torch
from training_cases import make_clips, make_model, make_space


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
