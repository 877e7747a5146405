"""Wrong spaces and options are refused before anything is written, with key and remedy."""

import json
import re
from pathlib import Path

import pytest

from tests.helpers.cli_runner import SPACE, RunCli

WRONG = {
    "a key": ("clip:", "clp:", "unknown key 'clp': did you mean 'clip'"),
    "a nested key": ("frames:", "frame:", "clip: unknown key 'frame': did you mean 'frames'"),
    "a task's key": ("places", "place", "tasks.simclr: unknown key 'place': did you mean 'places'"),
    "a task": ("simclr", "simcrl", "unknown task 'simcrl': did you mean 'simclr'"),
    "a task in capitals": ("simclr", "SimCLR", "unknown task 'SimCLR': did you mean 'simclr'"),
    "a place": ("[rgb]", "[rbg]", "tasks.simclr.places: unknown place 'rbg': did you mean 'rgb'"),
    "a stream": (
        "tasks:",
        "streams: [rgb, flw]\ntasks:",
        "streams.1: unknown word 'flw': did you mean 'fl",
    ),
    "no rgb": ("tasks:", "streams: [flow]\ntasks:", "streams must contain rgb"),
    "a backbone": ("width: 8", "name: r2plus1", "unknown backbone 'r2plus1': did you mean 'r2pl"),
    "no number": ("width: 8", "width: eight", "backbone.width: Input should be a valid integer"),
    "no list": (
        "[colour, crop, time]",
        "colour",
        "ignores: Input should be a valid list (got 'colour')",
    ),
    "no mapping": ("{width: 8}", "8", "backbone: Input should be a valid mapping of keys (got 8)"),
    "a word": ("colour", "color", "ignores.0: unknown word 'color': did you mean 'colour'"),
    "nothing ignored": ("[colour, crop, time]", "[]", "name at least one word"),
    "a fitness": ("clips: 16", "name: zpf", "unknown fitness 'zpf': did you mean 'zipf'"),
    "an option": (
        "places: [rgb]",
        "options: {temprature: 1}",
        "space.yaml: tasks.simclr.options: unknown option 'temprature': did you mean 'temperature'",
    ),
    "a list for a number": (
        "places: [rgb]",
        "options: {temperature: [1]}",
        "space.yaml: tasks.simclr.options.temperature: Input should be a valid number (got [1])",
    ),
    "a truth for a number": (
        "places: [rgb]",
        "options: {temperature: true}",
        "tasks.simclr.options.temperature: Input should be a valid number (got True)",
    ),
    "an option out of range": (
        "places: [rgb]",
        "options: {temperature: 0}",
        "space.yaml: tasks.simclr.options.temperature: Input should be greater than 0 (got 0)",
    ),
    "a weight over 1": ("places: [rgb]", "weight: 1.5", "tasks.simclr.weight: 1.5 must lie in [0,"),
    "a weight under 0": ("places: [rgb]", "weight: -1", "tasks.simclr.weight: -1 must lie in [0,"),
    "no finite weight": ("places: [rgb]", "weight: .nan", "tasks.simclr.weight: nan must lie in"),
    "bounds": ("places: [rgb]", "weight: [0.7, 0.2]", "with the lower bound first"),
    "one bound": ("places: [rgb]", "weight: [0.7]", "needs a number such as 0.5, or search bounds"),
    "true": ("places: [rgb]", "weight: true", "tasks.simclr.weight: needs a number"),
    "all zero": ("places: [rgb]", "weight: 0", "every weight is zero"),
    "always off": (
        "places: [rgb]",
        "weight: 0.01",
        "simclr.weight: 0.01 is below training.pr",
    ),
    "nowhere": ("places: [rgb]", "places: []", "tasks.simclr.places: is empty"),
    "a place twice": ("places: [rgb]", "places: [rgb, rgb]", "['rgb', 'rgb'] names a place twice"),
    "an untrained teacher": (
        "tasks:",
        "streams: [rgb, flow]\ntasks:\n  distill: {places: [flow->rgb.stage4]}",
        "distill.flow->rgb.stage4 distils from flow, which no task of the space trains: add a task",
    ),
    "no task": ("\n  simclr: {places: [rgb]}", " {}", "tasks is empty"),
    "no tasks": ("tasks:\n  simclr: {places: [rgb]}", "about: x", "tasks: Field required; add it"),
    "a stream that a method does not support": (
        "simclr: {places: [rgb]}",
        "jigsaw: {places: [audio]}",
        "tasks.jigsaw.places: jigsaw does not support audio; use rgb, gray",
    ),
    "a batch of one": ("batch_size: 4", "batch_size: 1", "1 is too small for simclr"),
    "more than any memory": ("batch_size: 4", "batch_size: 4000000", "a step needs "),
    "ignores twice": (
        "tasks:",
        "ignores: [crop]\ntasks:",
        "line 2: not valid YAML: key 'ignores' is al",
    ),
    "no finite rate": (
        "tasks:",
        "optimiser: {lr: .inf}\ntasks:",
        "lr: Input should be a finite number",
    ),
    "a short stretch": ("stretch: 16", "stretch: 2", "raise clip.stretch to 4"),
    "no stretch": (
        "stretch: 16",
        "stretch: 0",
        "clip.stretch: Input should be greater than 0 (got 0)",
    ),
    "a stretch past the cache": ("stretch: 16", "stretch: 64", "last 5.33 s, but cache.max_sec"),
    "few clips": ("clips: 16", "clips: 4", "4 held-out clips are too few"),
    "a sampler": ("tasks:", "sampler: {name: cma}\ntasks:", "sampler.name: unknown word 'cma'"),
    "one member": (
        "tasks:",
        "sampler: {name: pbt, population: 1}\ntasks:",
        "space.yaml: sampler.population: pbt needs at least 4, not 1; raise it, or remove the key",
    ),
    "few trials": (
        "tasks:",
        "sampler: {name: pbt}\nbudget: {trials: 15}\ntasks:",
        "space.yaml: budget.trials: 12 new trials (re-runs aside): with a population of 8, pbt",
    ),
    "pbt with rungs": (
        "tasks:",
        "sampler: {name: pbt}\nstopping: {rungs: [0.5]}\ntasks:",
        "stopping.rungs: pbt stops no trial early",
    ),
    "no YAML": ("[colour, crop, time]", "[colour", "not valid YAML"),
}
"""Name: (text of a valid space, what replaces it, part of the message)."""


