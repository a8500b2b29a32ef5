from __future__ import annotations

import json
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from common.errors import Reason, WireError
from common.run_events.events import (
    AttemptFailed,
    ExchangeStarted,
    HospitalDeclined,
    HospitalExcluded,
    HospitalRemoved,
    HospitalReplied,
    HospitalsEnrolled,
    PhaseFinished,
    PhaseStarted,
    Progressed,
    ReleaseWritten,
    RepliesUnchecked,
    RoundFinished,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    from_json,
    phase,
    to_all,
    to_json,
)
from common.run_events.exclusions import EXCLUSION_TEXTS, Exclusion
from common.run_events.file import JsonLines, read_events

REPLIED = HospitalReplied(phase="coarse", request="query.counts", hospital="north", bytes_down=10, bytes_up=200)
EVENTS: tuple[RunEvent, ...] = (
    RunStarted(
        run_id="run-1",
        study="clinic",
        fingerprint="ab" * 32,
        hospitals=("north", "south"),
        phases=("histograms", "coarse", "rounds"),
        rounds=2,
        is_simulation=True,
    ),
    RepliesUnchecked(hospital="north"),
    PhaseStarted(phase="coarse"),
    ExchangeStarted(phase="coarse", request="query.keys", attempt=1, hospitals=2),
    REPLIED,
    HospitalDeclined(hospital="south", reason=Reason.BUDGET_EXHAUSTED),
    HospitalExcluded(phase="rounds", request="train.round", hospital="south", reason=Exclusion.NO_REPLY, detail="5 s"),
    HospitalRemoved(hospital="south"),
    HospitalsEnrolled(hospitals=("north", "south")),
    AttemptFailed(phase="coarse", attempt=1, detail="3 hospitals are left"),
    RoundFinished(round=1, rounds=2, hospitals=2),
    PhaseFinished(phase="fit", seconds=1.5, tables=7),
    ReleaseWritten(rows=90),
    Progressed(task="evaluation", done=1, total=9),
    RunFinished(run_id="run-1", seconds=3.0),
    RunFailed(reason="too few hospitals"),
)
"""One of every kind."""


class TestJson:
    def test_table_has_every_kind(self) -> None:
        assert {type(event) for event in EVENTS} == set(get_args(RunEvent))

    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
    def test_from_json_gives_the_event_back(self, event: RunEvent) -> None:
        assert from_json(to_json(event)) == event
        assert from_json(to_json(event)).time == event.time

    def test_to_json_is_one_object_on_one_line(self) -> None:
        event = HospitalRemoved(hospital="a\nb", time=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
        assert "\n" not in to_json(event)
        assert json.loads(to_json(event)) == {
            "kind": "hospital-removed",
            "time": "2026-01-02T03:04:05.000006Z",
            "hospital": "a\nb",
        }

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "reply"},
            {"kind": None},
            {"bytes_up": "200"},
            {"bytes_up": 2.5},
            {"bytes_up": -1},
            {"seconds": 0.5},
            {"hospital": 3},
            {"phase": "Coarse\n"},
            {"rows": 3},
            {"time": "yesterday"},
        ],
        ids=str,
    )
    def test_from_json_refuses_another_shape(self, change: dict[str, object]) -> None:
        fields = json.loads(to_json(REPLIED)) | change
        with pytest.raises(WireError) as refusal:
            from_json(json.dumps(fields))
        assert "yesterday" not in str(refusal.value)

    @pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"kind": "hospital-removed"}'])
    def test_from_json_refuses_what_is_no_event(self, text: str) -> None:
        with pytest.raises(WireError):
            from_json(text)

    def test_event_checks_itself(self) -> None:
        with pytest.raises(ValidationError):
            RoundFinished(round=0, rounds=2, hospitals=2)

    def test_every_exclusion_has_a_text(self) -> None:
        assert EXCLUSION_TEXTS.keys() == set(Exclusion)


class TestFile:
    def test_events_are_appended_as_they_happen(self, tmp_path: Path) -> None:
        write = JsonLines(tmp_path / "events.jsonl")
        for number, event in enumerate(EVENTS, start=1):
            write(event)
            assert read_events(tmp_path / "events.jsonl") == EVENTS[:number]

    def test_no_file_holds_no_events(self, tmp_path: Path) -> None:
        assert read_events(tmp_path / "events.jsonl") == ()

    def test_file_is_readable_wherever_it_was_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        lines = [to_json(event).encode() + b"\n" for event in EVENTS[:3]]
        content = b"".join(lines)
        for size in range(len(content) + 1):
            path.write_bytes(content[:size])
            whole = sum(size >= len(b"".join(lines[:number])) for number in (1, 2, 3))
            assert read_events(path) == EVENTS[:whole]

    def test_writing_continues_after_a_cut(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        path.write_text(to_json(EVENTS[0]) + "\n" + to_json(EVENTS[1])[:20])
        JsonLines(path)(EVENTS[2])
        assert read_events(path) == (EVENTS[0], EVENTS[2])

    def test_a_line_that_does_not_fit_on_the_disk_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write = JsonLines(path)
        write(EVENTS[0])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                write(EVENTS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        JsonLines(path)(EVENTS[2])
        assert read_events(path) == (EVENTS[0], EVENTS[2])

    def test_damaged_line_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        path.write_text(to_json(EVENTS[0]) + "\nnothing of the kind\n" + to_json(EVENTS[1]) + "\n")
        with pytest.raises(WireError, match=r"events\.jsonl', line 2 is not a run event"):
            read_events(path)


class TestEmit:
    def test_all_observers_are_called_in_order(self) -> None:
        seen: list[tuple[str, RunEvent]] = []
        emit = to_all(lambda event: seen.append(("first", event)), lambda event: seen.append(("second", event)))
        emit(REPLIED)
        assert seen == [("first", REPLIED), ("second", REPLIED)]

    def test_phase_starts_and_finishes(self) -> None:
        events: list[RunEvent] = []
        with phase(events.append, "fit") as note:
            note(3)
        started, finished = events
        assert started == PhaseStarted(phase="fit")
        assert isinstance(finished, PhaseFinished)
        assert (finished.phase, finished.tables) == ("fit", 3)

    def test_phase_that_fails_does_not_finish(self) -> None:
        events: list[RunEvent] = []
        with pytest.raises(RuntimeError), phase(events.append, "fit"):
            raise RuntimeError
        assert events == [PhaseStarted(phase="fit")]
