"""What a reader is told when a file cannot be written."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import SiteError, StudyError, cause_of
from common.study.study import parse_study, read_study
from common.system.files import HeldError, locked, write_synced, writing
from tests.testbeds.clinic import STUDY


class TestWriting:
    def test_a_full_disk_is_named_in_the_systems_words(self) -> None:
        with pytest.raises(StudyError) as refused, writing(Path("/dev/full")):
            Path("/dev/full").write_text("x")
        assert str(refused.value) == "cannot write '/dev/full': No space left on device; choose another --out"

    def test_error_and_remedy_are_the_callers(self, tmp_path: Path) -> None:
        path = tmp_path / "none" / "file"
        with pytest.raises(SiteError, match=r"No such file or directory; check the state folder$"):  # noqa: SIM117
            with writing(path, remedy="check the state folder", error=SiteError):
                path.write_text("x")

    def test_other_exceptions_pass(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="canary"), writing(tmp_path):
            raise ValueError("canary")


def test_cause_of_an_error_quotes_no_cell() -> None:
    assert cause_of(ValueError("canary")) == "ValueError"
    assert cause_of(OSError("canary")) == "OSError"
    assert cause_of(UnicodeDecodeError("utf-8", b"canary", 0, 1, "canary")) == "it is not UTF-8 text"
    with pytest.raises(json.JSONDecodeError) as malformed:
        json.loads("canary")
    assert cause_of(malformed.value) == "it is not JSON"


def test_an_absent_study_is_explained_in_words(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study\.toml': No such file or directory; check the path"):
        read_study(tmp_path / "study.toml")


class TestWithoutFcntl:
    """Windows has no `fcntl`: commands import it where they lock, and lock with `msvcrt` there."""

    def test_a_file_is_locked_with_the_systems_own_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        taken: list[int] = []
        windows = SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, size: taken.append(size))
        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", windows)
        with locked(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        assert taken == [1]

    def test_a_held_lock_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def busy(*_: int) -> None:
            raise PermissionError

        (tmp_path / "lock").write_text("17\n")
        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=busy))
        with pytest.raises(HeldError, match="17"), locked(tmp_path / "lock"):
            pass

    def test_commands_that_lock_nothing_work(self) -> None:
        code = "import sys; sys.modules['fcntl'] = None; sys.argv[1:] = ['study', 'draft', '--help']\n"
        code += "from common.system import files, folder; from simulations.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0


def test_nothing_is_left_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_synced(tmp_path / "study.toml", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(STUDY, encoding="utf-8-sig")
    assert read_study(tmp_path / "s.toml") == parse_study(STUDY)
