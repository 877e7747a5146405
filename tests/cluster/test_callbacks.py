"""Progress over all steps of a search."""

from types import SimpleNamespace

from evossl.cluster.callbacks import ProgressCallback


def make_callback(total: int, steps_per_trial: int) -> tuple[ProgressCallback, list[int]]:
    """Return a callback, and the list of what it reports as done."""
    reported: list[int] = []
    return ProgressCallback(0, total, steps_per_trial, lambda d, _: reported.append(d)), reported


def test_progress_neither_decreases_nor_exceeds_the_total() -> None:
    callback, reported = make_callback(8, 4)
    first, second = (SimpleNamespace(trial_id=name) for name in "ab")
    for done in (1, 3, 1, 2, 4):  # its worker died after step 3
        callback.on_trial_result(0, [], first, {"share": done / 4})
    callback.on_trial_complete(0, [], first)
    assert reported == [1, 3, 3, 3, 4, 4]
    callback.on_trial_result(0, [], second, {"share": 0.5})
    callback.on_trial_error(0, [], second)
    assert reported[-2:] == [6, 8]
    callback.on_trial_complete(0, [], first)
    assert max(reported) == 8


def test_a_trial_that_ends_early_counts_as_all_its_steps() -> None:
    callback, reported = make_callback(8, 4)
    trial = SimpleNamespace(trial_id="a")
    callback.on_trial_result(0, [], trial, {"share": 0.25})
    callback.on_trial_complete(0, [], trial)
    assert reported == [1, 4]


def test_starvation_is_reported_once_in_a_phase() -> None:
    warnings: list[str] = []
    callback = ProgressCallback(0, 8, 4, None, warnings.append)
    first, second = (SimpleNamespace(trial_id=name) for name in "ab")
    callback.on_trial_result(0, [], first, {"share": 0.25, "starved": None})
    assert warnings == []
    for share in (0.5, 0.75):
        callback.on_trial_result(0, [], first, {"share": share, "starved": "trial 1 gets 9 %"})
        callback.on_trial_result(0, [], second, {"share": share, "starved": "trial 2 gets 8 %"})
    assert warnings == ["trial 1 gets 9 %"]