def refused(run_cli: RunCli, *argv: str) -> str:
    """Run a verb that must exit with 2 and print one message; return the message."""
    output = run_cli(*argv)
    assert output.code == 2, output
    assert output.out == ""
    assert len(re.findall(r"^[Ee]rror: ", output.err, re.MULTILINE)) == 1
    return output.err


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_space_is_refused_with_its_key(run_cli: RunCli, what: str) -> None:
    right, wrong, message = WRONG[what]
    assert right in SPACE
    Path("space.yaml").write_text(SPACE.replace(right, wrong, 1))
    verb = ("search", "train")[len(what) % 2]  # both read spaces in the same way
    assert message in refused(run_cli, verb, "--data", ".", "--space", "space.yaml", "--out", "run")
    assert not Path("run").exists()


def test_two_mistakes_are_reported_at_once(run_cli: RunCli) -> None:
    Path("space.yaml").write_text(SPACE + "budget: {trials: 0, steps: -1}\n")
    found = refused(run_cli, "train", "--data", ".", "--space", "space.yaml", "--out", "run")
    assert "budget.trials: Input should be greater than 0 (got 0)" in found
    assert "budget.steps: needs a number of steps, or auto; got -1" in found


@pytest.mark.parametrize("line", ["", "ignores:\n"])
def test_a_missing_ignores_is_explained(run_cli: RunCli, line: str) -> None:
    Path("space.yaml").write_text(line + SPACE.split("\n", 1)[1])
    found = refused(run_cli, "search", "--data", ".", "--space", "space.yaml", "--out", "run")
    assert "ignores: [colour, crop, time]   ranks encoders by motion" in found
    assert "ignores: [crop, time]           ranks encoders by appearance" in found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tinny", "unknown space 'tinny': did you mean 'tiny'"),
        ("method/simclr", "did you mean 'methods/simclr'"),
        ("nothing.yaml", "--space nothing.yaml: no such file"),
        ("folder", "--space folder: is a folder"),
        ("binary.yaml", "binary.yaml: not valid YAML"),
        ("text.yaml", "a space is a mapping of keys"),
        ("empty.yaml", "a space is a mapping of keys"),
    ],
)
def test_a_source_that_is_no_space_is_refused(run_cli: RunCli, given: str, message: str) -> None:
    Path("folder").mkdir()
    Path("binary.yaml").write_bytes(bytes(range(256)))
    Path("text.yaml").write_text("just argv")
    Path("empty.yaml").touch()
    assert message in refused(run_cli, "search", "--data", ".", "--space", given, "--out", "run")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--ignores", ""), "--ignores: is empty; give one or more of colour"),
        (("--ignores", " , "), "--ignores: is empty"),
        (("--ignores", "color"), "--ignores: unknown word 'color': did you mean 'colour'"),
        (("--trials", "0"), "'--trials': 0 is not in the range"),
        (("--seed", "-1"), "'--seed': -1 is not in the range"),
        (("--seed", "one"), "'--seed': 'one' is not a valid integer"),
        (("--workers", "0"), "'--workers': 0 is not in the range"),
        (("--top", "0"), "'--top': 0 is not in the range"),
        (("--reruns", "-1"), "'--reruns': -1 is not in the range"),
        (("--device", "gpu"), "unknown device 'gpu': did you mean 'cpu'"),
        (("--trial", "3"), "Did you mean '--trials'"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--data", "."), "no videos here"),
    ],
)
def test_a_wrong_option_is_refused(run_cli: RunCli, argv: tuple[str, ...], message: str) -> None:
    Path("space.yaml").write_text(SPACE)
    given = ["search", "--space", "space.yaml", "--out", "run", *argv]
    if "--data" not in argv:
        given += ["--data", "."]
    output = run_cli(*given)
    assert (output.code, output.out) == (2, "")
    assert message in output.err
    assert not Path("run").exists()


