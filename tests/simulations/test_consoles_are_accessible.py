"""Every page of both consoles, dark and light, under axe-core: no finding of any impact."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.site.importing import import_table
from common.run_events.events import RunFailed, RunStarted, to_json
from common.web.serve import Console, Listen
from simulations.console.form import form_of
from simulations.console.launching import LaunchedRuns, ManyRuns
from simulations.console.pages import coordinator_pages
from simulations.console.workspace import Workspace
from simulations.drafting import NamedColumns
from tests.simulations.test_drafting import stays
from tests.testbeds.axe import axe, findings
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED, press, put
from tests.testbeds.consoles import coordinator_runs, hospital_console, proposal
from tests.testbeds.site_folder import make_site, patients

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]


def inspect(browser: Browser, text: str, found: dict[str, list[str]], name: str) -> None:
    """Look at the open page in both schemes and on a narrow screen."""
    for scheme, width in (("light", 1200), ("dark", 1200), ("dark", 390)):
        browser.emulate(scheme=scheme, width=width)
        if here := findings(browser, text):
            found[f"{name}, {scheme}, {width}"] = here


def visit(browser: Browser, base: str, path: str) -> None:
    browser.open(f"{base}{path}", f"location.href === {base + path!r} && {LOADED}")


def base_of(browser: Browser) -> str:
    return str(browser.evaluate("location.href")).rstrip("/")


def test_the_coordinators_pages(tmp_path: Path, browser: Browser) -> None:
    text = axe()
    stays().to_csv(tmp_path / "icu.csv", index=False)
    workspace = Workspace(tmp_path / "studies")
    for name in ("new", "drafted", "saved"):
        workspace.add(name, tmp_path / "icu.csv", None, ())
    for name in ("drafted", "saved"):
        draft = workspace.make_draft(name, NamedColumns("died", "patient"))
    assert draft.document is not None
    workspace.save("saved", form_of(draft.document), {})
    coordinated, launched = coordinator_runs(tmp_path, "run-1", "run-2"), LaunchedRuns(workspace)
    folder = coordinated.run("run-1").folder.path
    begun = RunStarted(
        run_id="run-1", study="clinic", fingerprint="0" * 64, hospitals=("north", "south"), phases=("histograms",),
        rounds=2, is_simulation=False,
    )  # fmt: skip
    (folder / "events.jsonl").write_text(f"{to_json(begun)}\n{to_json(RunFailed(reason='too few hospitals'))}\n{{\n")
    (folder / "run.json").write_text('{"status": "failed", "reason": "too few hospitals"}')
    (folder / "synthetic.csv").write_text("age\n50\n")
    runs = ManyRuns([coordinated, launched])
    console = Console(lambda serving: coordinator_pages(runs, workspace, launched, serving), Listen())
    found: dict[str, list[str]] = {}
    with console.beside():
        browser.open(console.opening, LOADED)
        base = base_of(browser)
        for path in ("/", "/runs/run-1", "/runs/run-2", "/runs/none", "/studies"):
            visit(browser, base, path)
            inspect(browser, text, found, path)
        for name in ("new", "drafted", "saved"):
            visit(browser, base, f"/studies/{name}")
            inspect(browser, text, found, name)
        put(browser, "epsilon", "many")
        press(browser, "Save and check the study")
        browser.wait(f"{LOADED} && document.querySelector('[aria-invalid=true]') !== null")
        inspect(browser, text, found, "a wrong field")
    assert found == {}


def test_the_hospitals_pages(tmp_path: Path, browser: Browser) -> None:
    text = axe()
    import_table(make_site(tmp_path, patients()))
    console = hospital_console(tmp_path / "site")
    found: dict[str, list[str]] = {}
    with console.beside():
        browser.open(console.opening, LOADED)
        base = base_of(browser)
        inspect(browser, text, found, "no proposal")
        put(browser, "proposal", proposal(tmp_path).to_json())
        press(browser, "Read the proposal")
        browser.wait(f"location.pathname.endsWith('/runs/run-1') && {LOADED}")
        inspect(browser, text, found, "a decision")
        for path in ("/", "/runs/run-1/check", "/ledger", "/partners"):
            visit(browser, base, path)
            inspect(browser, text, found, path)
    assert found == {}
