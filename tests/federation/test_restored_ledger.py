"""A hospital is set back to an old copy of its ledger; the federation notices and goes on without it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from client.agent.transport import Transport
from client.hospital import Hospital
from common.errors import REASON_TEXTS, Reason
from common.ledger.ledger import Ledger
from common.protocol.messages import EnrolReply, Reply, Request, RoundReply
from simulations.federation.prepare import prepare
from simulations.federation.run import simulate
from tests.testbeds.clinic import HOSPITALS, clinic_study, clinic_tables


def test_the_server_keeps_the_latest_receipt_of_every_hospital(tmp_path: Path) -> None:
    simulate(prepare(clinic_study(), clinic_tables()), tmp_path / "out")
    sites = tmp_path / "out" / "sites"
    receipts = json.loads((sites / "receipts.json").read_text())
    assert sorted(receipts) == sorted(HOSPITALS)
    for name, receipt in receipts.items():
        history = Ledger.view(sites / name / "ledger.sqlite", with_replies=True)
        last = [entry for entry in history.entries if entry.kind == "answer"][-1]
        assert receipt == {"counter": last.counter, "head": last.hash}


def test_a_hospital_with_an_old_copy_of_its_ledger_is_refused_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sites, prepared = tmp_path / "sites", prepare(clinic_study(), clinic_tables())
    simulate(prepared, tmp_path / "first", sites=sites)
    files = [sites / "north" / name for name in ("ledger.sqlite", "ledger.head.json")]
    old = {file: file.read_bytes() for file in files}
    simulate(prepared, tmp_path / "second", sites=sites)
    for file, content in old.items():
        file.write_bytes(content)
    before = len(Ledger.view(files[0]).lines())
    with caplog.at_level(logging.WARNING, logger="server"):
        result = simulate(prepared, tmp_path / "third", sites=sites)
    assert f"north: does not take part: {REASON_TEXTS[Reason.LEDGER_BEHIND]}" in caplog.messages
    assert set(result.run["phases"]["train.round"]) == {"south", "west"}
    assert len(Ledger.view(files[0]).lines()) == before


class SetBack:
    """Stands before a hospital and answers with receipts of an older ledger."""

    def __init__(self, hospital: Hospital, spoil: Callable[[Reply], Reply]) -> None:
        self._hospital, self._spoil = hospital, spoil

    def handle(self, request: Request) -> Reply:
        return self._spoil(self._hospital.handle(request))


def in_a_round(reply: Reply) -> Reply:
    return replace(reply, counter=2) if isinstance(reply, RoundReply) else reply


def at_enrolment(reply: Reply) -> Reply:
    return replace(reply, counter=0) if isinstance(reply, EnrolReply) else reply


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (in_a_round, "west: sent a receipt that is not later than its last one in train.round; excluded"),
        pytest.param(
            at_enrolment,
            "west: its ledger ends before the receipt that is kept here; excluded",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_hospital_that_does_not_notice_is_excluded_by_the_server(
    spoil: Callable[[Reply], Reply], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wrap(hospital: Hospital) -> Transport:
        return SetBack(hospital, spoil) if hospital.policy.hospital == "west" else hospital

    prepared = prepare(clinic_study(), clinic_tables())
    simulate(prepared, tmp_path / "first", sites=tmp_path / "sites")
    with caplog.at_level(logging.WARNING, logger="server"):
        result = simulate(prepared, tmp_path / "second", sites=tmp_path / "sites", wrap=wrap)
    warned = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    # Found out in the middle of a run, it is asked no more, so that its later receipts do not hide the gap.
    assert warned == {said} | ({"west: takes no part in the rest of the run"} if spoil is in_a_round else set())
    assert "west" not in result.run["phases"]["train.round"] or spoil is in_a_round
