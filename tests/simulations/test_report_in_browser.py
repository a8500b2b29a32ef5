"""The report of a small simulation in a real browser: nothing breaks, nothing is fetched, everything fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulations.federation.hospitals import built_in_hospitals, built_in_study
from simulations.federation.prepare import prepare
from simulations.federation.run import simulate
from tests.testbeds.axe import axe, findings
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM),
    pytest.mark.usefixtures("quick_learners"),
]

DRAWN = "document.body?.dataset.drawn"
PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    study = built_in_study().amended(
        training={"rounds": 1, "steps": 2}, synthesizer={"prototypes": 50, "fit_steps": 60}
    )
    return simulate(prepare(study, built_in_hospitals()), out).out / "report.html"


@pytest.fixture(scope="module")
def browser(report: Path) -> Iterator[Browser]:
    """The report, opened once on a light screen."""
    with Browser() as opened:
        opened.emulate()
        opened.open(report, DRAWN)
        yield opened


def settle(browser: Browser) -> None:
    """Let the figures follow a change of the screen."""
    browser.evaluate("new Promise((done) => setTimeout(() => requestAnimationFrame(() => done(true)), 1000))")


def test_the_report_is_drawn_without_a_complaint_or_a_request(report: Path, browser: Browser, shots: Path) -> None:
    browser.emulate()
    browser.screenshot(shots / "light.png", whole=False)
    assert browser.complaints == []
    # The file itself, and what plotly draws into data addresses.
    assert [url for url in browser.requests if not url.startswith(("data:", "blob:"))] == [report.resolve().as_uri()]
    drawn = browser.evaluate("document.querySelectorAll('.plot .main-svg').length > 0")
    assert drawn
    assert browser.evaluate("Array.from(document.querySelectorAll('.plot')).every(p => p.querySelector('.main-svg'))")
    assert (shots / "light.png").read_bytes().startswith(PNG)


def test_the_report_follows_a_dark_screen(browser: Browser, shots: Path) -> None:
    browser.emulate(scheme="dark")
    settle(browser)
    browser.screenshot(shots / "dark.png", whole=False)
    shade = "getComputedStyle({}).{}.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0)"
    assert browser.evaluate(shade.format("document.body", "backgroundColor")) < 150
    assert browser.evaluate(shade.format("document.body", "color")) > 600
    assert browser.evaluate(shade.format("document.querySelector('.xtick text')", "fill")) > 600
    assert browser.complaints == []


def test_the_report_fits_a_narrow_screen(browser: Browser, shots: Path) -> None:
    browser.emulate(width=390, height=844)
    settle(browser)
    browser.screenshot(shots / "narrow.png", whole=False)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_report_prints(browser: Browser, shots: Path) -> None:
    browser.emulate()
    browser.print(shots / "print.pdf")
    printed = (shots / "print.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") > 3
    browser.emulate(media="print", width=794, height=1123)
    settle(browser)
    browser.screenshot(shots / "print.png", whole=False)
    width = browser.evaluate("document.querySelector('main').clientWidth")
    widest = browser.evaluate("Math.max(...Array.from(document.querySelectorAll('.main-svg')).map(s => s.clientWidth))")
    assert widest <= width
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.complaints == []


def test_a_section_is_one_click_away(browser: Browser) -> None:
    browser.emulate()
    browser.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    browser.evaluate("document.querySelector('nav button[data-to=privacy]').click()")
    assert abs(browser.evaluate("document.getElementById('privacy').getBoundingClientRect().top")) < 120


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_has_no_finding_of_axe(browser: Browser, scheme: str) -> None:
    text = axe()
    browser.emulate(scheme=scheme)
    settle(browser)
    assert [finding for finding in findings(browser, text) if finding.startswith(("serious", "critical"))] == []
