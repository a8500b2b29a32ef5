"""A hospital is set back to an old copy of its ledger; the federation notices and goes on without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from client.agent.transport import Transport
from client.hospital import Hospital
from common.errors import Reason
from common.ledger.ledger import Ledger
from common.protocol.messages import EnrollReply, Reply, Request, RoundReply
from common.run_events.events import HospitalDeclined, HospitalRemoved
from common.run_events.exclusions import Exclusion
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import HOSPITALS, clinic_study, clinic_tables
from tests.testbeds.events import events_in, exclusions


def test_the_server_keeps_the_latest_receipt_of_every_hospital(tmp_path: Path) -> None:
    simulate(prepare(clinic_study(), clinic_tables()), tmp_path / "out", Options(with_report=False))
    sites = tmp_path / "out" / "sites"
    receipts = json.loads((sites / "receipts.json").read_text())
    assert sorted(receipts) == sorted(HOSPITALS)
    for name, receipt in receipts.items():
        history = Ledger.view(sites / name / "ledger.sqlite", with_replies=True)
        last = [entry for entry in history.entries if entry.kind == "answer"][-1]
        assert receipt == {"counter": last.counter, "head": last.hash}


def test_a_hospital_refuses_an_old_copy_of_its_own_ledger(
    tmp_path: Path,
) -> None:
    sites, prepared = tmp_path / "sites", prepare(clinic_study(), clinic_tables())
    simulate(prepared, tmp_path / "first", Options(sites=sites, with_report=False))
    files = [sites / "north" / name for name in ("ledger.sqlite", "ledger.head.json")]
    old = {file: file.read_bytes() for file in files}
    simulate(prepared, tmp_path / "second", Options(sites=sites, with_report=False))
    for file, content in old.items():
        file.write_bytes(content)
    before = len(Ledger.view(files[0]).lines())
    result = simulate(prepared, tmp_path / "third", Options(sites=sites, with_report=False))
    assert HospitalDeclined(hospital="north", reason=Reason.LEDGER_BEHIND) in events_in(tmp_path / "third")
    assert set(result.run["traffic"]["rounds"]) == {"south", "west"}
    assert len(Ledger.view(files[0]).lines()) == before


class SetBack:
    """Stands before a hospital and answers with receipts of an older ledger."""

    def __init__(self, hospital: Hospital, spoil: Callable[[Reply], Reply]) -> None:
        self._hospital, self._spoil = hospital, spoil

    def handle(self, request: Request) -> Reply:
        return self._spoil(self._hospital.handle(request))


def in_a_round(reply: Reply) -> Reply:
    return replace(reply, counter=2) if isinstance(reply, RoundReply) else reply


def at_enrollment(reply: Reply) -> Reply:
    return replace(reply, counter=0) if isinstance(reply, EnrollReply) else reply


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (in_a_round, Exclusion.RECEIPT_NOT_LATER),
        pytest.param(at_enrollment, Exclusion.LEDGER_SET_BACK, marks=pytest.mark.slow),
    ],
)
def test_coordinator_excludes_a_ledger_that_was_set_back(
    spoil: Callable[[Reply], Reply], reason: Exclusion, tmp_path: Path
) -> None:
    def wrap(hospital: Hospital) -> Transport:
        return SetBack(hospital, spoil) if hospital.policy.hospital == "west" else hospital

    prepared = prepare(clinic_study(), clinic_tables())
    simulate(prepared, tmp_path / "first", Options(sites=tmp_path / "sites", with_report=False))
    result = simulate(prepared, tmp_path / "second", Options(sites=tmp_path / "sites", wrap=wrap, with_report=False))
    events = events_in(tmp_path / "second")
    assert exclusions(events) == [("west", reason)]
    # Found out in the middle of a run, it is asked no more, so that its later receipts do not hide the gap.
    removed = [event.hospital for event in events if isinstance(event, HospitalRemoved)]
    assert removed == (["west"] if spoil is in_a_round else [])
    assert "west" not in result.run["traffic"]["rounds"] or spoil is in_a_round
