"""The command line run in this process, as `main` runs it."""

import signal
from pathlib import Path

import pytest

from evossl.cli import main
from evossl.data.synth.dataset import synthesise
from tests.helpers.cli_runner import SPACE, Answer, Run


@pytest.fixture
def run_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """Run `evossl ARGV` in a new folder. An exception that `main` lets through fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own handlers

    def run(*argv: str | Path) -> Answer:
        monkeypatch.setattr("sys.argv", ["evossl", *map(str, argv)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        seen = capsys.readouterr()
        return Answer(code, seen.out, seen.err)

    return run


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four synthetic videos of three classes, in class folders."""
    folder = tmp_path_factory.mktemp("cli") / "videos"
    synthesise(folder, 24, 3, 1)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """The folder of a training of two steps on them; its cache lies beside it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "space.yaml").write_text(SPACE)
    words = ["train", "--data", videos, "--space", folder / "space.yaml", "--steps", "2"]
    words += ["--cache", folder / "cache", "--out", folder / "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr("sys.argv", ["evossl", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return folder / "run"
