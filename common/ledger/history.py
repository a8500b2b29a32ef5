"""The history that a ledger's entries describe: decisions, runs, charges, and what the cohort is committed to."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from common.errors import LedgerError, PolicyRefusal, Reason
from common.ledger.chain import REMEDY, Entry, Kind
from common.ledger.enrollment import Enrollment
from common.ledger.receipts import Receipt, Shown
from common.ledger.slot import Slot
from common.planning.plan import Plan
from common.privacy import lifetime, renyi
from common.privacy.events import Event, event_from_json


@dataclass(frozen=True, slots=True)
class Line:
    """One charge: its slot, event and time, and the epsilon of all charges up to it."""

    slot: Slot
    event: Event
    time: str
    is_answered: bool
    epsilon: float
    receipt: Receipt


class History:
    """The history of a cohort, from a verified chain of entries.

    Args:
        entries: verified, oldest first, at least the opening one.

    Attributes:
        has_witness: whether a witness is kept, as the last process that changed that recorded it.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: list[Entry] = []
        self._decisions: dict[str, list[str]] = {}
        self._runs: dict[str, Entry] = {}
        self._closed: set[str] = set()
        self._charges: dict[Slot, Entry] = {}
        self._events: dict[Slot, Event] = {}
        self._answers: dict[Slot, Entry] = {}
        self._numbers: dict[int, Entry] = {}
        self._shown: dict[str, int] = {}
        self.has_witness = False
        self._written_off: dict[str, tuple[Event, ...]] = {}
        self._divergences = np.zeros(len(renyi.ORDERS))
        for entry in entries:
            self._add(entry)
        self.cohort = self._entries[0].cohort
        self.delta = float(json.loads(self._entries[0].content)["delta"])

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._numbers[entry.counter] = entry
        match entry.kind:
            case Kind.DECIDE:
                self._decisions.setdefault(entry.slot.run_id, []).append(entry.content)
            case Kind.ENROLL:
                self._runs[entry.slot.run_id] = entry
                self._shown |= json.loads(entry.content)["shown"]
            case Kind.CHARGE:
                event = event_from_json(entry.content)
                self._events[entry.slot] = event
                self._charges[entry.slot] = entry
                self._divergences = self._divergences + renyi.divergences([event])
            case Kind.ANSWER:
                self._answers[entry.slot] = entry
            case Kind.WITNESS:
                self.has_witness = bool(json.loads(entry.content)["kept"])
            case Kind.CLOSE:
                self._closed.add(entry.slot.run_id)
            case Kind.RESTORE:
                self._shown.clear()
                for run_id, texts in json.loads(entry.content).items():
                    events = tuple(map(event_from_json, texts))
                    self._written_off[run_id] = (*self._written_off.get(run_id, ()), *events)
                    self._divergences = self._divergences + renyi.divergences(events)
                    self._closed.add(run_id)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, oldest first."""
        return tuple(self._entries)

    @property
    def head(self) -> Receipt:
        """The receipt for all entries so far."""
        return self._entries[-1].receipt

    @property
    def epsilon(self) -> float:
        """Epsilon of all charges, by Renyi divergences at the cohort's delta."""
        return self._entries[-1].epsilon

    def epsilon_with(self, events: Iterable[Event]) -> float:
        """Return what `epsilon` would be after these events."""
        return renyi.epsilon_of(self._divergences + renyi.divergences(events), self.delta)

    def holds(self, receipt: Receipt) -> bool:
        """Return whether the receipt is for an entry of this ledger."""
        entry = self._numbers.get(receipt.counter)
        return entry is not None and entry.hash == receipt.head

    def check_receipt(self, receipt: Receipt) -> None:
        """Raise `PolicyRefusal` for a receipt whose entries this ledger does not contain.

        Raises:
            PolicyRefusal: the receipt is later than this ledger, or belongs to another history.
        """
        if receipt.counter > self.head.counter:
            raise PolicyRefusal(
                Reason.LEDGER_BEHIND,
                f"the ledger ends at entry {self.head.counter} and the coordinator holds a receipt for entry "
                f"{receipt.counter}: an old copy of both files was restored; find the newest copy; if it is lost, "
                f"`fedsynth site ledger accept-restore --beyond {receipt.counter}` counts everything reserved as spent",
            )
        if receipt.counter in self._numbers and not self.holds(receipt):  # else it was lost, which a person accepted
            raise PolicyRefusal(
                Reason.LEDGER_BEHIND,
                f"the coordinator holds a receipt for another entry {receipt.counter}: an old copy was restored and "
                f"continued, or a new ledger was created; {REMEDY}",
            )

    def check_seen(self, receipt: Receipt, what: str) -> None:
        """Raise `LedgerError` if a person saw an entry that this ledger lacks, unless a person accepted its loss.

        `what` are the words before "entry 17" in the message.
        """
        if receipt.counter > self.head.counter or (receipt.counter in self._numbers and not self.holds(receipt)):
            raise LedgerError(
                f"{what} entry {receipt.counter}, which the ledger lacks: an old copy was restored. Find the newest; "
                "if it is lost, `fedsynth site ledger accept-restore` counts everything that was reserved as spent"
            )

    def check_shown(self, shown: Shown) -> None:
        """Raise `PolicyRefusal` if a coordinator shows no receipt, or an older one than it showed before.

        Its receipts never go back, so it has lost its file or hides what it knows. This binds an honest coordinator; a
        dishonest one can show the receipt that an old copy of the ledger expects. A witness does not depend on either.

        Raises:
            PolicyRefusal: see above; what was shown before the operator accepted a restore does not count.
        """
        before = self._shown.get(shown.coordinator)
        if before is not None and (shown.receipt is None or shown.receipt.counter < before):
            raise PolicyRefusal(
                Reason.RECEIPT_MISSING,
                f"the coordinator showed a receipt for entry {before} before and shows "
                f"{'none' if shown.receipt is None else f'one for entry {shown.receipt.counter}'} now: ask it to "
                "restore its receipts; if they are lost, `fedsynth site ledger accept-restore` lets it start again",
            )

    def enrollment(self, run_id: str) -> Enrollment | None:
        """Return what a run was accepted as; None if it never was."""
        entry = self._runs.get(run_id)
        return None if entry is None else Enrollment.of(entry)

    def study_value(self, run_id: str, section: str, key: str) -> str | None:
        """Return a value of an accepted run's study, without checking the study: another version may have accepted it.

        Args:
            run_id: an accepted run.
            section, key: where the value stands; None is returned if it does not.
        """
        enrollment = self.enrollment(run_id)
        assert enrollment is not None, "a run without an enrollment"
        try:
            return str(tomllib.loads(enrollment.study)[section][key])
        except (tomllib.TOMLDecodeError, LookupError, TypeError):
            return None

    def unit(self, run_id: str) -> str:
        """Return what the guarantee of an accepted run is about: 'patient' or 'record'."""
        return self.study_value(run_id, "privacy", "unit") or "record"

    def check_unit(self, unit: str) -> None:
        """Raise `PolicyRefusal` for a run about patients after one about records.

        What was charged for a record bounds nothing for a patient, who may have several. The other order is sound.
        """
        runs = [run_id for run_id in self._runs if not self.is_closed(run_id) or self.spent_on(run_id)]
        about_records = next((run_id for run_id in runs if self.unit(run_id) == "record"), None)
        if unit == "patient" and about_records is not None:
            raise PolicyRefusal(
                Reason.UNIT_DIFFERS,
                f"the ledger holds run '{about_records}', which is about records: what it cost a patient with several "
                "records is unknown. Take part in studies of records only",
            )

    def decided_runs(self) -> tuple[str, ...]:
        """Return the ids of all runs that people decided about, oldest first."""
        return tuple(self._decisions)

    def decisions(self, run_id: str) -> tuple[str, ...]:
        """Return the decisions of people about a run, as JSON, oldest first."""
        return tuple(self._decisions.get(run_id, ()))

    def table(self, run_id: str) -> str:
        """Return the digest of an accepted run's table; empty in a simulation."""
        return Enrollment.of(self._runs[run_id]).table

    def check_table(self, run_id: str, table: str) -> None:
        """Raise `PolicyRefusal` unless an accepted run is answered from the table with this digest."""
        if self.table(run_id) != table:
            raise PolicyRefusal(Reason.UNAVAILABLE, "another table was imported since the run began; start a new run")

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all accepted runs, oldest first."""
        return tuple(self._runs)

    def closed_runs(self) -> tuple[str, ...]:
        """Return the ids of the accepted runs that are closed, oldest first."""
        return tuple(run_id for run_id in self._runs if run_id in self._closed)

    def open_runs(self) -> tuple[str, ...]:
        """Return the ids of the accepted runs that are not closed, oldest first."""
        return tuple(run_id for run_id in self._runs if run_id not in self._closed)

    def is_closed(self, run_id: str) -> bool:
        """Return whether the operator closed the run."""
        return run_id in self._closed

    def lines(self) -> tuple[Line, ...]:
        """Return every charge, oldest first."""
        return tuple(
            Line(
                slot,
                self._events[slot],
                charge.time,
                is_answered=slot in self._answers,
                epsilon=charge.epsilon,
                receipt=charge.receipt,
            )
            for slot, charge in tuple(self._charges.items())
        )

    def charged(self, run_id: str) -> tuple[Slot, ...]:
        """Return the slots that a run was charged for, oldest first."""
        return tuple(slot for slot in self._charges if slot.run_id == run_id)

    def spent_on(self, run_id: str) -> tuple[Event, ...]:
        """Return the events that a run was charged for, oldest first, and then those that were written off."""
        charged = (event for slot, event in tuple(self._events.items()) if slot.run_id == run_id)
        return (*charged, *self._written_off.get(run_id, ()))

    def events(self) -> tuple[Event, ...]:
        """Return all events ever charged to the cohort."""
        return (*tuple(self._events.values()), *chain.from_iterable(self._written_off.values()))

    def committed(self, hospital: str, cap: float = 0.0) -> tuple[Event, ...]:
        """Return the events that the cohort is committed to: whole plans of open runs, and charges of closed runs.

        Runs that were written off after a restore count with their whole plans too.
        The first run with a charge counts with its whole plan even if it is closed, unless the filter of `cap` would
        have admitted it: `lifetime.fits_lifetime` says why.
        """
        lines, known = self.lines(), set(self._runs)
        events = [line.event for line in lines if line.slot.run_id not in known]
        events += chain.from_iterable(self._written_off.values())
        is_first = True
        for run_id in self._runs:
            charged = [line.event for line in lines if line.slot.run_id == run_id]
            if run_id in self._written_off:
                events += charged  # the rest of its plan is among what was written off
                continue
            if self.is_closed(run_id) and not charged:
                continue
            planned = self.planned(run_id, hospital)
            is_whole = not self.is_closed(run_id)
            is_whole |= is_first and not lifetime.fits_filter(planned, cap, self.delta)
            events += planned if is_whole else charged
            is_first = False
        return tuple(events)

    def planned(self, run_id: str, hospital: str) -> tuple[Event, ...]:
        """Return every event of an accepted run's plan. Raises `LedgerError` if it was accepted under another name."""
        enrollment = self.enrollment(run_id)
        assert enrollment is not None, "a run without an enrollment"
        plan = Plan.from_json(enrollment.plan)
        hospital_plan = plan.of(hospital)
        if hospital_plan is None:
            raise LedgerError(
                f"run '{run_id}' was accepted under another name than '{hospital}', and its reservation belongs to "
                "this cohort: restore the hospital's earlier name, or use this ledger for one name only"
            )
        return plan.events(hospital_plan)
