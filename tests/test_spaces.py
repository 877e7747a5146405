"""Every shipped search space can be trained: its keys are known and its clips are long enough."""

import re
from pathlib import Path

import pytest

from evossl.cli.checks import check_space
from evossl.errors import UserError
from evossl.experiment.terms import term_weights
from evossl.io.spaces import load_space, shipped_spaces, spaces_folder
from evossl.io.yaml_file import parse_yaml
from evossl.training.resolved_space import resolve_space
from tests.helpers.published_methods import with_teacher

SPACES = shipped_spaces()
RHO_METHODS = [f"rho_{method}" for method in ("byol", "moco", "simclr", "swav")]
every_space = pytest.mark.parametrize("name", SPACES)


def test_every_yaml_file_is_a_space_with_a_unique_name() -> None:
    assert set(SPACES.values()) == set(spaces_folder().rglob("*.yaml"))


@every_space
def test_shipped_space_can_be_trained(name: str, tmp_path: Path) -> None:
    space = with_teacher(load_space(name), tmp_path)
    terms = check_space(space, None, "space").terms
    assert {term.task for term in terms} == set(space.tasks)
    assert len({term.name for term in terms}) == len(terms)


@every_space
def test_shipped_space_has_a_one_line_description(name: str) -> None:
    about = load_space(name).about
    assert about.endswith(".")
    assert 20 < len(about) < 160
    assert "\n" not in about


@pytest.mark.parametrize("name", [name for name in SPACES if name.startswith("methods/")])
def test_published_method_fixes_its_weights_and_cites(name: str) -> None:
    space = load_space(name)
    weights = term_weights(resolve_space(space)).values()
    assert all(isinstance(weight, float) for weight in weights)
    assert re.search(r"(19|20)\d\d", space.about)


@pytest.mark.parametrize("method", RHO_METHODS)
def test_rho_method_is_its_base_task_under_another_name(method: str) -> None:
    for space in (load_space("everything"), load_space(f"methods/{method}")):
        choice = space.tasks[method]
        assert f"rho_{choice.task}" == method
        assert choice.options["rho"] > 2
        assert f"{method}.rgb" in {term.name for term in resolve_space(space).terms}


def test_too_short_stretch_is_refused_with_the_remedy() -> None:
    """Following the remedies, starting from the clip's own length, ends at an accepted stretch."""
    space = load_space("tiny")

    def refusal(stretch: int) -> str:
        clip = space.clip.model_copy(update={"stretch": stretch})
        try:
            check_space(space.model_copy(update={"clip": clip}), None, "tiny")
        except UserError as error:
            return str(error).removeprefix("tiny: ")
        return ""

    stretch, refused_terms = space.clip.frames, set()
    assert refusal(stretch - 1).startswith("fitness: ")
    while message := refusal(stretch):
        match = re.match(r"(\S+): view .* raise clip\.stretch to (\d+)", message)
        assert match, message
        refused_terms.add(match[1])
        assert int(match[2]) > stretch
        stretch = int(match[2])
    assert refused_terms
    assert refused_terms < {term.name for term in resolve_space(space).terms}
    assert space.clip.frames < stretch <= space.clip.stretch
    assert refusal(stretch - 1)


def test_shipped_space_equals_a_copy_of_its_file(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(SPACES["tiny"].read_text(encoding="utf-8"), encoding="utf-8")
    assert load_space(copy) == load_space("tiny")
    raw = parse_yaml(copy.read_text(encoding="utf-8"), str(copy))
    assert load_space("tiny").model_dump(exclude_unset=True).keys() == raw.keys()
