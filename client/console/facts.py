"""What a hospital's console shows, gathered from the same files as the commands read."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.agent.envelope import SERVING
from client.consent.decisions import Decision, Subject, standing
from client.console.inbox import PROPOSALS, Inbox, inbox_of
from client.site.config import APPROVALS, TABLE, Site, read_site
from client.site.history import sentences
from client.site.imported import Imported, read_import
from client.supernode.supernode import find_agent
from common.errors import FedSynthError, Reason
from common.ledger.history import History
from common.ledger.ledger import Ledger

ASK_AGENT_S = 5.0
"""Seconds between two questions to the agent how it is."""

STATES = {
    Reason.ACCEPTED: "approved",
    Reason.APPROVAL_WITHDRAWN: "refused",
    Reason.APPROVAL_INCOMPLETE: "waits for another person",
    Reason.APPROVAL_EXPIRED: "the approval has ended",
    Reason.STUDY_NOT_APPROVED: "approved over another table",
}
"""State of a run that people decided about, by what the agent would answer now."""


@dataclass(frozen=True, slots=True)
class Health:
    """How the agent is: in words, and whether it answers requests."""

    is_serving: bool
    words: str


@dataclass(frozen=True, slots=True)
class RunStanding:
    """A run that was proposed here, what was decided about it, and what must happen next."""

    run_id: str
    study: str
    state: str
    decisions: tuple[Decision, ...]


class SiteFacts:
    """What the files of one hospital's site say, read again whenever a page asks.

    Args:
        file: its site.toml, or the folder of it.
        socket: the Unix socket of its agent.
    """

    def __init__(self, file: Path, socket: Path) -> None:
        self._file, self._socket = file, socket
        self._health, self._asked = Health(False, "not asked yet"), -ASK_AGENT_S

    @property
    def site(self) -> Site:
        return read_site(self._file)

    @property
    def inbox(self) -> Inbox:
        return inbox_of(self.site)

    @property
    def health(self) -> Health:
        """How the agent is, at most `ASK_AGENT_S` ago."""
        if time.monotonic() - self._asked >= ASK_AGENT_S:
            self._asked = time.monotonic()
            try:
                agent = find_agent(self._socket, patience_s=0)
            except FedSynthError as problem:
                self._health = Health(False, str(problem))
            else:
                is_serving = agent.state == SERVING
                self._health = Health(is_serving, "answers requests" if is_serving else "is stopping")
        return self._health

    @property
    def version(self) -> Hashable:
        """A value that changes when the overview would; also every minute, because approvals end."""
        site, minute = self.site, datetime.now(UTC).replace(second=0, microsecond=0)
        paths = (site.ledger, *(site.state / name for name in (APPROVALS, PROPOSALS, TABLE)))
        return (*(path.stat().st_mtime_ns if path.exists() else 0 for path in paths), self.health, minute)

    def history(self) -> History:
        return Ledger.view(self.site.ledger)

    def imported(self) -> Imported | None:
        """Return what was imported, or None before the first import."""
        return _imported(self.site)

    def standings(self) -> list[RunStanding]:
        """Return every run that was proposed here, the newest first."""
        site = self.site
        return [_standing(site, run_id) for run_id in inbox_of(site).runs()]

    def standing(self, run_id: str) -> RunStanding:
        """Return one run that was proposed here; of a damaged file, what is wrong with it."""
        return _standing(self.site, run_id)

    def timeline(self, history: History) -> list[tuple[int, str]]:
        """Return every entry of the ledger that matters to people: its number and a sentence. The newest is first."""
        lines = sentences(history, self.site.max_epsilon)
        return [(entry.counter, sentence) for entry, sentence in reversed(lines)]


def _imported(site: Site) -> Imported | None:
    try:
        return read_import(site)
    except FedSynthError:
        return None


def _standing(site: Site, run_id: str) -> RunStanding:
    try:
        proposed = inbox_of(site).proposed(run_id)
        decisions = site.approvals.of(run_id)
    except FedSynthError as problem:
        return RunStanding(run_id, "unknown", f"cannot be read: {problem}", ())
    study = proposed.study
    if not decisions:
        return RunStanding(run_id, study.name, "waits for a decision", ())
    imported = _imported(site)
    table = decisions[-1].table_sha256 if imported is None else imported.sha256
    subject = Subject(study.fingerprint, proposed.plan.digest, table)
    reason = standing(decisions, subject, site.approvals.quorum, datetime.now(UTC))
    return RunStanding(run_id, study.name, STATES[reason], decisions)
