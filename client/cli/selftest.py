"""`fedsynth site selftest`: check this installation, and write the result into the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.cli.options import HERE, SiteFile, console, warn_of_rehearsal

if TYPE_CHECKING:
    from client.site.selftest_result import CheckOutcome


def selftest(site: SiteFile = HERE) -> None:
    """Check that noise source, kernels, reader, disk and ledger of this installation work. Stop the agent first.

    Uses invented records and opens no table. The result becomes an entry of the cohort's ledger and costs nothing. Run
    it after every installation and upgrade. Exit code 6 if a check fails.
    """
    from client.selftest.run import selftest as run
    from client.site.config import read_site

    config, out = read_site(site), console()

    def tell(outcome: CheckOutcome) -> None:
        out.print(f"{'passed' if outcome.is_passed else 'FAILED'} {outcome.name}: {outcome.detail}")

    entry = run(config, tell)
    out.print(f"All checks passed; entry {entry.counter} of the ledger.")
    warn_of_rehearsal(config)
