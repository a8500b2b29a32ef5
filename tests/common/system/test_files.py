"""What a reader is told when a file cannot be written."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
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


class TestWriteSynced:
    def test_a_planted_link_is_neither_followed_nor_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / ".report.json.partial").symlink_to(elsewhere)
        (folder / "report.json").symlink_to(elsewhere)
        write_synced(folder / "report.json", b"exact", mode=0o600)
        assert elsewhere.read_bytes() == b""
        assert not (folder / "report.json").is_symlink()
        assert (folder / "report.json").read_bytes() == b"exact"
        monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
        (folder / ".guessed.partial").symlink_to(elsewhere)
        with pytest.raises(FileExistsError):
            write_synced(folder / "report.json", b"exact", mode=0o600)
        assert elsewhere.read_bytes() == b""

    def test_an_open_old_file_does_not_see_the_new_one(self, tmp_path: Path) -> None:
        path = tmp_path / "report.json"
        path.write_text("old")
        path.chmod(0o666)
        with path.open() as held:
            write_synced(path, b"exact", mode=0o600)
            assert held.read() == "old"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("umask", [0o000, 0o027, 0o777])
    def test_permissions_are_those_that_were_asked_for(self, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            write_synced(tmp_path / "private", b"x", mode=0o600)
            write_synced(tmp_path / "shared", b"x")
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {"private": 0o600, "shared": 0o666 & ~umask}


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


def test_a_file_is_written_where_folders_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def windows_open(path: Path, *options: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return os.open(path, *options)

    windows = SimpleNamespace(**vars(os) | {"name": "nt", "open": windows_open})
    monkeypatch.setattr("common.system.files.os", windows)
    write_synced(tmp_path / "a", b"content")
    assert (tmp_path / "a").read_bytes() == b"content"
