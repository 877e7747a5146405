"""The command line run in this process, as `main` runs it, and a trained encoder to use it on."""

import signal
from pathlib import Path

import pytest

from evossl.cli import main
from evossl.data.synth.dataset import synthesise
from tests.helpers.cli_runner import SPACE, Output, RunCli


@pytest.fixture
def run_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> RunCli:
    """Run `evossl ARGV` in a new folder. An exception that leaves `main` fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own handlers

    def run(*argv: str | Path) -> Output:
        monkeypatch.setattr("sys.argv", ["evossl", *map(str, argv)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Output(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 synthetic videos in three class folders."""
    folder = tmp_path_factory.mktemp("cli") / "videos"
    synthesise(folder, 24, 3, 1)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """The folder of a training of two steps on `videos`; cache and space.yaml lie beside it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "space.yaml").write_text(SPACE)
    argv = ["train", "--data", videos, "--space", folder / "space.yaml", "--steps", "2"]
    argv += ["--cache", folder / "cache", "--out", folder / "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr("sys.argv", ["evossl", *map(str, argv)])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return folder / "run"
