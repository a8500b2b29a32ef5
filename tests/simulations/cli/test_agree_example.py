"""The example of docs/agree.md: its commands run, and print what the page says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from common.study.study import read_study
from tests.testbeds.command_line import fedsynth

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in (DOCS / "agree-example").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def test_the_example_prints_what_the_page_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    page = (DOCS / "agree.md").read_text(encoding="utf-8").partition("## An example")[2].partition("## Export")[0]
    printed, codes = "", []
    for line in re.findall(r"^    fedsynth (.*)$", page, re.MULTILINE):
        result = fedsynth(*line.split())
        printed += result.output
        codes.append(result.exit_code)
    assert codes == [0, 0, 7]
    known = {*printed.splitlines(), *(folder / "study.toml").read_text(encoding="utf-8").splitlines()}
    shown = [
        line
        for block in re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(shown) > 30
    assert [line for line in shown if not any(line == text or text.startswith(f"{line} (") for text in known)] == []
    assert len(read_study(folder / "study.toml").table.columns) == 7
