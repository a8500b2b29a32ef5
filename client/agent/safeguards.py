"""What must hold at a site before a request reaches the hospital: a signed request, unchanged data, room to write.

Each check refuses without a charge. Its text stays in the site's log; what travels is a `Reason`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from common.errors import PolicyRefusal, Reason, StudyError
from common.protocol.messages import EnrolRequest, Request
from common.protocol.signing import is_signed
from common.study.study import Study, parse_study
from common.system.files import write_synced

FREE_BYTES = 16 * 2**20
"""Less free space than this in the state folder, and nothing is charged: the reply could not be stored."""

BLOCK = 2**20

MOST_STUDY, MOST_LINE, MOST_PARTS = 500_000, 10_000, 32
"""Characters of a text and of a line, and parts of a dotted key. Beyond them a text is not parsed for a key to check it
by, since parsing would take minutes and gigabytes: whoever is on the network could end the agent."""

BREAKS = frozenset(",=[]{}#")
"""No key goes on beyond one of these."""

StudyOf = Callable[[str], str | None]
"""The study text under which a run was accepted, by run id; None where it never was."""


class CoordinatorCheck:
    """Requests must be signed by the coordinator key in the study: of the accepted run, or else of the request itself.

    A request to enrol under a study that names an attacker's key passes here and fails at the policy, which knows what
    was approved. A repeated request gets its stored reply, so a recorded one gains nothing.

    Args:
        study_of: looks a run up in the ledger.
        is_rehearsal: take rehearsals, and no other studies; they may name no coordinator key.
    """

    def __init__(self, study_of: StudyOf, *, is_rehearsal: bool = False) -> None:
        self._study_of, self._is_rehearsal = study_of, is_rehearsal
        self._accepted: dict[str, Study] = {}

    def __call__(self, request: Request, signature: bytes) -> None:
        """Raises `PolicyRefusal` where the signature is missing, wrong, or by another key."""
        study = self._study(request)
        key = study.federation.coordinator
        if study.about.rehearsal != self._is_rehearsal:
            raise PolicyRefusal(Reason.STUDY_REHEARSAL)
        if key is None and not self._is_rehearsal:
            raise PolicyRefusal(
                Reason.SIGNATURE_REFUSED,
                "the study names no [federation] coordinator key; only a rehearsal goes without",
            )
        if key is not None and not is_signed(request, signature, key):
            raise PolicyRefusal(Reason.SIGNATURE_REFUSED)

    def _study(self, request: Request) -> Study:
        """The study that the run was accepted under, or that it asks to be accepted under."""
        if request.run_id in self._accepted:
            return self._accepted[request.run_id]
        accepted = self._study_of(request.run_id)
        if accepted is not None:
            return self._accepted.setdefault(request.run_id, parse_study(accepted))
        if not isinstance(request, EnrolRequest):
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)
        if not is_plain(request.study):
            raise PolicyRefusal(
                Reason.STUDY_ALTERED, "the study's text is too long to be looked at before its signature"
            )
        try:
            return parse_study(request.study)
        except StudyError:
            raise PolicyRefusal(Reason.STUDY_ALTERED) from None


def is_plain(text: str) -> bool:
    """Whether a study's text takes little to parse. Lines are TOML's, which other marks of a line's end do not end."""
    return len(text) <= MOST_STUDY and all(
        len(line) <= MOST_LINE and _most_parts(line) <= MOST_PARTS for line in text.split("\n")
    )


def _most_parts(line: str) -> int:
    """The longest run of texts between dots that could be one dotted key."""
    longest = run = 0
    for part in line.split("."):
        run = run + 1 if not BREAKS & set(part) else 1
        longest = max(longest, run)
    return longest


class DataWatch:
    """Notices when the data file of a run is no longer the one that the run began with, also after a restart.

    At a run's first use of the data, the file's SHA-256 is kept in the state folder. Later requests compare size, times
    and inode, and hash again only where those moved: a touched or restored file passes, another content does not. A
    change between this check and the reading of the file goes unnoticed until the next request.

    Args:
        data: the file.
        folder: where fingerprints are kept, one small file per run.
    """

    def __init__(self, data: Path, folder: Path) -> None:
        self._data, self._folder = data, folder
        self._seen: tuple[tuple[int, ...], str] | None = None

    def __call__(self, run_id: str) -> None:
        """Raises `PolicyRefusal` where the file is missing or differs from what the run began with."""
        try:
            now = self._digest()
        except OSError as problem:
            raise PolicyRefusal(
                Reason.UNAVAILABLE, f"cannot read the data file ({type(problem).__name__}); mount it again"
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
                Reason.UNAVAILABLE, "the data file was replaced since the run began; restore it or give the run up"
            )

    def _digest(self) -> str:
        facts = self._data.stat()
        place = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        if self._seen is None or self._seen[0] != place:
            digest = hashlib.sha256()
            with self._data.open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
            self._seen = place, digest.hexdigest()
        return self._seen[1]


def check_state(folder: Path) -> None:
    """Refuse where the ledger could not be written, before anything is charged.

    Raises:
        PolicyRefusal: the folder is read-only, missing or nearly full.
    """
    try:
        write_synced(folder / ".probe", b"\n", mode=0o600)
        free = os.statvfs(folder)
    except OSError as problem:
        raise PolicyRefusal(
            Reason.UNAVAILABLE,
            f"the state folder cannot be written ({os.strerror(problem.errno or 0)}); the ledger needs it",
        ) from None
    if free.f_bavail * free.f_frsize < FREE_BYTES:
        raise PolicyRefusal(
            Reason.UNAVAILABLE, f"the state folder has less than {FREE_BYTES >> 20} MiB left; make room for the ledger"
        )