def test_an_unknown_verb_gets_a_suggestion(run_cli: RunCli) -> None:
    assert "unknown verb 'serch': did you mean 'search'" in refused(run_cli, "serch")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "--tasks mine: no such folder"),
        ("import sys\nx = (", "line 2: SyntaxError: '(' was never closed"),
        ("if x:\ny", "line 2: IndentationError: expected an indented block"),
        ("import nupmy", "line 1: ModuleNotFoundError: No module named 'nupmy'"),
        ("\nfrom evossl.task import Tsk", "line 2: ImportError: cannot import name 'Tsk'"),
        ("def f():\n    raise RuntimeError('boo')\nf()", "line 2: RuntimeError: boo"),
        ("open('nothing')", "line 1: FileNotFoundError: "),
        ("x = 3\nassert x == 2", "line 2: AssertionError: assert x == 2"),
        ("x = 1", "a task file must define exactly one Task, found 0"),
    ],
)
def test_a_broken_task_file_is_named(run_cli: RunCli, text: str | None, message: str) -> None:
    if text is not None:
        Path("mine").mkdir()
        Path("mine/broken.py").write_text(text)
    space = ("--space", "tiny", "--data", ".", "--out", "run")
    for argv in (("search", *space), ("tasks",)):
        found = refused(run_cli, *argv, "--tasks", "mine")
        assert message in found
        assert text is None or "mine/broken.py: " in found


