"""Whether ledgers work on this disk, and whether the site's own is intact: part of `fedsynth site selftest`.

The trials are on a ledger that is deleted afterwards. It is in the state folder: locks, syncs and renames depend on the
file system.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from client.selftest.checks import CheckError, require
from client.selftest.reader import PREFIX
from client.site.config import Site
from common.errors import FedSynthError, LedgerError, LedgerHeldError, PolicyRefusal
from common.ledger.draws import Draws
from common.ledger.ledger import Ledger, Slot
from common.ledger.witness import Witness
from common.privacy.events import DiscreteGaussianVector
from common.privacy.mechanisms import SecureNoise

SLOT = Slot("0" * 64, "selftest", "histograms")
EVENT = DiscreteGaussianVector(10.0, 1)

REMEDY = "move `state` to a local disk (ext4, xfs); network file systems often lack locks and syncs"


def check_own_ledger(site: Site) -> str:
    """Check every entry and every stored reply of the site's ledger, and its witness.

    Raises:
        CheckError: it was altered or is an old copy; the text says how.
    """
    try:
        history = Ledger.view(site.ledger, with_replies=True)
        if site.witness is not None:
            Witness(site.witness).check(history)
    except LedgerError as problem:
        raise CheckError(str(problem)) from None
    witness = "without a witness" if site.witness is None else "as the witness says"
    return f"the {len(history.entries)} entries of the site's ledger are intact, {witness}"


def check_disk(site: Site) -> str:
    """Check on this disk that a release is charged once and that altered and old files are noticed.

    Raises:
        CheckError: something passes that a ledger must notice.
    """
    with TemporaryDirectory(prefix=PREFIX, dir=site.state) as folder:
        path = Path(folder) / "ledger.sqlite"
        _check_one_release(path)
        _check_noise_is_kept(path)
        _check_lock(path)
        _check_old_copy(path)
        _check_alteration(path)
    return (
        "a release is charged once, with one draw of noise; altered entries, old copies and second writers are noticed"
    )


def _open(path: Path, witness: Path | None = None) -> Ledger:
    return Ledger(path, cohort="selftest", delta=1e-4, witness=witness)


def _check_one_release(path: Path) -> None:
    """Check that a stored reply is found again after the file was closed, and that nothing is charged twice."""
    with closing(_open(path)) as ledger:
        ledger.charge(SLOT, "request", EVENT)
        ledger.store_reply(SLOT, b"reply")
    with closing(_open(path)) as ledger:
        answer = ledger.stored_reply(SLOT, "request")
        require(answer is not None and answer.reply == b"reply", f"a stored reply is not found again: {REMEDY}")
        ledger.charge(SLOT, "request", EVENT)
        require(len(ledger.events()) == 1, f"one release was charged twice: {REMEDY}")
        _require_refused(lambda: ledger.charge(SLOT, "another request", EVENT), PolicyRefusal, "a second request")


def _check_noise_is_kept(path: Path) -> None:
    """Check that a process that is started again draws the same noise for a release that was not stored."""
    draws = Draws(path)
    first, repeated = (draws.noise(SLOT, SecureNoise()).discrete_gaussian(50, 100.0) for _ in range(2))
    draws.forget(SLOT)
    fresh = draws.noise(SLOT, SecureNoise()).discrete_gaussian(50, 100.0)
    draws.forget(SLOT)
    is_kept = first.tolist() == repeated.tolist() != fresh.tolist()
    require(is_kept, f"a release that starts again does not have the noise of its first draw: {REMEDY}")


def _check_lock(path: Path) -> None:
    with closing(_open(path)):
        _require_refused(lambda: _open(path), LedgerHeldError, "a second writer")


def _check_old_copy(path: Path) -> None:
    """Check that a witness notices an old copy of database and head file."""
    folder, witness = path.parent, path.parent / "witness"
    Witness(witness).create(Ledger.view(path).head)
    copy = shutil.copytree(folder, folder / "copy")
    with closing(_open(path, witness)) as ledger:
        ledger.decide(SLOT.fingerprint, SLOT.run_id, "{}")
    _require_refused(lambda: _open(copy / path.name, witness), LedgerError, "an old copy")


def _check_alteration(path: Path) -> None:
    """Check that a changed entry is noticed, by someone who first removes what forbids a change."""
    with closing(sqlite3.connect(path)) as database, database:
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE entries SET epsilon = 0 WHERE kind = 'charge'")
    _require_refused(lambda: Ledger.view(path), LedgerError, "a changed entry")


def _require_refused(act: Callable[[], object], error: type[FedSynthError], action: str) -> None:
    """Check that an action is refused with this error."""
    try:
        act()
    except error:
        return
    raise CheckError(f"{action} was accepted: {REMEDY}")
