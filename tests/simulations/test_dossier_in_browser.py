"""The dossier in a real browser: it asks for nothing, and prints with the summary on a page of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.dossier.dossier import write_dossier
from common.dossier.facts import read_run
from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.run import simulate
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]

A4_WIDTH, A4_HEIGHT = 680, 1010
"""CSS pixels of an A4 page without its margins of 15 mm."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = built_in_study().amended(training={"rounds": 0}, synthesizer={"prototypes": 50, "fit_steps": 60})
    run = simulate(prepare(study, built_in_hospitals()), tmp_path_factory.mktemp("run") / "out").out
    return write_dossier(read_run(run), run)[0]


def test_the_page_needs_nothing_but_itself(page: Path, tmp_path: Path) -> None:
    shots = Path(os.environ.get("FEDSYNTH_SCREENSHOTS", tmp_path))
    with Browser() as browser:
        browser.emulate()
        browser.open(page, "document.querySelector('section')")
        browser.screenshot(shots / "dossier.png", whole=False)
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith(("file:", "about:"))] == []


def test_the_summary_fits_a_printed_page(page: Path, tmp_path: Path) -> None:
    with Browser() as browser:
        browser.emulate(media="print", width=A4_WIDTH)
        browser.open(page, "document.querySelector('section')")
        assert browser.evaluate("document.querySelector('section').getBoundingClientRect().bottom") < A4_HEIGHT
        browser.print(tmp_path / "dossier.pdf")
        assert (tmp_path / "dossier.pdf").stat().st_size > 10_000
