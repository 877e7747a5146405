"""Task options out of range are refused with the option's name and its range."""

import inspect
from collections.abc import Iterator

import pytest

from evossl.errors import UserError
from evossl.io.task_options import check_options
from evossl.task import Task
from evossl.task_loader import load_catalogue

TASKS = load_catalogue()
CHOSEN = {"svt.matchings", "triplet.negatives"}  # words, which the task holds against its own
RIGHT = {"tempo.strides": [1, 3], "triplet.negatives": "hardest", "svt.matchings": ["g->g"]}


def options() -> Iterator[str]:
    """Yield every option of every task, such as "moco.queue_size"."""
    for name, task in TASKS.items():
        yield from (f"{name}.{option}" for option in list(inspect.signature(task).parameters)[1:])


def refusal(task: str, option: str, value: object) -> str:
    with pytest.raises(UserError) as refused:
        check_options(f"tasks.{task}.options", {option: value}, TASKS[task])
    return str(refused.value)


def default(name: str) -> object:
    task, option = name.split(".")
    return inspect.signature(TASKS[task]).parameters[option].default


@pytest.mark.parametrize("name", sorted({*options()} - CHOSEN))
def test_every_option_refuses_out_of_range_values(name: str) -> None:
    task, option = name.split(".")
    where = f"tasks.{task}.options.{option}"
    wrong = [-1, 10**13, float("inf"), float("nan"), "hot", None, [-1, 10**13]]
    if isinstance(default(name), float):
        wrong.remove(10**13)  # is one as good as another
    if isinstance(default(name), bool):
        wrong.append(1)
    for value in wrong:
        assert refusal(task, option, value).startswith(where), value
    check_options("tasks", {option: RIGHT.get(name, default(name))}, TASKS[task])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("moco.queue_size", 0, "Input should be greater than or equal to 1 (got 0)"),
        ("moco.temperature", 0, "Input should be greater than 0 (got 0)"),
        ("moco.temperature", float("inf"), "Input should be a finite number (got inf)"),
        ("dino.local_crops", 500, "Input should be less than or equal to 100 (got 500)"),
        ("dino.prototypes", 1, "Input should be greater than or equal to 2 (got 1)"),
        ("dino.temperature_warmup", 2, "Input should be less than or equal to 1 (got 2)"),
        ("swav.queue_size", -1, "Input should be greater than or equal to 0 (got -1)"),
        ("byol.rho", 9, "Input should be less than or equal to 4 (got 9)"),
        ("vicreg.expansion", 1000, "Input should be less than or equal to 8 (got 1000)"),
        ("generative.mask_ratio", 1, "Input should be less than 1 (got 1)"),
        ("tempo.strides", [0, 1], "Input should be greater than or equal to 1 (got 0)"),
        ("tempo.strides", 3, "Input should be a valid list (got 3)"),
        ("distill.joint", "yes", "Input should be a valid boolean (got 'yes')"),
    ],
)
def test_refusal_states_what_the_option_requires(name: str, value: object, said: str) -> None:
    task, option = name.split(".")
    message = refusal(task, option, value)
    assert message.startswith(f"tasks.{task}.options.{option}")
    assert message.endswith(f": {said}")


def test_options_without_a_checkable_type_accept_anything() -> None:
    def own(place: object, free, later: "Later", task: Task | None = None) -> None:  # noqa: F821
        """Options as a user's own task may have them."""

    check_options("tasks.own.options", {"free": [3], "later": 1, "task": 2}, own)


def test_unknown_option_suggests_the_nearest() -> None:
    said = refusal("simclr", "temprature", 1)
    assert said == (
        "tasks.simclr.options: unknown option 'temprature': did you mean 'temperature'? "
        "Known: hidden_layers, rho, temperature"
    )
