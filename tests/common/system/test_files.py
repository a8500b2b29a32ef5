"""What a reader is told when a file cannot be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.errors import SiteError, StudyError, cause_of
from common.study.study import read_study
from common.system.files import writing


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
