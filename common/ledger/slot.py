"""Which release of which run a ledger's entry is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Slot:
    """One release of one run. It can be charged once.

    Args:
        fingerprint: fingerprint of the study.
        run_id: id of the run.
        phase: name of the phase; empty in entries that are not about a release.
        round: round of training, from 1; 0 in other phases.
        attempt: attempt at a masked vector, from 1; 0 for a reply without a mask.
    """

    fingerprint: str
    run_id: str
    phase: str
    round: int = 0
    attempt: int = 0

    @property
    def is_masked(self) -> bool:
        """Return whether the release leaves under a mask."""
        return self.attempt > 0

    def words(self, plan: Plan | None) -> str:
        """Return the release for readers, such as 'histograms', 'training round 3', 'pairs of columns (attempt 2)'.

        Args:
            plan: plan of its run; None where it cannot be read.
        """
        from common.planning.phases import PHASES  # loads pandas, which a ledger needs for nothing else

        phase = PHASES.get(self.phase)
        title = self.phase if phase is None else phase.title_in(plan)
        number = f" {self.round}" if self.round else ""
        return title + number + (f" (attempt {self.attempt})" if self.attempt > 1 else "")
