"""The hospital's console over a real site: proposals come in, people decide, and the commands see the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from client.cli.ledger import find_ledger
from client.site.approval import LEAST_TYPED, consider_run, read_proposed_run
from client.site.config import read_site
from client.site.importing import import_table
from client.site.opening import open_hospital
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.protocol.messages import EnrollReply, EnrollRequest
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.consoles import Visitor, hospital_console, proposal, visiting
from tests.testbeds.site_folder import make_site, patients

KARI = {"approver": "Kari Nordmann", "position": "data protection officer"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    import_table(make_site(tmp_path, patients()))
    return tmp_path / "site"


@pytest.fixture
def visitor(site: Path) -> Iterator[Visitor]:
    with visiting(hospital_console(site)) as opened:
        yield opened


def receive(visitor: Visitor, tmp_path: Path, run_id: str = "run-1", **sections: dict[str, object]) -> None:
    answer = visitor.post("/proposals", proposal=proposal(tmp_path, run_id, **sections).to_json())
    assert answer.headers["location"] == f"{visitor.base}/runs/{run_id}", answer.text


def digest(site: Path, run_id: str = "run-1") -> str:
    return consider_run(read_site(site), read_proposed_run(site / "proposals" / f"{run_id}.json", run_id)).digest


def test_a_proposal_waits_for_a_decision(visitor: Visitor, tmp_path: Path) -> None:
    assert "No proposal has arrived" in visitor.get("/").text
    receive(visitor, tmp_path)
    page = visitor.get("/runs/run-1").text
    assert "waits for a decision" in page
    assert "It costs each record epsilon" in page or "It costs each patient epsilon" in page
    assert "Approve this run" in page
    assert "A row is a patient." in page
    assert "The coordinator would get:" in page


NESTED = '{"run_id": "r", "study": "a = %s", "plan": "{}", "signature": "00"}'


@pytest.mark.parametrize("text", ["[" * 100_000, NESTED % ("[" * 100_000), NESTED % ("1" * 10_000)])
def test_a_proposal_too_deep_to_read_is_said(visitor: Visitor, text: str) -> None:
    answer = visitor.post("/proposals", proposal=text)
    assert answer.status_code == 400
    assert "Not done." in answer.text


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run_id": "run-1"}', '{"run_id": 1, "study": "", "plan": ""}'])
def test_what_is_no_proposal_is_said_and_not_kept(visitor: Visitor, site: Path, text: str) -> None:
    answer = visitor.post("/proposals", proposal=text)
    assert answer.status_code == 400
    assert "Not done." in answer.text
    assert not list((site / "proposals").glob("*"))


def test_a_changed_proposal_is_refused(visitor: Visitor, tmp_path: Path) -> None:
    changed = replace(proposal(tmp_path), run_id="run-2").to_json()
    answer = visitor.post("/proposals", proposal=changed)
    assert answer.status_code == 400
    assert "is not signed by the coordinator" in answer.text


@pytest.mark.parametrize("run_id", ["../../x", "a/b", ".", ""])
def test_a_run_id_names_no_other_file(visitor: Visitor, site: Path, tmp_path: Path, run_id: str) -> None:
    answer = visitor.post("/proposals", proposal=proposal(tmp_path, run_id).to_json())
    assert answer.status_code == 400
    assert not list(site.glob("**/x.json"))


def test_approving_needs_the_digits_of_the_statement(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    for digits in ("", "0" * LEAST_TYPED, digest(site)[: LEAST_TYPED - 1]):
        answer = visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digits, **KARI)
        assert answer.status_code == 400
        assert "was not approved" in answer.text
    assert read_site(site).approvals.of("run-1") == ()


@pytest.mark.parametrize("missing", ["approver", "position"])
def test_a_decision_names_a_person_and_a_role(visitor: Visitor, site: Path, tmp_path: Path, missing: str) -> None:
    receive(visitor, tmp_path)
    who = KARI | {missing: " "}
    answer = visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **who)
    assert answer.status_code == 400
    assert f"--{missing}" in answer.text


def test_an_approval_is_what_the_command_files(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    answer = visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], reason="Read.", **KARI)
    assert answer.status_code == 303, answer.text
    (decision,) = read_site(site).approvals.of("run-1")
    assert (decision.kind, decision.person.name, decision.person.reason) == ("approve", "Kari Nordmann", "Read.")
    assert decision.statement == digest(site)
    assert len(Ledger.view(find_ledger(site)[0]).decisions("run-1")) == 1
    page = visitor.get("/runs/run-1").text
    assert "approved by Kari Nordmann" in page
    assert "Withdraw the approval" in page
    assert "Approve this run" not in page
    assert "approved by Kari Nordmann" in visitor.get("/ledger").text


@pytest.mark.parametrize("command", ["approve", "deny"])
def test_a_run_decided_by_a_command_is_shown(visitor: Visitor, site: Path, tmp_path: Path, command: str) -> None:
    path = tmp_path / "proposal.json"
    path.write_text(proposal(tmp_path, "run-1").to_json())
    agreed = ("--agree", consider_run(read_site(site), read_proposed_run(path, None)).digest)
    who = ("--approver", KARI["approver"], "--position", KARI["position"])
    done = fedsynth("site", command, path, "--site", site, *who, *(agreed if command == "approve" else ()))
    assert done.exit_code == 0, output_of(done)
    words = {"approve": "approved by Kari Nordmann", "deny": "denied by Kari Nordmann"}[command]
    assert words in visitor.get("/runs/run-1").text
    assert "run-1" in visitor.get("/").text


@pytest.mark.parametrize("shown", ["", "0" * 64, "prefix"])
def test_approving_needs_the_statement_that_was_shown(visitor: Visitor, site: Path, tmp_path: Path, shown: str) -> None:
    """Whoever writes a study finds two statements with the same first digits after about 2^16 trials."""
    receive(visitor, tmp_path)
    token, digits = visitor.token("/runs/run-1"), digest(site)[:8]
    shown = digits + "0" * 56 if shown == "prefix" else shown
    answer = visitor.post("/runs/run-1/approve", shown=shown, digits=digits, form_token=token, **KARI)
    assert answer.status_code == 400
    assert "not the one that was shown" in answer.text
    assert read_site(site).approvals.of("run-1") == ()


def test_a_table_that_does_not_fit_is_not_approved(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    """The command refuses it too; the agent would count a lost column as missing throughout."""
    receive(visitor, tmp_path)
    lost = proposal(tmp_path).agreed()[0].table.names[0]
    patients().drop(columns=lost).to_csv(tmp_path / "table.csv", index=False)
    import_table(read_site(site), is_replacing=True)
    answer = visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **KARI)
    assert answer.status_code == 400
    assert lost in answer.text
    assert read_site(site).approvals.of("run-1") == ()


def test_withdrawing_stops_the_run_at_once(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    proposed = proposal(tmp_path)
    study, plan = proposed.agreed()
    visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **KARI)
    request = EnrollRequest("run-1", proposed.study, study.fingerprint, plan.to_json(), "{}")
    with open_hospital(read_site(site)) as hospital:
        assert isinstance(hospital.handle(request), EnrollReply)
        answer = visitor.post("/runs/run-1/withdraw", page="/runs/run-1", **KARI)
        assert answer.status_code == 303, answer.text
        reply = hospital.handle(request)
    assert isinstance(reply, EnrollReply)
    assert reply.reason == Reason.APPROVAL_WITHDRAWN


def test_an_approval_after_a_withdrawal_is_refused(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    """A second console at the same site, with the page of the decision open from before, changes nothing."""
    receive(visitor, tmp_path)
    with visiting(hospital_console(site)) as other:
        late = {"shown": digest(site), "digits": digest(site)[:8], "form_token": other.token("/runs/run-1"), **KARI}
        visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **KARI)
        assert "approved by Kari Nordmann" in other.get("/runs/run-1").text
        assert visitor.post("/runs/run-1/withdraw", page="/runs/run-1", **KARI).status_code == 303
        assert other.post("/runs/run-1/approve", **late).status_code == 400
        assert ">refused<" in other.get("/").text
    assert [decision.kind for decision in read_site(site).approvals.of("run-1")] == ["approve", "withdraw"]
    assert len(Ledger.view(find_ledger(site)[0]).decisions("run-1")) == 2


def test_a_denied_run_cannot_be_approved(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    digits = digest(site)[:8]
    assert visitor.post("/runs/run-1/deny", page="/runs/run-1", reason="Too much.", **KARI).status_code == 303
    (decision,) = read_site(site).approvals.of("run-1")
    assert decision.words == "denied by Kari Nordmann, data protection officer (Too much.)"
    assert "refused" in visitor.get("/runs/run-1").text
    assert visitor.post("/runs/run-1/approve", digits=digits, **KARI).status_code == 400
    command = fedsynth(
        "site", "approve", site / "proposals" / "run-1.json", "--site", site, "--approver", "Ola", "--position", "head"
    )
    assert command.exit_code != 0
    assert "was denied by Kari Nordmann" in output_of(command)


def test_deny_is_a_command_too(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "proposal.json"
    path.write_text(proposal(tmp_path).to_json())
    denied = fedsynth("site", "deny", path, "--site", site, "--approver", "Kari", "--position", "officer")
    assert denied.exit_code == 0, output_of(denied)
    assert "Run run-1: denied by Kari, officer." in output_of(denied)
    shown = fedsynth("site", "ledger", "show", "--site", site)
    assert "denied by Kari" in output_of(shown)


def test_two_persons_approve_where_the_site_asks_for_two(site: Path, tmp_path: Path) -> None:
    settings = site / "site.toml"
    settings.write_text(settings.read_text().replace("approvers = 1", "approvers = 2"))
    with visiting(hospital_console(site)) as visitor:
        receive(visitor, tmp_path)
        digits = digest(site)[:8]
        assert visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digits, **KARI).status_code == 303
        assert "waits for another person" in visitor.get("/runs/run-1").text
        again = visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digits, **KARI)
        assert "another person must be the second" in again.text
        ola = {"approver": "Ola Nordmann", "position": "head of registry"}
        assert visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digits, **ola).status_code == 303
        assert ">approved<" in visitor.get("/runs/run-1").text


def test_an_approval_that_ended_can_be_given_again(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    assert visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **KARI).status_code == 303
    assert "Approve this run" not in visitor.get("/runs/run-1").text
    path = site / "approvals" / "run-1.json"
    (filed,) = json.loads(path.read_text())
    path.write_text(json.dumps([filed | {"time": "2020-01-01T00:00:00Z", "expires": "2020-01-02T00:00:00Z"}]))
    page = visitor.get("/runs/run-1").text
    assert ">the approval has ended<" in page
    assert "Approve this run" in page


def test_an_approval_over_another_table_is_none(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    assert visitor.post("/runs/run-1/approve", page="/runs/run-1", digits=digest(site)[:8], **KARI).status_code == 303
    patients().iloc[1:].to_csv(tmp_path / "table.csv", index=False)
    assert ">approved<" in visitor.get("/").text
    import_table(read_site(site), is_replacing=True)
    assert ">approved over another table<" in visitor.get("/runs/run-1").text
    assert ">approved over another table<" in visitor.get("/").text


def test_a_run_beyond_the_budget_is_shown_with_the_reason(visitor: Visitor, tmp_path: Path) -> None:
    receive(visitor, tmp_path, privacy={"epsilon": 9.0})
    page = visitor.get("/runs/run-1").text
    assert "own rules refuse it" in page
    assert "Approve this run" not in page
    assert "Deny this run" in page


def test_a_page_escapes_what_a_coordinator_wrote(visitor: Visitor, tmp_path: Path) -> None:
    receive(visitor, tmp_path, study={"description": "<script>alert(1)</script> \"'&"})
    page = visitor.get("/runs/run-1").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_counts_are_on_the_page_that_says_so(visitor: Visitor, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    page = visitor.get("/runs/run-1/check").text
    assert "It stays at this hospital" in page


def test_a_damaged_proposal_hides_no_other(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    (site / "proposals" / "run-0.json").write_text("{")
    overview = visitor.get("/").text
    assert "run-1" in overview
    assert "cannot be read" in overview
    assert visitor.get("/runs/run-0").status_code == 400


def test_an_altered_ledger_is_said(visitor: Visitor, site: Path) -> None:
    (site / "ledger.sqlite").write_bytes(b"not a ledger")
    answer = visitor.get("/ledger")
    assert answer.status_code == 400
    assert "Not done." in answer.text


def test_partners_are_listed_and_not_pinned_here(visitor: Visitor) -> None:
    page = visitor.get("/partners").text
    assert "fedsynth site partner add NAME FINGERPRINT" in page
    assert "<form" not in page


def test_no_page_exists_for_a_run_that_was_not_proposed(visitor: Visitor) -> None:
    assert visitor.get("/runs/run-9").status_code == 404
    assert visitor.get("/nothing").status_code == 404


def test_an_unknown_decision_is_no_page(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    assert visitor.post("/runs/run-1/forget", page="/runs/run-1", **KARI).status_code == 404
    assert read_site(site).approvals.of("run-1") == ()


def test_a_second_proposal_of_a_run_replaces_nothing(visitor: Visitor, site: Path, tmp_path: Path) -> None:
    receive(visitor, tmp_path)
    before = (site / "proposals" / "run-1.json").read_bytes()
    other = proposal(tmp_path, "run-1", study={"seed": 12}).to_json()
    answer = visitor.post("/proposals", proposal=other)
    assert answer.status_code == 400
    assert "another proposal of run" in answer.text
    assert (site / "proposals" / "run-1.json").read_bytes() == before
