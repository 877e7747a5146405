from pathlib import Path

import pytest

from evossl.config import Fitness
from evossl.errors import UserError
from evossl.fitness.score import check_fitness, score
from tests.helpers.clustered_features import real


def write(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_user_defined_function_can_be_the_fitness(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "def fitness(features):\n    return features.clean_ND.shape[1]\n"
        "def other(features):\n    return -len(features)\n",
    )
    features = real(60)
    for name, expected in ((path, 64), (f"{path}:fitness", 64), (f"{path}:other", -60)):
        check_fitness(Fitness(name=name))
        assert score(features, Fitness(name=name), 0).fitness == expected


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        (None, "", "no such file"),
        (None, ":", "no such file"),
        ("def fitness(:", "", "cannot be loaded"),
        ("import no_such_module", "", "cannot be loaded"),
        ("def fitnes(x): return 1", "", "did you mean 'fitnes'"),
        ("def fitness(x): return 1", ":score", "unknown function 'score'"),
        ("fitness = 3", "", "unknown function 'fitness'"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_refused(
    text: str | None, suffix: str, message: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "none.py") if text is None else write(tmp_path, text)
    with pytest.raises(UserError, match=message):
        check_fitness(Fitness(name=path + suffix))


def test_a_user_file_may_define_dataclasses(tmp_path: Path) -> None:
    folder = tmp_path / "x.py"
    folder.mkdir()
    path = write(
        folder,
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: float = 2.5\n"
        "def fitness(features):\n    return A().x\n",
    )
    assert score(real(60), Fitness(name=path), 0).fitness == 2.5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 'good'", "ValueError"),
        ("return None", "TypeError"),
        ("return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("return x.clean", "line 2: AttributeError: "),
        ("return [][1]", "line 2: IndexError: "),
        ("assert len(x) > 1000", "line 2: AssertionError: assert len(x) > 1000"),
        ("assert len(x) > 1000, 'too few'", "line 2: AssertionError: too few"),
    ],
)
def test_the_error_of_a_user_function_names_its_line(
    body: str, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f"def fitness(x):\n    {body}\n")
    with pytest.raises(UserError, match=r"mine\.py.*failed: .*a number, where lower") as caught:
        score(real(60), Fitness(name=path), 0)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_value_that_is_not_finite_gives_a_reason(value: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"def fitness(x):\n    return float('{value}')\n")
    found = score(real(60), Fitness(name=path), 0)
    assert found.fitness is None
    assert found.reason == f"fitness is {value}"
