"""The proposals that a hospital received: one signed file for each run, kept until somebody decides, and after it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from client.site.approval import ProposedRun, read_proposed_run
from client.site.config import Site
from common.errors import SiteError
from common.planning.proposal import RUN_ID, Proposal, parse_proposal, read_proposal
from common.system.files import write_synced, writing

PROPOSALS = "proposals"
"""Folder of the files, in the state folder."""

REMEMBERED = 64
"""Most proposals whose study and plan stay in memory: the overview shows all runs whenever one changes."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """The proposals at one site.

    Attributes:
        folder: created with the first proposal; open to its owner only.
    """

    folder: Path

    def add(self, text: str) -> str:
        """Keep a proposal and return the id of its run.

        Raises:
            StudyError: the text is not a proposal, or its coordinator did not sign it.
            SiteError: another proposal of that run is here already, or the file cannot be written.
        """
        proposal = parse_proposal(text, "the text")
        proposal.agreed()  # raises where the signature is wrong
        self.keep(proposal)
        return proposal.run_id

    def keep(self, proposal: Proposal) -> None:
        """Keep a proposal that was checked already; whoever reads it from here checks it again.

        Raises:
            SiteError: as `add`.
        """
        path = self._path(proposal.run_id)
        if path.exists() and path.read_text(encoding="utf-8") != proposal.to_json():
            raise SiteError(f"another proposal of run '{proposal.run_id}' is here; ask the coordinator for a new run")
        with writing(path, remedy="check the state folder", error=SiteError):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_synced(path, proposal.to_json().encode(), mode=0o600)

    def runs(self) -> tuple[str, ...]:
        """Return the ids of all runs that were proposed, the newest first."""
        paths = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return tuple(path.stem for path in paths)

    def proposed(self, run_id: str) -> ProposedRun:
        """Return a proposed run. Raises `StudyError` if it was not proposed, or its file is damaged."""
        path = self._path(run_id)
        written_ns = path.stat().st_mtime_ns if path.exists() else 0
        return _read(path, run_id, written_ns)

    def _path(self, run_id: str) -> Path:
        if not RUN_ID.fullmatch(run_id):
            raise SiteError("a run id consists of 1 to 64 letters, digits, '.', '_' or '-'; ask for the file again")
        return self.folder / f"{run_id}.json"


def inbox_of(site: Site) -> Inbox:
    """Return the proposals at a site."""
    return Inbox(site.state / PROPOSALS)


def keep_proposal(site: Site, path: Path) -> None:
    """Keep the proposal that a command has checked, so that the console shows its run; a study file proposes none.

    Raises:
        SiteError: as `Inbox.add`.
    """
    if path.suffix == ".json":
        inbox_of(site).keep(read_proposal(path))


@lru_cache(maxsize=REMEMBERED)
def _read(path: Path, run_id: str, written_ns: int) -> ProposedRun:
    """Return the run of a file as it was written at this time; another time reads it again."""
    return read_proposed_run(path, run_id)
