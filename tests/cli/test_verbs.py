"""The verbs are those of the house plan, and `--help` shows how to use each."""

import re
import subprocess
import sys

import click
import pytest

from evossl import __version__
from evossl.cli import VERBS, cli
from evossl.errors import RunError, UserError
from tests.helpers.cli_runner import Run

DATA = {"data", "cache", "workers"}
SPACE = {"space", "ignores", "tasks"}
LABELLED = {"data", "label", "workers", "seed"}
PLAN = {
    "demo": ((), {"out"}),
    "synth": (("folder",), {"videos", "classes", "seed"}),
    "index": (("videos",), {"out", "workers", "json"}),
    "cache": (
        ("videos",),
        {"out", "fps", "short-side", "max-seconds", "limit-gb", "workers"},
    ),
    "init": ((), DATA | {"out", "space", "ignores"}),
    "train": (
        (),
        DATA | SPACE | {"out", "steps", "weights", "teacher", "device", "resume", "seed"},
    ),
    "search": (
        (),
        DATA
        | SPACE
        | {"out", "trials", "steps", "final-steps", "top", "repeats", "max-concurrent"}
        | {"address", "teacher", "device", "evaluate", "resume", "seed", "json"},
    ),
    "export": (("source",), {"out", "onnx"}),
    "evaluate": (
        ("encoder",),
        LABELLED | {"protocols", "folds", "split", "cache", "json"},
    ),
    "finetune": (("encoder",), LABELLED | {"out", "epochs", "cache"}),
    "audit": (("run",), LABELLED | {"folds", "json"}),
    "report": (("run",), set()),
    "tasks": ((), {"tasks", "json"}),
    "spaces": ((), {"json"}),
    "doctor": ((), {"json"}),
}
"""Verb: its arguments, its options: section 8 of the house plan, and what was added since."""

every_verb = pytest.mark.parametrize("verb", PLAN)


def command(verb: str) -> click.Command:
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


def test_the_verbs_are_those_of_the_plan() -> None:
    assert list(VERBS) == list(PLAN)


@every_verb
def test_a_verb_has_the_arguments_and_options_of_the_plan(verb: str) -> None:
    arguments, options = PLAN[verb]
    parameters = command(verb).params
    assert tuple(p.name for p in parameters if isinstance(p, click.Argument)) == arguments
    found = {
        word.removeprefix("--")
        for p in parameters
        if isinstance(p, click.Option)
        for word in p.opts
    }
    assert found == options


@every_verb
def test_help_shows_an_example_on_one_line_that_the_verb_understands(verb: str) -> None:
    context = click.Context(command(verb), info_name=verb, parent=click.Context(cli))
    examples = re.findall(
        r"^ *Example: evossl (.*)$", command(verb).get_help(context), re.MULTILINE
    )
    assert len(examples) == 1
    name, *words = examples[0].split()
    assert name == verb
    command(verb).make_context(verb, words)  # raises what a person would see
    assert f"Example: evossl {examples[0]}" in (command(verb).help or "")


@every_verb
def test_every_option_says_what_it_is_for_or_has_a_name_that_does(verb: str) -> None:
    silent = [
        p.name
        for p in command(verb).params
        if isinstance(p, click.Option) and not p.help and p.name != "out"
    ]
    assert not silent


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("--out: choose another"), 2, "error: --out: choose another\n"),
        (RunError("no video can be read"), 1, "failed: no video can be read\n"),
        (OSError(28, "No space left on device", "/disk"), 1, "failed: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "stopped: by request\n"),
    ],
    ids=["wrong usage", "cannot be done", "disk full", "Ctrl-C"],
)
def test_a_failure_on_purpose_is_one_line_and_an_exit_code(
    run_cli: Run, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr("evossl.cli.data.build_index", fail)
    answer = run_cli("index", ".")
    assert (answer.code, answer.out) == (code, "")
    words = answer.err.lstrip("\n")  # click ends the terminal's "^C" line
    assert words.startswith(said)
    assert words.count("\n") == 1


def test_a_fault_of_ours_is_not_hidden(run_cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evossl.cli.data.build_index", lambda *a, **o: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_cli("index", ".")


def test_help_and_version_end_with_zero(run_cli: Run) -> None:
    assert run_cli("--help").code == 0
    assert run_cli("search", "--help").code == 0
    answer = run_cli("--version")
    assert (answer.code, answer.out) == (0, f"evossl, version {__version__}\n")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


SHOW = "import sys; print(*{m.split('.')[0] for m in sys.modules})"
"""Print the top-level modules that are loaded, on one line."""


def test_importing_evossl_imports_no_torch() -> None:
    loaded = set(run_python(f"import evossl\n{SHOW}").stdout.split())
    assert not loaded & {"torch", "ray", "optuna", "numpy"}


def test_help_imports_neither_torch_nor_ray_nor_optuna() -> None:
    code = f"from evossl.cli import cli\ncli(['--help'], standalone_mode=False)\n{SHOW}"
    shown, modules = run_python(code).stdout.rsplit("Check this machine", 1)
    assert "search" in shown
    assert not set(modules.split()) & {"torch", "ray", "optuna"}


def test_encoders_and_training_need_neither_ray_nor_optuna_and_warn_of_nothing() -> None:
    """One interpreter for three questions: torch takes seconds to import."""
    code = f"""
import evossl
evossl.load_encoder
{SHOW}
import evossl.cli.train
{SHOW}
import warnings
warnings.warn("`torch.jit.script` is deprecated: another's warning", FutureWarning)
"""
    done = run_python(code)
    encoder, training = (set(line.split()) for line in done.stdout.splitlines())
    assert "torch" in encoder
    assert not encoder & {"ray", "optuna", "cmaes"}
    assert not training & {"ray", "optuna", "cmaes"}
    assert done.stderr.count("Warning:") == 1, "fvcore's is silenced, nothing else is"
    assert "another's warning" in done.stderr
