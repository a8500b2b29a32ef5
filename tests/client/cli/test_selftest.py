from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.selftest import run
from client.selftest.checks import Check, CheckError
from client.selftest.run import CHECKS, selftest
from client.site import opening
from client.site.config import Site
from client.site.history import document, sentences
from client.site.importing import import_table
from client.site.opening import open_agent
from client.site.selftest_result import CheckOutcome
from client.site.state import open_ledger
from common.errors import LedgerError, LedgerHeldError, SelftestError
from common.ledger.ledger import Kind, Ledger, Slot
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_folder import make_site, patients


def fails(site: Site) -> str:
    raise CheckError("the numbers are not even: use another machine")


def breaks(site: Site) -> str:
    raise KeyError("a cell")


PASSING = Check("noise", lambda site: "numbers are even", "use another machine")
FAILING = Check("kernels", fails, "use another machine")
BREAKING = Check("reader", breaks, "import nothing")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, patients())


def test_selftest_is_an_entry_that_costs_nothing(site: Site) -> None:
    told: list[CheckOutcome] = []
    entry = selftest(site, told.append, (PASSING,))
    history = Ledger.view(site.ledger, with_replies=True)
    assert (entry.kind, entry.counter, history.epsilon) == (Kind.SELFTEST, 1, 0.0)
    assert told == [CheckOutcome("noise", True, "numbers are even")]
    content = json.loads(history.entries[1].content)
    assert content["versions"].keys() >= {"fedsynth", "opendp", "torch"}
    assert content["checks"] == [{"name": "noise", "is_passed": True, "detail": "numbers are even"}]
    assert "passed all 1 checks" in sentences(history)[1][1]
    assert document(history)["entries"][1]["content"] == content


def warnings_at_start(site: Site, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with open_agent(site):
        return [record.getMessage() for record in caplog.records if "selftest" in record.getMessage()]


def test_agent_warns_of_a_selftest_that_does_not_count(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_table(site)
    assert warnings_at_start(site, caplog) == []
    passing = Check("noise", lambda _: "fine", "")
    with pytest.raises(SelftestError):
        selftest(site, lambda outcome: None, (Check("disk", fails, ""),))
    assert "failed: disk; stop the agent and run `fedsynth site selftest`" in warnings_at_start(site, caplog)[0]
    selftest(site, lambda outcome: None, (passing,))
    assert warnings_at_start(site, caplog) == []
    monkeypatch.setattr(opening, "VERSION", "99.0")
    assert "and this is 99.0; run `fedsynth site selftest` again" in warnings_at_start(site, caplog)[0]


def test_selftest_can_be_repeated(site: Site) -> None:
    assert [selftest(site, lambda _: None, (PASSING,)).counter for _ in range(3)] == [1, 2, 3]


def test_failed_check_is_recorded_and_others_go_on(site: Site) -> None:
    told: list[CheckOutcome] = []
    with pytest.raises(SelftestError, match=r"kernels, reader failed \(entry 1 of the ledger\); release"):
        selftest(site, told.append, (FAILING, BREAKING, PASSING))
    assert [outcome.is_passed for outcome in told] == [False, False, True]
    assert told[1].detail == "it ended with KeyError: import nothing"  # no text of an unknown exception
    assert sentences(Ledger.view(site.ledger))[1][1].endswith("FAILED kernels, reader")


def test_selftest_waits_for_no_agent(site: Site) -> None:
    ledger = open_ledger(site)
    told: list[CheckOutcome] = []
    with pytest.raises(LedgerHeldError):
        selftest(site, told.append, (PASSING,))
    assert told == []
    ledger.close()


def test_altered_ledger_is_a_failed_check(site: Site) -> None:
    selftest(site, lambda _: None, (PASSING,))
    site.ledger.with_suffix(".head.json").unlink()
    told: list[CheckOutcome] = []
    with pytest.raises(SelftestError, match=r"ledger failed \(not written"):
        selftest(site, told.append, CHECKS[-1:])
    assert "its head file is missing" in told[0].detail


def test_verification_refuses_an_unknown_kind(site: Site) -> None:
    ledger = open_ledger(site)
    ledger._append(ledger._next("tomorrow", Slot("", "", "")))
    ledger.close()
    with pytest.raises(LedgerError, match="entry 1 is of the unknown kind 'tomorrow'"):
        Ledger.view(site.ledger)


class TestCommand:
    def test_all_checks_of_this_installation_pass(self, site: Site) -> None:
        done = fedsynth("site", "selftest", "--site", site.state)
        assert done.exit_code == 0, output_of(done)
        assert [line.split(":")[0] for line in done.stdout.splitlines()[:5]] == [
            f"passed {check.name}" for check in CHECKS
        ]
        assert "entry 1 of the ledger" in done.stdout

    def test_failure_has_its_own_exit_code(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run.selftest, "__defaults__", ((FAILING,),))
        done = fedsynth("site", "selftest", "--site", site.state)
        assert done.exit_code == 6
        assert "FAILED kernels: the numbers are not even: use another machine" in done.stdout
