"""A newcomer's path in a real browser, from `fedsynth console` to the report; and a run with a hospital that dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from common.planning.planner import make_plan
from common.protocol.messages import CountsRequest, Reply, Request
from common.run_events.events import RunFailed, RunStarted, to_json
from server.console.runs import SimulatedRun
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.federation.test_faults import Faulty
from tests.simulations.test_drafting import stays
from tests.testbeds.browser import NO_CHROMIUM, Browser, chromium
from tests.testbeds.browsing import LOADED, TEXT, choose_file, follow, press, put, unnamed_controls
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.consoles import coordinator_console
from tests.testbeds.visits import invented_visits

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason=NO_CHROMIUM)]


@contextmanager
def command(folder: Path) -> Iterator[str]:
    """Run `fedsynth console` in a folder; yields the address that it prints. Ctrl-C ends it."""
    words = [sys.executable, "-m", "simulations.cli.main", "console", "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def at(browser: Browser, end: str) -> None:
    browser.wait(f"location.pathname.endsWith({end!r}) && {LOADED}")


def test_a_newcomer_comes_from_a_table_to_a_report(tmp_path: Path, browser: Browser, shots: Path) -> None:
    table = tmp_path / "icu.csv"
    stays().drop(columns="patient").assign(email=[f"p{row}@example.org" for row in range(200)]).to_csv(
        table, index=False
    )
    browser.timeout_s = 400
    with command(tmp_path) as opening:
        browser.open(opening, LOADED)
        follow(browser, "Studies")
        at(browser, "/studies")
        choose_file(browser, "file", table)
        browser.wait("document.getElementById('content').value !== ''")
        browser.evaluate("document.querySelector('input[name=public]').click()")
        assert unnamed_controls(browser) == 0
        browser.screenshot(shots / "console-table.png")
        press(browser, "Read the table")
        at(browser, "/studies/icu")
        put(browser, "draft_target", "died")
        press(browser, "Draft the study")
        browser.wait(f"{LOADED} && {TEXT}.includes('Save and check the study')")
        assert unnamed_controls(browser) == 0
        assert "direct identifier" in browser.evaluate(TEXT)
        put(browser, "epsilon", "many")
        press(browser, "Save and check the study")
        browser.wait(f"{LOADED} && document.querySelector('#epsilon[aria-invalid=true]') !== null")
        put(browser, "epsilon", "3")
        press(browser, "Save and check the study")
        browser.wait(f"{LOADED} && {TEXT}.includes('Simulate this study')")
        browser.screenshot(shots / "console-study.png", clip=(0, 0, 1200, 1500))
        put(browser, "hospitals", "3")
        press(browser, "Simulate this study")
        at(browser, "/runs/icu.1")
        browser.wait("document.getElementById('connection').textContent === 'live'")
        browser.wait(f"{TEXT}.includes('answered')")
    browser.wait("document.getElementById('connection').textContent !== 'live'")
    with command(tmp_path) as opening:  # the simulation ran on; the console that is started again shows all of it
        browser.open(opening, LOADED)
        follow(browser, "icu.1")
        at(browser, "/runs/icu.1")
        browser.wait("document.getElementById('connection').textContent === 'live'")
        browser.wait(f"{TEXT}.includes('Read the report') && {TEXT}.includes('synthetic.csv')")
        browser.screenshot(shots / "console-finished.png", clip=(0, 0, 1200, 1000))
        follow(browser, "Read the report")
        browser.wait("document.body?.dataset.drawn && location.pathname.endsWith('/report')")
    own = [text for text in browser.complaints if "ERR_" not in text and "401" not in text and "400" not in text]
    assert own == []
    assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:")) for url in browser.requests)


def test_a_newcomer_runs_a_study_of_visits(tmp_path: Path, browser: Browser, shots: Path) -> None:
    invented_visits(240).to_csv(tmp_path / "ward.csv", index=False)
    browser.timeout_s = 900
    with command(tmp_path) as opening:
        browser.open(opening, LOADED)
        follow(browser, "Studies")
        at(browser, "/studies")
        choose_file(browser, "file", tmp_path / "ward.csv")
        browser.wait("document.getElementById('content').value !== ''")
        browser.evaluate("document.querySelector('input[name=public]').click()")
        press(browser, "Read the table")
        at(browser, "/studies/ward")
        for field, value in {"draft_target": "stage", "patient_column": "id", "time_column": "day"}.items():
            put(browser, field, value)
        put(browser, "draft_most_visits", "3")
        press(browser, "Draft the study")
        browser.wait(f"{LOADED} && {TEXT}.includes('At most 3 visits of a patient are counted')")
        assert unnamed_controls(browser) == 0
        put(browser, "rules", "stage never decreases")
        press(browser, "Save and check the study")
        browser.wait(f"{LOADED} && {TEXT}.includes('From visit to visit: stage never decreases')")
        browser.screenshot(shots / "console-visits.png", clip=(0, 0, 1200, 1900))
        put(browser, "hospitals", "2")
        press(browser, "Simulate this study")
        at(browser, "/runs/ward.1")
        assert "From visit to visit: stage never decreases" in browser.evaluate(TEXT)
        browser.wait(f"{TEXT}.includes('Read the report')")
        assert "visits.csv" in browser.evaluate(TEXT)
        follow(browser, "Read the report")
        browser.wait("document.body?.dataset.drawn && location.pathname.endsWith('/report')")


def test_a_hospital_that_dies_is_shown_late(tmp_path: Path, browser: Browser, shots: Path) -> None:
    study = clinic_study(federation={"round_deadline_s": 15}, training={"rounds": 0})
    is_dead, is_over = Event(), Event()

    def dying(request: Request, answer: Callable[[], Reply]) -> Reply:
        if isinstance(request, CountsRequest):
            is_dead.set()
            is_over.wait(120)  # it never answers; the thread ends with the test
        return answer()

    prepared = prepare(study, clinic_tables())
    out = tmp_path / "out"
    options = Options(
        wrap=lambda hospital: Faulty(hospital, dying) if hospital.policy.hospital == "west" else hospital, workers=3
    )
    console = coordinator_console(SimulatedRun(prepared.study, make_plan(prepared.study), out), is_read_only=True)
    run = Thread(target=lambda: simulate(prepared, out, options), daemon=True)
    row = "Array.from(document.querySelectorAll('tbody tr')).find(r => r.innerText.startsWith('west'))?.innerText ?? ''"
    with console.beside():
        browser.open(console.opening, LOADED)
        run.start()
        assert is_dead.wait(60)
        browser.wait(f"({row}).includes('asked')")
        browser.wait(f"({row}).includes('no reply before the deadline')")
        browser.screenshot(shots / "console-late.png", clip=(0, 0, 1200, 900))
        is_over.set()
        run.join(120)
        browser.wait(f"{TEXT}.includes('synthetic rows')")
    assert browser.complaints == []
    assert (out / "synthetic.csv").exists()


def test_a_page_shows_what_happened_while_it_was_cut_off(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.web.live.LONGEST_S", 3.0)  # an open stream outlasts the emulated loss of the network
    monkeypatch.setattr("common.web.live.BEAT_S", 1.0)
    study = clinic_study()
    prepared = prepare(study, clinic_tables())
    plan = make_plan(prepared.study)
    console = coordinator_console(SimulatedRun(prepared.study, plan, tmp_path), is_read_only=True)
    connection = "document.getElementById('connection').textContent"
    started = RunStarted(
        run_id="run-1", study=study.name, fingerprint=study.fingerprint, hospitals=tuple(prepared.tables),
        phases=plan.phases, rounds=0, is_simulation=True,
    )  # fmt: skip
    with console.beside():
        browser.open(console.opening, LOADED)
        browser.wait(f"{connection} === 'live'")
        offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert browser.evaluate(connection) == "live", "a page that is seen keeps its stream"
        browser.evaluate("window.wasHereBefore = true")
        browser.call("Network.emulateNetworkConditions", offline=True, **offline)
        browser.wait(f"{connection} !== 'live'")
        (tmp_path / "events.jsonl").write_text(
            f"{to_json(started)}\n{to_json(RunFailed(reason='lost the database'))}\n"
        )
        time.sleep(1)
        assert "lost the database" not in browser.evaluate(TEXT)
        browser.call("Network.emulateNetworkConditions", offline=False, **offline)
        browser.wait(f"{connection} === 'live' && {TEXT}.includes('lost the database')")
        assert browser.evaluate("window.wasHereBefore"), "the page was not loaded again"
