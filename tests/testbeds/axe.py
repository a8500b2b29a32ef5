"""axe-core, the usual check of web pages for people who use a keyboard or a screen reader.

`make axe` brings it into `.axe/`; it is not part of the project (MPL-2.0, 650 kB). FEDSYNTH_AXE may name the file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.testbeds.browser import Browser

USUAL = Path(__file__).parents[2] / ".axe" / "axe.min.js"


def axe() -> str:
    """The text of axe-core; the test is skipped where it is absent."""
    path = Path(os.environ.get("FEDSYNTH_AXE", USUAL))
    if not path.is_file():
        pytest.skip("needs axe-core: make axe, or name axe.min.js in FEDSYNTH_AXE")
    return path.read_text(encoding="utf-8")


def findings(browser: Browser, axe_text: str) -> list[str]:
    """What axe finds on the open page, each with its impact and the first place."""
    browser.evaluate(f"{axe_text}; true")
    found = browser.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
        "`${v.impact} ${v.id}: ${v.nodes.length} x ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary}`))"
    )
    return [str(text) for text in found]
