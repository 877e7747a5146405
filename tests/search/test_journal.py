import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from evossl import config
from evossl.errors import RunError, UserError
from evossl.search.genotype import Genotype
from evossl.search.study import Study
from tests.helpers.search_loops import run, tell

Start = Callable[..., Study]


def _lines(folder: Path) -> list[bytes]:
    return (folder / "study.journal").read_bytes().splitlines(keepends=True)


def test_a_journal_truncated_in_its_last_line_resumes(start: Start, tmp_path: Path) -> None:
    study = start()
    run(study, 1)
    rows = study.rows()
    study.close()
    *whole, last = _lines(tmp_path / "run")
    assert b'"state"' in last  # the second line of the last tell; the result is in the line before
    for cut in range(len(last) + 1):
        folder = tmp_path / "cut"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "study.journal").write_bytes(b"".join(whole) + last[:cut])
        with Study.open(folder) as resumed:
            assert resumed.rows() == rows
            proposal = resumed.ask()
            tell(resumed, proposal)
            after = resumed.rows()
        with Study.open(folder) as again:
            assert again.rows() == after
        trials = JournalStorage(JournalFileBackend(str(folder / "study.journal"))).get_all_trials(0)
        assert all(trial.state.is_finished() for trial in trials)  # in optuna's own tools too


def test_a_trial_whose_result_is_truncated_runs_again(start: Start, tmp_path: Path) -> None:
    study = start()
    run(study, 2)
    proposal = study.ask()
    weights = dict(proposal.weights)
    tell(study, proposal)
    study.close()
    journal = tmp_path / "run" / "study.journal"
    *whole, result, _ = _lines(tmp_path / "run")
    assert b'"result"' in result
    for cut in range(len(result)):
        journal.write_bytes(b"".join(whole) + result[:cut])
        with Study.open(tmp_path / "run") as resumed:
            again = resumed.ask()
        assert (again.number, again.weights) == (2, weights)


def test_a_lock_file_left_by_optuna_does_not_block(start: Start, tmp_path: Path) -> None:
    start().close()
    journal = tmp_path / "run" / "study.journal"
    os.symlink(journal, f"{journal}.lock")  # noqa: PTH211 - optuna makes dangling links
    with Study.open(tmp_path / "run") as study:
        assert study.ask().number == 0


def test_a_second_driver_is_refused_until_the_first_closes(start: Start, tmp_path: Path) -> None:
    study = start()
    before = _lines(tmp_path / "run")
    script = (
        "import sys; from pathlib import Path; from evossl.search.study import Study; "
        "from evossl.errors import UserError\n"
        "try: Study.open(Path(sys.argv[1]))\n"
        "except UserError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "another evossl process drives this run" in refused.stderr
    with pytest.raises(UserError, match="another evossl process"):
        Study.open(tmp_path / "run")
    assert _lines(tmp_path / "run") == before
    study.close()
    Study.open(tmp_path / "run").close()


def test_a_full_disk_leaves_the_journal_intact(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = start()
    run(study, 2)
    proposal = study.ask()
    before, fsync = _lines(tmp_path / "run"), os.fsync

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"study\.journal: the disk is full"):
        tell(study, proposal)
    with pytest.raises(RunError, match="the disk is full"):
        study.ask()
    assert _lines(tmp_path / "run") == before
    assert study.counts()["running"] == 1
    monkeypatch.setattr(os, "fsync", fsync)
    tell(study, proposal)
    rows = study.rows()
    study.close()
    with Study.open(tmp_path / "run") as resumed:
        assert resumed.rows() == rows


def test_a_damaged_journal_is_named(start: Start, tmp_path: Path) -> None:
    study = start()
    run(study, 2)
    study.close()
    lines = _lines(tmp_path / "run")
    lines[3] = b"{garbage\n"
    (tmp_path / "run" / "study.journal").write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=r"study\.journal: is damaged"):
        Study.open(tmp_path / "run")


def test_a_kill_while_a_search_is_created_leaves_none(
    tmp_path: Path, genotype: Genotype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            Study.create(tmp_path / "run", genotype, config.Sampler(), 0)
    with pytest.raises(UserError, match="no search to resume"):
        Study.open(tmp_path / "run")
    Study.create(tmp_path / "run", genotype, config.Sampler(), 0).close()


def test_an_empty_journal_is_named(start: Start, tmp_path: Path) -> None:
    start().close()
    (tmp_path / "run" / "study.journal").write_bytes(b"")
    with pytest.raises(RunError, match=r"study\.journal: holds no search"):
        Study.open(tmp_path / "run")


def test_a_journal_of_another_format_is_refused(start: Start, tmp_path: Path) -> None:
    start().close()
    journal = tmp_path / "run" / "study.journal"
    text = journal.read_text()
    assert '"format":2,' in text
    journal.write_text(text.replace('"format":2,', ""))  # as the first format was
    with pytest.raises(UserError, match=r"study\.journal: has format 1, .* reads format 2"):
        Study.open(tmp_path / "run")
