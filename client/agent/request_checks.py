"""Checks before a request reaches the hospital: it is signed, and the ledger can be written.

A failed check refuses the request without a charge. Its text stays in the site's log; only a `Reason` is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from common.errors import PolicyRefusal, Reason, StudyError, cause_of
from common.protocol.messages import EnrollRequest, Request
from common.protocol.seals import fault_of_seal
from common.study.study import Study, parse_study
from common.system.files import write_synced

FREE_BYTES = 16 * 2**20
"""Least free space in the state folder, in bytes. With less, requests are refused: replies could not be stored."""

MOST_STUDY, MOST_LINE, MOST_PARTS = 500_000, 10_000, 32
"""Most characters of a study text and of a line, and most parts of a dotted key. A larger text is refused unparsed:
parsing would take minutes and gigabytes, and any sender on the network could stop the agent with it."""

BREAKS = frozenset(",=[]{}#")
"""Characters at which a TOML key ends."""

StudyOf = Callable[[str], str | None]
"""Returns the study text under which a run was accepted; None for a run that was not."""


class CoordinatorCheck:
    """Requires the seal of the coordinator that the study names, which has not expired.

    The study is that of the accepted run, or else the one in the request. A request to enroll under a study with an
    attacker's key passes here and fails at the policy, which knows what was approved. A repeated request gets its
    stored reply; after its expiry it gets none, whatever copy of the ledger it meets.

    Args:
        study_of: finds the study of an accepted run in the ledger.
        is_rehearsal: accept only rehearsals, which need not name a coordinator key.
    """

    def __init__(self, study_of: StudyOf, *, is_rehearsal: bool = False) -> None:
        self._study_of, self._is_rehearsal = study_of, is_rehearsal
        self._accepted: dict[str, Study] = {}

    def __call__(self, request: Request, seal: bytes) -> None:
        """Raise `PolicyRefusal` if the seal is missing, wrong, expired, or made with another key."""
        study = self._study(request)
        key = study.federation.coordinator
        if study.about.rehearsal != self._is_rehearsal:
            raise PolicyRefusal(Reason.STUDY_REHEARSAL)
        if key is None and not self._is_rehearsal:
            raise PolicyRefusal(
                Reason.SIGNATURE_REFUSED,
                "the study names no [federation] coordinator key; only a rehearsal may omit it",
            )
        fault = None if key is None else fault_of_seal(request, seal, key)
        if fault is not None:
            raise PolicyRefusal(fault)

    def _study(self, request: Request) -> Study:
        """Return the study under which the run was accepted, or the one in a request to enroll."""
        if request.run_id in self._accepted:
            return self._accepted[request.run_id]
        accepted = self._study_of(request.run_id)
        if accepted is not None:
            return self._accepted.setdefault(request.run_id, parse_study(accepted))
        if not isinstance(request, EnrollRequest):
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
        if not is_plain(request.study):
            raise PolicyRefusal(
                Reason.STUDY_ALTERED,
                "the study text is too long to parse before its signature is checked; shorten it",
            )
        try:
            return parse_study(request.study)
        except StudyError:
            raise PolicyRefusal(Reason.STUDY_ALTERED) from None


def is_plain(text: str) -> bool:
    """Return whether a study text is cheap to parse. Lines end at LF, as in TOML, and at no other line separator."""
    return len(text) <= MOST_STUDY and all(
        len(line) <= MOST_LINE and _most_parts(line) <= MOST_PARTS for line in text.split("\n")
    )


def _most_parts(line: str) -> int:
    """Return the number of parts of the longest text that could be one dotted key."""
    longest = run = 0
    for part in line.split("."):
        run = run + 1 if not BREAKS & set(part) else 1
        longest = max(longest, run)
    return longest


def check_state(folder: Path) -> None:
    """Check that the ledger can be written, before anything is charged.

    Raises:
        PolicyRefusal: the folder is read-only, missing or nearly full.
    """
    try:
        write_synced(folder / ".probe", b"\n", mode=0o600)
        free = os.statvfs(folder)
    except OSError as problem:
        raise PolicyRefusal(
            Reason.UNAVAILABLE,
            f"the state folder cannot be written ({cause_of(problem)}); the ledger needs it",
        ) from None
    if free.f_bavail * free.f_frsize < FREE_BYTES:
        raise PolicyRefusal(
            Reason.UNAVAILABLE, f"the state folder has less than {FREE_BYTES >> 20} MiB free; make room for the ledger"
        )
