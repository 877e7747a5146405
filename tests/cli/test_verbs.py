"""The verbs and options of design.md, their help texts, exit codes and imports."""

import re
import subprocess
import sys

import click
import pytest

from evossl import __version__
from evossl.cli import VERBS, cli
from evossl.errors import RunError, UserError
from tests.helpers.cli_runner import RunCli

DATA = {"data", "cache", "workers"}
SPACE = {"space", "ignores", "tasks"}
LABELLED = {"data", "label", "workers", "seed"}
DESIGN = {
    "demo": ((), {"out", "seed"}),
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
    "pilot": (
        (),
        DATA | SPACE | {"out", "steps", "address", "teacher", "device", "resume", "seed", "json"},
    ),
    "search": (
        (),
        DATA
        | SPACE
        | {"out", "trials", "steps", "final-steps", "top", "reruns", "max-concurrent"}
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
"""Verb: its arguments and its options."""

every_verb = pytest.mark.parametrize("verb", DESIGN)


def command(verb: str) -> click.Command:
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


def options(verb: str) -> list[click.Option]:
    return [p for p in command(verb).params if isinstance(p, click.Option)]


def test_the_verbs_are_those_of_the_design() -> None:
    assert list(VERBS) == list(DESIGN)


@every_verb
def test_a_verb_has_the_options_of_the_design(verb: str) -> None:
    arguments, names = DESIGN[verb]
    parameters = command(verb).params
    assert tuple(p.name for p in parameters if isinstance(p, click.Argument)) == arguments
    found = {word.removeprefix("--") for option in options(verb) for word in option.opts}
    assert found == names


@every_verb
def test_help_begins_with_the_summary_of_the_verb_list(verb: str) -> None:
    first_line, *_ = (command(verb).help or "").splitlines()
    _, summary = VERBS[verb]
    assert first_line == summary


@every_verb
def test_help_has_one_example_that_the_verb_accepts(verb: str) -> None:
    context = click.Context(command(verb), info_name=verb, parent=click.Context(cli))
    shown = command(verb).get_help(context)
    examples = re.findall(r"^ *Example: evossl (.*)$", shown, re.MULTILINE)
    assert len(examples) == 1
    name, *argv = examples[0].split()
    assert name == verb
    command(verb).make_context(verb, argv)  # raises what a person would see
    assert f"Example: evossl {examples[0]}" in (command(verb).help or "")


@every_verb
def test_every_option_has_a_help_text_and_a_metavar(verb: str) -> None:
    assert not [option.name for option in options(verb) if not option.help]
    assert not [o.name for o in options(verb) if not o.is_flag and not o.metavar]


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (UserError("--out: choose another"), 2, "error: --out: choose another\n"),
        (RunError("no video can be read"), 1, "failed: no video can be read\n"),
        (OSError(28, "No space left on device", "/disk"), 1, "failed: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "stopped: by request\n"),
    ],
    ids=["wrong usage", "failure", "disk full", "Ctrl-C"],
)
def test_an_expected_failure_is_one_line_and_an_exit_code(
    run_cli: RunCli,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise raised

    monkeypatch.setattr("evossl.cli.data.build_index", fail)
    output = run_cli("index", ".")
    assert (output.code, output.out) == (code, "")
    printed = output.err.lstrip("\n")  # click ends the line of the terminal's "^C"
    assert printed.startswith(message)
    assert printed.count("\n") == 1


def test_a_bug_in_evossl_is_not_hidden(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evossl.cli.data.build_index", lambda *a, **o: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_cli("index", ".")


def test_help_and_version_exit_with_zero(run_cli: RunCli) -> None:
    assert run_cli("--help").code == 0
    assert run_cli("search", "--help").code == 0
    output = run_cli("--version")
    assert (output.code, output.out) == (0, f"evossl, version {__version__}\n")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


PRINT_MODULES = "import sys; print(*{m.split('.')[0] for m in sys.modules})"
"""Print the top-level modules that are loaded, on one line."""


def test_importing_evossl_does_not_import_torch() -> None:
    loaded = set(run_python(f"import evossl\n{PRINT_MODULES}").stdout.split())
    assert not loaded & {"torch", "ray", "optuna", "numpy"}


def test_help_imports_neither_torch_nor_ray_nor_optuna() -> None:
    code = f"from evossl.cli import cli\ncli(['--help'], standalone_mode=False)\n{PRINT_MODULES}"
    *shown, modules = run_python(code).stdout.splitlines()
    assert any("search" in line for line in shown)
    assert not set(modules.split()) & {"torch", "ray", "optuna"}


def test_training_needs_neither_ray_nor_optuna_nor_warns() -> None:
    """One interpreter answers three questions, because importing torch takes seconds."""
    code = f"""
import evossl
evossl.load_encoder
{PRINT_MODULES}
import evossl.cli.train
{PRINT_MODULES}
import warnings
warnings.warn("`torch.jit.script` is deprecated: another's warning", FutureWarning)
"""
    done = run_python(code)
    encoder, training = (set(line.split()) for line in done.stdout.splitlines())
    assert "torch" in encoder
    assert not encoder & {"ray", "optuna", "cmaes"}
    assert not training & {"ray", "optuna", "cmaes"}
    assert done.stderr.count("Warning:") == 1, "fvcore's warning is silenced, no other one is"
    assert "another's warning" in done.stderr
