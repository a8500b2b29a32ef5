"""Checks before a request reaches the hospital: it is signed, the data is unchanged, the ledger can be written.

A failed check refuses the request without a charge. Its text stays in the site's log; only a `Reason` is sent.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from common.errors import PolicyRefusal, Reason, StudyError, cause_of
from common.protocol.messages import EnrollRequest, Request
from common.protocol.signing import is_signed
from common.study.study import Study, parse_study
from common.system.files import write_synced

FREE_BYTES = 16 * 2**20
"""Least free space in the state folder, in bytes. With less, requests are refused: replies could not be stored."""

BLOCK = 2**20

MOST_STUDY, MOST_LINE, MOST_PARTS = 500_000, 10_000, 32
"""Most characters of a study text and of a line, and most parts of a dotted key. A larger text is refused unparsed:
parsing would take minutes and gigabytes, and any sender on the network could stop the agent with it."""

BREAKS = frozenset(",=[]{}#")
"""Characters at which a TOML key ends."""

StudyOf = Callable[[str], str | None]
"""Returns the study text under which a run was accepted; None for a run that was not."""


class CoordinatorCheck:
    """Requires the signature of the coordinator that the study names.

    The study is that of the accepted run, or else the one in the request. A request to enroll under a study with an
    attacker's key passes here and fails at the policy, which knows what was approved. A repeated request gets its
    stored reply, so replaying a recorded request gains nothing.

    Args:
        study_of: finds the study of an accepted run in the ledger.
        is_rehearsal: accept only rehearsals, which need not name a coordinator key.
    """

    def __init__(self, study_of: StudyOf, *, is_rehearsal: bool = False) -> None:
        self._study_of, self._is_rehearsal = study_of, is_rehearsal
        self._accepted: dict[str, Study] = {}

    def __call__(self, request: Request, signature: bytes) -> None:
        """Raise `PolicyRefusal` if the signature is missing, wrong, or made with another key."""
        study = self._study(request)
        key = study.federation.coordinator
        if study.about.rehearsal != self._is_rehearsal:
            raise PolicyRefusal(Reason.STUDY_REHEARSAL)
        if key is None and not self._is_rehearsal:
            raise PolicyRefusal(
                Reason.SIGNATURE_REFUSED,
                "the study names no [federation] coordinator key; only a rehearsal may omit it",
            )
        if key is not None and not is_signed(request, signature, key):
            raise PolicyRefusal(Reason.SIGNATURE_REFUSED)

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


class DataWatch:
    """Detects that the data file changed since the run began, also after a restart of the agent.

    The first request of a run that uses the data stores the file's SHA-256 in the state folder. Later requests compare
    size, times and inode, and hash the file again only if these differ: a touched or restored file passes, changed
    content does not. A change between this check and the reading of the file shows at the next request.

    Args:
        data: the data file.
        folder: folder of the fingerprints, one small file per run.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self._data, self._folder = data, folder
        self._seen: tuple[tuple[int, ...], str] | None = None

    def __call__(self, run_id: str) -> None:
        """Raise `PolicyRefusal` if the file is missing or its content changed since the run began."""
        try:
            now = self._digest()
        except OSError as problem:
            raise PolicyRefusal(
                Reason.UNAVAILABLE, f"cannot read the data file ({cause_of(problem)}); mount it again"
            ) from None
        # A run id comes from outside: its hash is a safe file name.
        kept = self._folder / f"{hashlib.sha256(run_id.encode()).hexdigest()[:32]}.json"
        try:
            began_with = str(json.loads(kept.read_text(encoding="utf-8"))["sha256"])
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_synced(kept, (json.dumps({"run_id": run_id, "sha256": now}) + "\n").encode(), mode=0o600)
            return
        if now != began_with:
            raise PolicyRefusal(
                Reason.UNAVAILABLE,
                "the data file changed since the run began; restore it, or start a new run",
            )

    def _digest(self) -> str:
        facts = self._data.stat()
        stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if self._seen is None or self._seen[0] != stamp:
            digest = hashlib.sha256()
            with self._data.open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
            self._seen = stamp, digest.hexdigest()
        return self._seen[1]


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
