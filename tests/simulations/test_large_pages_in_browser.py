"""Pages of large studies in a real browser: seconds until they are there, and after a scroll and a click.

pytest -s tests/simulations/test_large_pages_in_browser.py
"""

from __future__ import annotations

import sys

import pytest

from simulations.experiments.console_load import COLUMNS, HOSPITALS, large_pages
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]

MOST_S = 10.0
"""Most seconds of a page until it is loaded, has scrolled, or shows what a click opens, on a busy machine."""

TIMING = (
    "(() => { const n = performance.getEntriesByType('navigation')[0]; return [n.responseEnd, n.loadEventEnd]; })()"
)

PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Until the next frame was drawn."""


def seconds(browser: Browser, act: str) -> float:
    """Seconds that a page takes for an action and the next frame."""
    took = browser.evaluate(
        f"(async () => {{ const t = performance.now(); {act}; await {PAINTED}; return performance.now() - t; }})()"
    )
    return float(took) / 1000


def test_large_pages_are_usable(browser: Browser) -> None:
    seen = []
    for name, console, path in large_pages():
        browser.open(console.opening, LOADED)
        base = str(browser.evaluate("location.href")).partition("/runs")[0].rstrip("/")
        if path != "/":
            browser.open(f"{base}{path}", f"location.href.endsWith({path!r}) && {LOADED}")
        browser.evaluate("location.reload()")
        browser.wait(f"{LOADED} && performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        browser.evaluate(PAINTED)
        arrived, ready = (figure / 1000 for figure in browser.evaluate(TIMING))
        scrolled = seconds(browser, "scrollTo(0, document.body.scrollHeight)")
        opened = seconds(browser, "document.querySelector('summary').click()")
        nodes = browser.evaluate("document.querySelectorAll('*').length")
        figures = f"arrived {arrived:.2f} s, loaded {ready:.2f} s, scroll {scrolled:.2f} s, click {opened:.2f} s"
        sys.stdout.write(f"{name}: {figures}; {nodes} elements\n")
        seen.append(name)
        assert max(ready, scrolled, opened) < MOST_S, name
    assert seen == [f"run of {COLUMNS} columns", f"run of {HOSPITALS} hospitals", f"form of {COLUMNS} columns"]
