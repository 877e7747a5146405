import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evossl.errors import UserError
from evossl.search.genotype import Genotype

weight = st.floats(0, 1)
pair = st.tuples(weight, weight).map(lambda two: (min(two), max(two)))


@settings(deadline=None)
@given(st.dictionaries(st.text("ab.", min_size=1), weight | pair))
def test_equal_weights_lie_within_bounds(
    weights: dict[str, float | tuple[float, float]],
) -> None:
    genotype = Genotype.from_weights(weights)
    equal = genotype.equal_weights()
    assert equal.keys() == weights.keys()
    for name, choice in weights.items():
        low, high = choice if isinstance(choice, tuple) else (choice, choice)
        assert low <= equal[name] <= high
        assert equal[name] == 0.5 or equal[name] in (low, high)


def test_equal_weights_are_one_half_if_bounds_allow_it() -> None:
    genotype = Genotype({"a": (0, 1), "b": (0.1, 0.9), "c": (0, 0.2), "d": (0.7, 1)}, {"e": 0.1})
    assert genotype.equal_weights() == {"a": 0.5, "b": 0.5, "c": 0.2, "d": 0.7, "e": 0.1}


def test_a_pair_of_equal_bounds_is_a_fixed_weight() -> None:
    genotype = Genotype.from_weights({"a": (0.3, 0.3), "b": 1})
    assert genotype == Genotype({}, {"a": 0.3, "b": 1.0})
    assert not genotype.evolves


@pytest.mark.parametrize(
    ("bounds", "fixed"),
    [
        ({"simclr.rgb": (-0.1, 1.0)}, {}),
        ({"simclr.rgb": (0.0, 1.1)}, {}),
        ({"simclr.rgb": (0.5, 0.5)}, {}),
        ({"simclr.rgb": (0.6, 0.5)}, {}),
        ({"simclr.rgb": (float("nan"), 0.5)}, {}),
        ({}, {"simclr.rgb": 1.5}),
        ({}, {"simclr.rgb": float("nan")}),
        ({"simclr.rgb": (0.0, 1.0)}, {"simclr.rgb": 0.5}),
    ],
)
def test_an_invalid_weight_is_refused_by_name(
    bounds: dict[str, tuple[float, float]], fixed: dict[str, float]
) -> None:
    with pytest.raises(UserError, match=r"simclr\.rgb"):
        Genotype(bounds, fixed)


def test_initial_trials_are_equal_weights_then_single_tasks() -> None:
    weights = {"a.rgb": (0.0, 1.0), "a.flow": (0.2, 0.8), "b.rgb": (0.0, 0.6), "c.rgb": 0.3}
    genotype = Genotype.from_weights(weights, [["a.rgb", "a.flow"], ["c.rgb"], ["b.rgb"]])
    assert genotype.single_task_sets == ({"a.rgb", "a.flow"}, {"b.rgb"})  # c.rgb does not evolve
    assert [genotype.initial_weights(number) for number in range(4)] == [
        {"a.rgb": 0.5, "a.flow": 0.5, "b.rgb": 0.5},
        {"a.rgb": 1.0, "a.flow": 0.8, "b.rgb": 0.0},
        {"a.rgb": 0.0, "a.flow": 0.2, "b.rgb": 0.6},
        None,
    ]
