"""Every shipped search space can be trained: its words are known and its clips are long enough."""

import re
from pathlib import Path

import pytest

from evossl.cli.checks import check_space
from evossl.errors import UserError
from evossl.experiment.terms import resolve_terms, term_weights
from evossl.io.spaces import load_space, shipped_spaces, spaces_folder
from evossl.io.yaml_file import parse_yaml
from evossl.task_loader import load_catalogue
from tests.helpers.published_methods import taught

SPACES = shipped_spaces()
every_space = pytest.mark.parametrize("name", SPACES)


def test_every_file_of_the_folder_is_a_space_with_a_name_of_its_own() -> None:
    assert set(SPACES.values()) == set(spaces_folder().rglob("*.yaml"))


@every_space
def test_a_shipped_space_can_be_trained(name: str, tmp_path: Path) -> None:
    space = taught(load_space(name), tmp_path)
    terms = check_space(space, None, "space")
    assert {term.task for term in terms} == set(space.tasks)
    assert len({term.name for term in terms}) == len(terms)


@every_space
def test_a_shipped_space_says_what_it_is_on_one_line_of_fair_length(name: str) -> None:
    about = load_space(name).about
    assert about.endswith(".")
    assert 20 < len(about) < 160
    assert "\n" not in about


@pytest.mark.parametrize("name", [name for name in SPACES if name.startswith("methods/")])
def test_a_published_method_fixes_all_its_weights_and_names_its_paper(name: str) -> None:
    space = load_space(name)
    weights = term_weights(space, resolve_terms(space, load_catalogue())).values()
    assert all(isinstance(weight, float) for weight in weights)
    assert re.search(r"(19|20)\d\d", space.about)


def test_a_stretch_too_short_for_a_task_is_refused_with_its_term_and_the_remedy() -> None:
    """Following the remedies from the clip's own frames on ends at a stretch that is taken."""
    space = load_space("tiny")

    def refusal(stretch: int) -> str:
        clip = space.clip.model_copy(update={"stretch": stretch})
        try:
            check_space(space.model_copy(update={"clip": clip}), None, "tiny")
        except UserError as error:
            return str(error).removeprefix("tiny: ")
        return ""

    least, asked = space.clip.frames, set()
    assert refusal(least - 1).startswith("fitness: ")
    while said := refusal(least):
        match = re.match(r"(\S+): view .* raise clip\.stretch to (\d+)", said)
        assert match, said
        asked.add(match[1])
        assert int(match[2]) > least
        least = int(match[2])
    assert asked
    assert asked < {term.name for term in resolve_terms(space, load_catalogue())}
    assert space.clip.frames < least <= space.clip.stretch
    assert refusal(least - 1)


def test_a_shipped_space_is_read_from_the_file_that_its_name_says(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(SPACES["tiny"].read_text(encoding="utf-8"), encoding="utf-8")
    assert load_space(copy) == load_space("tiny")
    raw = parse_yaml(copy.read_text(encoding="utf-8"), str(copy))
    assert load_space("tiny").model_dump(exclude_unset=True).keys() == raw.keys()
