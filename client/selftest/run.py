"""`fedsynth site selftest`: every check of an installation, one after the other, and their result in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import metadata

from client.selftest.checks import Check, CheckError
from client.selftest.kernels import REMEDY as OTHER_MACHINE
from client.selftest.kernels import check_kernels
from client.selftest.ledger import REMEDY as OTHER_DISK
from client.selftest.ledger import check_disk, check_own_ledger
from client.selftest.noise import REMEDY as OTHER_NOISE
from client.selftest.noise import check_noise
from client.selftest.reader import REMEDY as OTHER_READER
from client.selftest.reader import check_reader
from client.site.config import Site
from client.site.selftest_result import CheckOutcome, Selftest
from client.site.state import check_own_state, open_ledger
from common.errors import LedgerError, LedgerHeldError, SelftestError, cause_of
from common.ledger.ledger import Entry, Kind
from common.version import VERSION

OWN_LEDGER = "ledger"

CHECKS = (
    Check("noise", check_noise, OTHER_NOISE),
    Check("kernels", check_kernels, OTHER_MACHINE),
    Check("reader", check_reader, OTHER_READER),
    Check("disk", check_disk, OTHER_DISK),
    Check(OWN_LEDGER, check_own_ledger, "release nothing until this is explained"),
)
"""Every check, in the order in which they run."""

LIBRARIES = ("cryptography", "numpy", "opendp", "pandas", "pyarrow", "torch")
"""Libraries on which the checks depend; the ledger names their versions."""


def installed_versions() -> dict[str, str]:
    """Return the versions of fedsynth and of the libraries that the checks depend on."""
    return {"fedsynth": VERSION} | {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def run_checks(site: Site, checks: tuple[Check, ...] = CHECKS) -> Iterator[CheckOutcome]:
    """Yield the outcome of each check. A check that fails does not stop the others."""
    for check in checks:
        try:
            yield CheckOutcome(check.name, True, check.run(site))
        except CheckError as problem:
            yield CheckOutcome(check.name, False, str(problem))
        except Exception as problem:
            yield CheckOutcome(check.name, False, f"it ended with {cause_of(problem)}: {check.remedy}")


def selftest(site: Site, tell: Callable[[CheckOutcome], None], checks: tuple[Check, ...] = CHECKS) -> Entry:
    """Run every check and write the result into the site's ledger, whether or not all of them pass.

    The checks take a few seconds. The ledger is locked only while the result is written.

    Args:
        site: the site. Its table is not opened.
        tell: is called with the outcome of each check.
        checks: what to check.

    Returns:
        The entry in the ledger.

    Raises:
        SiteError: the state folder cannot be used.
        LedgerHeldError: an agent or an import is running.
        SelftestError: a check failed; the result is in the ledger, unless the ledger itself cannot be used.
    """
    check_own_state(site)
    _require_free(site)
    outcomes = []
    for outcome in run_checks(site, checks):
        outcomes.append(outcome)
        tell(outcome)
    result = Selftest(tuple(outcomes), installed_versions())
    entry = None if OWN_LEDGER in result.failed else _record(site, result)
    if entry is None or result.failed:
        raise SelftestError(
            f"{', '.join(result.failed)} failed "
            f"({'not written to the ledger' if entry is None else f'entry {entry.counter} of the ledger'}); "
            "release nothing from this installation until `fedsynth site selftest` passes"
        )
    return entry


def _require_free(site: Site) -> None:
    """Raise `LedgerHeldError` if an agent holds the ledger. What else is wrong with it, the check of it says."""
    try:
        open_ledger(site).close()
    except LedgerHeldError:
        raise
    except LedgerError:
        return


def _record(site: Site, result: Selftest) -> Entry:
    with closing(open_ledger(site)) as ledger:
        return ledger.note(Kind.SELFTEST, result.to_json())
