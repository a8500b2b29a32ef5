"""One hospital misbehaves in one exchange; the run goes on with the others, over real Flower messages."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from client.agent.transport import Transport
from client.hospital import Hospital
from common.errors import FederationError, PolicyRefusal, Reason
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollReply,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
)
from common.run_events.events import HospitalDeclined, HospitalExcluded, RunEvent
from common.run_events.exclusions import Exclusion, Fault
from common.run_events.file import EVENTS
from common.study.study import Study
from server.run.exchange import Exchange, excluded
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.events import events_in, exclusions


class Faulty:
    """Stands between the relay and one hospital and spoils what passes."""

    def __init__(self, hospital: Hospital, spoil: Callable[[Request, Callable[[], Reply]], Reply]) -> None:
        self._hospital, self._spoil = hospital, spoil

    def handle(self, request: Request) -> Reply:
        return self._spoil(request, lambda: self._hospital.handle(request))


def raising(request: Request, answer: Callable[[], Reply]) -> Reply:
    if isinstance(request, RoundRequest):
        raise RuntimeError("canary-4711 in the text of an exception")
    return answer()


def not_a_number(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    if isinstance(reply, RoundReply):
        spoilt = {name: value.copy() for name, value in reply.weights.items()}
        spoilt["gen.table"][0, 0] = np.nan
        return replace(reply, weights=spoilt)
    return reply


def wrong_shape(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    if isinstance(reply, RoundReply):
        return replace(reply, weights=reply.weights | {"gen.table": reply.weights["gen.table"][:-1]})
    return reply


def wrong_names(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    return replace(reply, weights={"gen.table": reply.weights["gen.table"]}) if isinstance(reply, RoundReply) else reply


def under_another_name(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    return replace(reply, hospital="north") if isinstance(reply, RoundReply) else reply


def short_histograms(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    return replace(reply, counts=reply.counts[:-1]) if isinstance(reply, CountsReply) else reply


def huge_histograms(request: Request, answer: Callable[[], Reply]) -> Reply:
    reply = answer()
    return replace(reply, counts=reply.counts + 2**62) if isinstance(reply, CountsReply) else reply


def run_with(spoil: Callable[[Request, Callable[[], Reply]], Reply], study: Study, out: Path, *faulty: str) -> None:
    def wrap(hospital: Hospital) -> Transport:
        return Faulty(hospital, spoil) if hospital.policy.hospital in faulty else hospital

    simulate(prepare(study, clinic_tables()), out, Options(wrap=wrap, workers=3, with_report=False))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (raising, Exclusion.APP_FAILED),
        pytest.param(not_a_number, Exclusion.WEIGHTS_NOT_FINITE, marks=pytest.mark.slow),
        pytest.param(wrong_shape, Exclusion.WEIGHTS_SHAPE, marks=pytest.mark.slow),
        pytest.param(wrong_names, Exclusion.WEIGHTS_NAMES, marks=pytest.mark.slow),
        pytest.param(under_another_name, Exclusion.NO_ANSWER, marks=pytest.mark.slow),
        (short_histograms, Exclusion.COUNTS_SHAPE),
        pytest.param(huge_histograms, Exclusion.COUNTS_IMPOSSIBLE, marks=pytest.mark.slow),
    ],
)
def test_run_completes_without_a_faulty_hospital(
    spoil: Callable[[Request, Callable[[], Reply]], Reply],
    reason: Exclusion,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        run_with(spoil, clinic_study(), tmp_path / "out", "west")
    assert (tmp_path / "out" / "synthetic.csv").exists()
    assert set(exclusions(events_in(tmp_path / "out"))) == {("west", reason)}
    assert "canary" not in caplog.text
    assert "canary" not in (tmp_path / "out" / EVENTS).read_text()


def test_exchange_tells_a_lost_supernode_from_a_failed_app() -> None:
    asked = Message(RecordDict(), dst_node_id=7, message_type="train")
    gone = Message(Error(ErrorCode.NODE_UNAVAILABLE, "canary"), reply_to=asked)
    events: list[RunEvent] = []
    exchange = Exchange(cast(Grid, None), 1.0, hospitals={}, emit=events.append)
    request = CountsRequest("run-1", "histograms")
    assert exchange._read(gone, "west", request, "") == excluded(request, "west", Fault(Exclusion.DISCONNECTED))
    assert events == []  # until the exchange ends


@pytest.mark.slow
def test_exchange_excludes_a_late_hospital(tmp_path: Path) -> None:
    def late(request: Request, answer: Callable[[], Reply]) -> Reply:
        end = time.monotonic() + 60
        while isinstance(request, RoundRequest) and time.monotonic() < end:
            if exclusions(events_in(tmp_path / "out")):
                break
            time.sleep(0.1)
        return answer()

    # Far more than the others need, on a loaded machine too.
    study = clinic_study(federation={"round_deadline_s": 20}, training={"rounds": 1})
    run_with(late, study, tmp_path / "out", "west")
    lost = [event for event in events_in(tmp_path / "out") if isinstance(event, HospitalExcluded)]
    assert [(event.hospital, event.reason, event.phase) for event in lost] == [("west", Exclusion.NO_REPLY, "rounds")]
    assert lost[0].detail == "20 s"
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert sorted(run["traffic"]["rounds"]) == ["north", "south"]


def test_too_few_hospitals_end_the_run_and_leave_no_table(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"1 hospitals left, min_hospitals is 2"):
        run_with(raising, clinic_study(), tmp_path / "out", "west", "south")
    assert not (tmp_path / "out" / "synthetic.csv").exists()
    assert not (tmp_path / "out" / "model").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


def test_a_hospital_that_missed_the_histograms_still_trains(tmp_path: Path) -> None:
    run_with(short_histograms, clinic_study(), tmp_path / "out", "west")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["traffic"]["rounds"]["west"]["messages"] == 2


def test_a_stranger_cannot_write_into_the_coordinators_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def injecting(request: Request, answer: Callable[[], Reply]) -> Reply:
        reply = answer()
        return replace(reply, hospital="east\nnorth: enrolled 7") if isinstance(reply, EnrollReply) else reply

    with caplog.at_level(logging.DEBUG):
        # Until the deadline the coordinator waits for the hospital that the stranger is not.
        study = clinic_study(federation={"round_deadline_s": 10}, training={"rounds": 0})
        run_with(injecting, study, tmp_path / "out", "west")
    assert "enrolled 7" not in caplog.text
    assert "enrolled 7" not in (tmp_path / "out" / EVENTS).read_text()
    declined = [event.hospital for event in events_in(tmp_path / "out") if isinstance(event, HospitalDeclined)]
    assert declined == ["node 102"]


def test_refusals_that_leave_too_few_name_every_reason(tmp_path: Path) -> None:
    def refusing(request: Request, answer: Callable[[], Reply]) -> Reply:
        reply = answer()
        return replace(reply, reason=str(Reason.TOO_FEW_ROWS)) if isinstance(reply, EnrollReply) else reply

    with pytest.raises(
        PolicyRefusal, match=r"refused by 2 of 3 hospitals: south: the declared rows are fewer.*; west: "
    ):
        run_with(refusing, clinic_study(), tmp_path / "out", "west", "south")
