from __future__ import annotations

import logging

import pytest

from common.errors import REASON_TEXTS, Reason
from common.run_events.events import (
    AttemptFailed,
    ExchangeStarted,
    HospitalDeclined,
    HospitalExcluded,
    HospitalRemoved,
    HospitalReplied,
    HospitalsEnrolled,
    PhaseFinished,
    Progressed,
    RepliesUnchecked,
    RoundFinished,
    RunEvent,
    RunFailed,
    RunFinished,
)
from common.run_events.exclusions import EXCLUSION_TEXTS, Exclusion
from server.run.observers import Costs, describe, write_log
from tests.common.run_events.test_events import EVENTS


def replied(phase: str, hospital: str) -> HospitalReplied:
    return HospitalReplied(phase=phase, request="train.round", hospital=hospital, bytes_down=10, bytes_up=200)


class TestLog:
    @pytest.mark.parametrize(
        ("event", "level", "line"),
        [
            (RepliesUnchecked(hospital="north"), logging.WARNING, "no identity listed, so its replies are not checked"),
            (HospitalDeclined(hospital="north", reason=Reason.TOO_FEW_ROWS), logging.WARNING,
             REASON_TEXTS[Reason.TOO_FEW_ROWS]),
            (HospitalRemoved(hospital="north"), logging.WARNING, "north: takes no part in the rest of the run"),
            (AttemptFailed(phase="coarse", attempt=2, detail="shares are wrong"), logging.WARNING,
             "masked phase 'coarse', attempt 2 failed: shares are wrong"),
            (ExchangeStarted(phase="rounds", request="train.round", round=3, hospitals=4), logging.INFO,
             "rounds, round 3: train.round sent to 4 hospitals"),
            (replied("rounds", "north"), logging.INFO, "north: replied to train.round"),
            (HospitalsEnrolled(hospitals=("north", "south")), logging.INFO, "enrolled: north, south"),
            (RoundFinished(round=1, rounds=2, hospitals=3), logging.INFO, "round 1 of 2: 3 hospitals"),
            (PhaseFinished(phase="fit", seconds=2.04, tables=7), logging.INFO,
             "fit: finished in 2.0 s, 7 tables"),
            (RunFinished(run_id="run-1", seconds=3.0), logging.INFO, "run run-1 finished in 3.0 s"),
            (RunFailed(reason="too few"), logging.ERROR, "the run failed: too few"),
            (Progressed(task="evaluation", done=1, total=9), logging.DEBUG, ""),
        ],
        ids=lambda value: getattr(value, "kind", None),
    )  # fmt: skip
    def test_describe(self, event: RunEvent, level: int, line: str) -> None:
        assert describe(event)[0] == level
        assert describe(event)[1].endswith(line)

    def test_exclusion_says_who_why_and_from_what(self) -> None:
        event = HospitalExcluded(
            phase="enrollment", request="query.enroll", hospital="node 3", claims="north", reason=Exclusion.APP_FAILED,
            detail="Flower error code 2",
        )  # fmt: skip
        said = EXCLUSION_TEXTS[Exclusion.APP_FAILED]
        assert describe(event)[1] == (
            f"node 3 in the name of north: {said} (Flower error code 2); excluded from query.enroll"
        )

    def test_every_event_is_described(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        for event in EVENTS:
            write_log(event)
        assert len(caplog.messages) == len(EVENTS) - 2  # neither the start of a phase nor progress


class TestCosts:
    def test_replies_add_up_by_phase_and_hospital(self) -> None:
        costs = Costs()
        for event in (
            replied("rounds", "north"),
            RoundFinished(round=1, rounds=2, hospitals=2),
            replied("rounds", "north"),
            replied("rounds", "south"),
            replied("coarse", "south"),
        ):
            costs(event)
        assert costs.traffic == {
            "rounds": {
                "north": {"messages": 2, "bytes_down": 20, "bytes_up": 400},
                "south": {"messages": 1, "bytes_down": 10, "bytes_up": 200},
            },
            "coarse": {"south": {"messages": 1, "bytes_down": 10, "bytes_up": 200}},
        }

    def test_seconds_are_those_of_phases_over_all_attempts(self) -> None:
        costs = Costs()
        for event in (PhaseFinished(phase="coarse", seconds=0.5), PhaseFinished(phase="rounds", seconds=2.0)):
            costs(event)
        costs(PhaseFinished(phase="coarse", seconds=0.25))
        assert costs.seconds == {"coarse": 0.75, "rounds": 2.0}
