"""Both consoles in a real browser: a simulation watched live, a hospital's decision, light, dark and narrow screens."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from client.console.inbox import PROPOSALS, Inbox
from client.site.approval import LEAST_TYPED
from client.site.config import read_site
from client.site.importing import import_table
from common.planning.planner import make_plan
from common.run_events.events import ExchangeStarted, HospitalReplied, PhaseStarted, RunStarted, to_json
from server.console.runs import SimulatedRun
from simulations.federation.hospitals import built_in_study
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED, TEXT, fill, follow, press, unnamed_controls
from tests.testbeds.consoles import coordinator_console, hospital_console, proposal
from tests.testbeds.site_folder import make_site, patients

pytestmark = pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)


def test_a_run_is_watched_live(tmp_path: Path, browser: Browser, shots: Path) -> None:
    study = built_in_study()
    names = tuple(facts.name for facts in study.hospitals)
    plan = make_plan(study)
    started = RunStarted(
        run_id="run-1", study=study.name, fingerprint=study.fingerprint, hospitals=names, phases=plan.phases,
        rounds=plan.rounds, is_simulation=True,
    )  # fmt: skip
    phase, request = plan.phases[0], "query"
    asked = ExchangeStarted(phase=phase, request=request, hospitals=len(names))
    events = tmp_path / "events.jsonl"
    console = coordinator_console(SimulatedRun(study, plan, tmp_path), is_read_only=True)
    with console.beside():
        browser.open(console.opening, LOADED)
        browser.wait("document.getElementById('connection').textContent === 'live'")
        with events.open("a") as file:
            file.write("\n".join(to_json(event) for event in (started, PhaseStarted(phase=phase), asked)) + "\n")
        browser.wait(f"{TEXT}.includes('asked')")
        with events.open("a") as file:
            for name in names:
                replied = HospitalReplied(phase=phase, request=request, hospital=name, bytes_down=1000, bytes_up=9000)
                file.write(to_json(replied) + "\n")
        browser.wait(f"!{TEXT}.includes('asked') && {TEXT}.includes('answered')")
        browser.screenshot(shots / "console-run.png")
    assert browser.complaints == []
    assert {url.split("/")[2] for url in browser.requests if url.startswith("http")} == {
        f"127.0.0.1:{console.address.port}"
    }
    assert "token=" not in browser.evaluate("location.href")


def test_a_hospital_decides_in_the_browser(tmp_path: Path, browser: Browser, shots: Path) -> None:
    import_table(make_site(tmp_path, patients()))
    site = tmp_path / "site"
    text = proposal(tmp_path, study={"description": "<script>document.title = 'taken'</script>"}).to_json()
    console = hospital_console(site)
    with console.beside():
        browser.open(console.opening, LOADED)
        assert unnamed_controls(browser) == 0
        browser.evaluate(f"document.getElementById('proposal').value = {text!r}")
        press(browser, "Read the proposal")
        browser.wait(f"location.pathname.endsWith('/runs/run-1') && {LOADED}")
        assert browser.evaluate("document.title") != "taken"
        assert unnamed_controls(browser) == 0
        browser.screenshot(shots / "console-decision.png")
        digits = browser.evaluate("document.getElementById('digest').innerText")[:LEAST_TYPED]
        fill(browser, approve_approver="Kari Nordmann", approve_position="data protection officer", digits=digits)
        press(browser, "Approve this run")
        browser.wait(f"{TEXT}.includes('approved by Kari Nordmann')")
        assert [decision.kind for decision in read_site(site).approvals.of("run-1")] == ["approve"]
        fill(browser, withdraw_approver="Kari Nordmann", withdraw_position="data protection officer")
        press(browser, "Withdraw the approval")
        browser.wait(f"{TEXT}.includes('withdrawn by Kari Nordmann')")
        follow(browser, "Ledger")
        browser.wait(f"location.pathname.endsWith('/ledger') && {LOADED}")
        assert "withdrawn by Kari Nordmann" in browser.evaluate(TEXT)
        browser.screenshot(shots / "console-ledger.png")
    assert browser.complaints == []


def test_a_page_follows_screen_and_width(tmp_path: Path, browser: Browser) -> None:
    import_table(make_site(tmp_path, patients()))
    console = hospital_console(tmp_path / "site")
    with console.beside():
        browser.open(console.opening, LOADED)
        browser.emulate(scheme="dark", width=390, height=844)
        shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((s, c) => s + +c, 0)"
        browser.wait(f"{shade} < 150")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_no_other_port_gets_the_cookie(tmp_path: Path, browser: Browser) -> None:
    """Another account of the machine serves a page from 127.0.0.1, and the person visits it in the same browser."""
    import_table(make_site(tmp_path, patients()))
    got: list[str] = []

    class Spy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.headers.get("cookie", ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>a page</h1>")

        def log_message(self, *words: object) -> None:
            pass

    console = hospital_console(tmp_path / "site")
    with console.beside(), ThreadingHTTPServer(("127.0.0.1", 0), Spy) as spy:
        Thread(target=spy.serve_forever, daemon=True).start()
        browser.open(console.opening, LOADED)
        browser.open(f"http://127.0.0.1:{spy.server_port}/runs/run-1", f"{TEXT} === 'a page'")
        spy.shutdown()
    assert got
    assert not any("fedsynth" in cookie for cookie in got)


def test_a_page_is_not_live_after_a_restart(tmp_path: Path, browser: Browser) -> None:
    import_table(make_site(tmp_path, patients()))
    console = hospital_console(tmp_path / "site")
    with console.beside():
        browser.open(console.opening, LOADED)
        browser.wait("document.getElementById('connection').textContent === 'live'")
    browser.wait("document.getElementById('connection').textContent === 'connecting again'")
    Inbox(tmp_path / "site" / PROPOSALS).add(proposal(tmp_path, "run-7").to_json())
    again = hospital_console(tmp_path / "site", port=console.address.port)
    with again.beside():  # with other sessions: between the two, anybody could have listened on the port
        browser.wait("document.getElementById('connection').textContent.startsWith('not live: open the address')")
        assert "run-7" not in browser.evaluate(TEXT)
        browser.open(again.opening, LOADED)
        browser.wait(f"document.getElementById('connection').textContent === 'live' && {TEXT}.includes('run-7')")
