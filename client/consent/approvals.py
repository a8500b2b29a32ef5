"""A person's consent to single runs, kept at the site: one file for each run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import SiteError
from common.planning.plan import Plan
from common.planning.proposal import RUN_ID
from common.study.study import Study
from common.system.files import write_synced, writing


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one run of one study under exactly one plan."""

    run_id: str
    study: str
    fingerprint: str
    plan_sha256: str
    time: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals of a site, one JSON file per run. They are read when a run enrolls, not when the site starts."""

    folder: Path

    def write(self, approval: Approval) -> None:
        """Store the approval; the file appears whole or not at all.

        Raises:
            SiteError: the file cannot be written, or as for `check`.
        """
        self.check(approval)
        path = self._path(approval.run_id)
        with writing(path, remedy="check the state folder", error=SiteError):
            write_synced(path, (json.dumps(asdict(approval), indent=2, sort_keys=True) + "\n").encode(), mode=0o600)

    def check(self, approval: Approval) -> None:
        """Raise `SiteError` if the run id is unusable, or the run was approved with another plan."""
        known = self.of(approval.run_id)
        if known is not None and known.plan_sha256 != approval.plan_sha256:
            raise SiteError(f"run '{approval.run_id}' was approved with another plan; every run needs its own id")

    def of(self, run_id: str) -> Approval | None:
        """Return the approval of that run, or None where there is none that can be read."""
        try:
            approval = Approval(**json.loads(self._path(run_id).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return approval if approval.run_id == run_id else None

    def cover(self, run_id: str, study: Study, plan: Plan) -> bool:
        """Return whether exactly this run of the study was approved, under exactly this plan."""
        approval = self.of(run_id)
        return approval is not None and (approval.fingerprint, approval.plan_sha256) == (study.fingerprint, plan.digest)

    def _path(self, run_id: str) -> Path:
        if not RUN_ID.fullmatch(run_id):
            raise SiteError("a run id consists of 1 to 64 letters, digits, '.', '_' or '-'; choose another")
        return self.folder / f"{run_id}.json"
