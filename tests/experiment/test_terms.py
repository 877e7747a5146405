"""The terms of a space, their weights, and which of them are active."""

import pytest

from evossl.errors import UserError
from evossl.experiment.terms import active_weights, search_genotype, term_weights
from evossl.task_loader import load_catalogue
from evossl.training.resolved_space import resolve_space
from tests.helpers.training_cases import make_space

TASKS = load_catalogue()


def names(tasks: dict[str, object], streams: list[str]) -> list[str]:
    return [t.name for t in resolve_space(make_space(tasks, streams=streams)).terms]


def test_a_task_without_places_gets_all_that_streams_allow() -> None:
    assert names({"simclr": {}}, ["rgb"]) == ["simclr.rgb"]
    assert set(names({"simclr": {}}, ["rgb", "flow"])) == {"simclr.rgb", "simclr.flow"}


def test_distillation_has_a_term_for_each_stage() -> None:
    found = names({"distill": {}, "simclr": {"places": ["flow"]}}, ["rgb", "flow"])
    assert [n for n in found if n.startswith("distill")] == [
        f"distill.flow->rgb.stage{i}" for i in (1, 2, 3, 4)
    ]


def test_no_term_has_a_slash_in_its_name() -> None:
    everything = {name: {} for name in TASKS}
    assert not [n for n in names(everything, ["rgb", "gray", "flow", "audio"]) if "/" in n]


def test_an_unknown_task_suggests_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'simclr'"):
        names({"simcrl": {}}, ["rgb"])


def test_an_unsupported_place_lists_the_supported_ones() -> None:
    said = r"jigsaw does not support audio; use rgb, gray"
    with pytest.raises(UserError, match=rf"^tasks\.jigsaw\.places: {said}$"):
        names({"jigsaw": {"places": ["audio"]}}, ["rgb", "audio"])
    said = r"tasks\.brave\.places: brave does not support audio\+rgb; use rgb\+audio"
    with pytest.raises(UserError, match=said):
        names({"brave": {"places": ["audio+rgb"]}}, ["rgb", "audio"])


def test_a_place_on_a_missing_stream_names_the_stream() -> None:
    with pytest.raises(
        UserError, match=r"^tasks\.simclr\.places: audio: add audio to the space's s"
    ):
        names({"simclr": {"places": ["audio"]}}, ["rgb", "flow"])


def test_an_unknown_place_suggests_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"tasks\.simclr\.places.*did you mean 'flow'"):
        names({"simclr": {"places": ["flwo"]}}, ["rgb", "flow"])


def test_a_task_that_supports_no_stream_is_refused() -> None:
    with pytest.raises(UserError, match=r"tasks\.multimodal_contrast.*add a stream"):
        names({"multimodal_contrast": {}}, ["rgb"])


def test_term_weights_are_those_of_the_space() -> None:
    space = make_space(
        {"simclr": {"places": ["rgb"], "weight": 0.3}, "order_binary": {"places": ["rgb"]}}
    )
    assert term_weights(resolve_space(space)) == {
        "simclr.rgb": 0.3,
        "order_binary.rgb": (0.0, 1.0),
    }


def test_single_tasks_first_leaves_out_distillation() -> None:
    tasks = {"simclr": {}, "distill": {}, "arrow_of_time": {"weight": 0.5}, "order_binary": {}}
    space = make_space(tasks, streams=["rgb", "flow"])
    assert search_genotype(resolve_space(space)).single_task_sets == ()
    sampler = space.sampler.model_copy(update={"single_tasks_first": True})
    chosen = space.model_copy(update={"sampler": sampler})
    genotype = search_genotype(resolve_space(chosen))
    assert genotype.single_task_sets == (
        {"simclr.rgb", "simclr.flow"},
        {"order_binary.rgb", "order_binary.flow"},
    )
    assert genotype.fixed == {"arrow_of_time.rgb": 0.5, "arrow_of_time.flow": 0.5}


@pytest.mark.parametrize(("prune_below", "small"), [(0.05, 0.1), (0.4, 0.4)])
def test_a_fast_starter_stays_active_in_single_task_trials(
    prune_below: float, small: float
) -> None:
    tasks = {"simclr": {"places": ["rgb"]}, "byol": {"places": ["rgb"]}}
    tasks["simsiam"] = {"places": ["rgb"]}
    sampler = {"single_tasks_first": True, "fast_starter": "simclr"}
    training = {"batch_size": 6, "prune_below": prune_below}
    resolved = resolve_space(make_space(tasks, sampler=sampler, training=training))
    genotype = search_genotype(resolved)
    alone, byol, simsiam = (genotype.initial_weights(number) for number in (1, 2, 3))
    assert alone == {"simclr.rgb": 1.0, "byol.rgb": 0.0, "simsiam.rgb": 0.0}
    assert byol == {"simclr.rgb": small, "byol.rgb": 1.0, "simsiam.rgb": 0.0}
    assert simsiam == {"simclr.rgb": small, "byol.rgb": 0.0, "simsiam.rgb": 1.0}
    found = active_weights(resolved, byol)
    assert found == pytest.approx({"simclr.rgb": small / (1 + small), "byol.rgb": 1 / (1 + small)})


@pytest.mark.parametrize(
    ("sampler", "said"),
    [
        ({"single_tasks_first": True, "fast_starter": "simcrl"}, "did you mean 'simclr'"),
        ({"fast_starter": "simclr"}, "add `single_tasks_first: true`"),
    ],
)
def test_a_fast_starter_that_cannot_help_is_refused(sampler: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=rf"sampler\.fast_starter: .*{said}"):
        make_space({"simclr": {}}, sampler=sampler)


def active(
    weights: dict[str, float], prune_below: float = 0.05, normalize: str = "gradient"
) -> dict[str, float]:
    tasks = {
        "simclr": {"places": ["rgb", "flow"]},
        "reconstruction": {"places": ["rgb"]},
        "distill": {"places": ["flow->rgb.stage3"]},
    }
    training = {"batch_size": 6, "prune_below": prune_below, "normalize": normalize}
    return active_weights(resolve_space(make_space(tasks, training=training)), weights)


ALL = {
    "simclr.rgb": 0.5,
    "simclr.flow": 0.25,
    "reconstruction.rgb": 0.04,
    "distill.flow->rgb.stage3": 0.25,
}


def test_small_weights_are_inactive_and_the_rest_sums_to_1() -> None:
    assert active(ALL) == {"simclr.rgb": 0.5, "simclr.flow": 0.25, "distill.flow->rgb.stage3": 0.25}


def test_shrinking_all_weights_changes_nothing() -> None:
    assert active({n: w / 2 for n, w in ALL.items()}) == active(ALL)


def test_distillation_from_an_untrained_stream_is_inactive() -> None:
    assert active(ALL | {"simclr.flow": 0.0}) == {"simclr.rgb": 1.0}


def test_the_raw_sum_is_not_rescaled() -> None:
    assert active(ALL, prune_below=0.0, normalize="none") == ALL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simclr.rgb": 1.5}, "must lie in"),
        ({"simclr.rgb": -0.1}, "must lie in"),
        ({"simclr.rbg": 0.5}, "did you mean 'simclr.rgb'"),
        (dict.fromkeys(ALL, 0.0), "every loss weight is zero"),
        (dict.fromkeys(ALL, 0.01), "no active term"),
    ],
)
def test_invalid_weights_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        active(ALL | change)


def test_a_missing_weight_is_named() -> None:
    with pytest.raises(UserError, match=r"no loss weight for reconstruction\.rgb"):
        active({n: w for n, w in ALL.items() if n != "reconstruction.rgb"})