OWN = """\
from evossl.types import Stream
from evossl.task import Place, Task, each


class Own(Task):
    places = each(Stream.RGB)

    def __init__(self, place: Place, sizes: tuple[int, int], head: Task | None = None) -> None:
        super().__init__(place)
        if sizes[0] > sizes[1]:
            raise ValueError("sizes: small before large")
        self.ratio = sizes[0] / sizes[1]

    def views(self):
        return {}
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{sizes: [0, 0]}", "mine/own.py: line 12: ZeroDivisionError: division by zero"),
        ("{sizes: [1, two]}", "options.sizes.1: Input should be a valid integer"),
        ("{sizes: [2, 1]}", "options: {'sizes': [2, 1]}: sizes: small before large"),
        (
            "{sizes: [1, 2], head: 3}",
            "nowhere: no such folder",
        ),  # a type that YAML lacks is not checked
    ],
)
def test_options_of_an_own_task_are_checked(run_cli: RunCli, options: str, message: str) -> None:
    Path("mine").mkdir()
    Path("mine/own.py").write_text(OWN)
    Path("space.yaml").write_text(SPACE.replace("simclr: {", f"own: {{options: {options}, "))
    argv = ("--space", "space.yaml", "--data", "nowhere", "--out", "run", "--tasks", "mine")
    assert message in refused(run_cli, "train", *argv)


def test_a_mistake_in_an_imported_helper_is_located(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine").mkdir()
    monkeypatch.syspath_prepend(Path("mine").resolve())
    Path("mine/_helper.py").write_text("x = (")
    Path("mine/broken.py").write_text("import _helper")
    found = refused(run_cli, "tasks", "--tasks", "mine")
    assert "mine/broken.py: cannot be loaded: " in found
    assert "_helper.py, line 1: SyntaxError: '(' was never closed" in found


@pytest.mark.parametrize("key", ["cpus", "gpus"])
def test_more_resources_than_this_machine_has_are_refused(run_cli: RunCli, key: str) -> None:
    Path("space.yaml").write_text(f"{SPACE}resources: {{{key}: 4096}}\n")
    found = refused(run_cli, "search", "--data", ".", "--space", "space.yaml", "--out", "run")
    assert f"space.yaml: resources.{key}: a trial needs 4096, this machine has " in found
    assert "--address" in found
    assert not Path("run").exists()


def test_resume_without_a_run_is_reported(run_cli: RunCli) -> None:
    Path("space.yaml").write_text(SPACE)
    argv = ("--space", "space.yaml", "--data", ".", "--out", "rum", "--resume")
    for verb in ("search", "train"):
        assert (
            "--resume: there is no run in rum yet; starting a new one" in run_cli(verb, *argv).err
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("simclr.rbg: 0.5", "unknown loss weight 'simclr.rbg': did you mean 'simclr.rgb'"),
        ("simclr.rgb: 2", "must lie in [0, 1]"),
        ("simclr.rgb: .nan", "must lie in [0, 1]"),
        ("simclr.rgb: 0", "every loss weight is zero"),
        ("simclr.rgb: 0.01", "below training.prune_below"),
        ("simclr.rgb: true", "is not a mapping of terms to numbers"),
        ("simclr.rgb: much", "is not a mapping of terms to numbers"),
        ("[1, 2", "--weights weights.yaml: line 1: not valid YAML"),
        ("simclr.rgb: 0.5\nsimclr.rgb: 1", "line 2: not valid YAML: key 'simclr.rgb' is already"),
        ("", "is not a mapping of terms to numbers"),
        (None, "--weights weights.yaml: cannot be read"),
    ],
)
def test_wrong_weights_are_refused(run_cli: RunCli, text: str | None, message: str) -> None:
    Path("space.yaml").write_text(SPACE)
    if text is not None:
        Path("weights.yaml").write_text(text)
    space = ("--space", "space.yaml", "--data", ".", "--out", "run")
    found = refused(run_cli, "train", "--weights", "weights.yaml", *space)
    assert "--weights weights.yaml: " in found
    assert message in found
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ({"optimiser.lr": 0.5}, "gene optimiser.lr: 0.5 must be in [0.001, 0.1]"),
        ({"optimiser.rl": 0.01}, "unknown gene 'optimiser.rl': did you mean 'optimiser.lr'"),
    ],
)
def test_wrong_genes_of_a_winner_are_refused(
    run_cli: RunCli, genes: dict[str, float], message: str
) -> None:
    Path("space.yaml").write_text(SPACE + "optimiser: {lr: [0.001, 0.1]}\n")
    Path("winner.json").write_text(json.dumps({"weights": {"simclr.rgb": 0.5}, "genes": genes}))
    space = ("--space", "space.yaml", "--data", ".", "--out", "run")
    found = refused(run_cli, "train", "--weights", "winner.json", *space)
    assert f"--weights winner.json: {message}" in found
