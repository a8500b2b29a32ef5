"""The state folder of a site: ledger, approvals, holdout key and identity, for one account only."""

from __future__ import annotations

import json
import logging
import os
import stat

from client.site.config import APPROVALS, HOLDOUT_KEY, Site
from common.errors import SiteError, cause_of
from common.ledger.ledger import Kind, Ledger
from common.protocol.signing import IDENTITY, Identity, fingerprint
from common.seeds import site_key
from common.study.study import Study

log = logging.getLogger(__name__)

KEY_BYTES = 32
"""Length of the holdout key in bytes."""


def check_state(site: Site) -> None:
    """Raise `SiteError` unless the state folder is complete and closed to other accounts."""
    for path in (site.state, site.state / APPROVALS, site.ledger, site.state / HOLDOUT_KEY):
        try:
            mode = path.stat().st_mode
        except OSError as problem:
            raise SiteError(
                f"cannot use '{path}': {cause_of(problem)}; create the state folder with `fedsynth site init`"
            ) from None
        if stat.S_IMODE(mode) & 0o077:
            raise SiteError(f"'{path}' is open to other accounts; run `chmod go-rwx {path}`")
    if (site.state / HOLDOUT_KEY).stat().st_size != KEY_BYTES:
        raise SiteError(f"'{site.state / HOLDOUT_KEY}' is not {KEY_BYTES} bytes long; restore it from a backup")


def split_key(site: Site, study: Study) -> bytes:
    """Return the secret that decides which patients the site holds out under a study."""
    if site.rehearsal:  # a rehearsal holds out the same patients as a simulation of the study
        return site_key(study.seed, site.name)
    return (site.state / HOLDOUT_KEY).read_bytes()


def check_own_state(site: Site) -> None:
    """Raise `SiteError` unless this account owns the state folder, and as `check_state` does.

    The agent could not read what another account writes into it.
    """
    check_state(site)
    owner = site.state.stat().st_uid
    if owner != os.geteuid():
        raise SiteError(f"'{site.state}' belongs to account {owner}, which runs the agent; run this as that account")


def load_identity(site: Site) -> Identity | None:
    """Load the identity key that studies list; None where there is none, and masked phases are then refused."""
    path = site.state / IDENTITY
    return Identity.load(path) if path.exists() else None


def own_fingerprint(site: Site) -> str | None:
    """Return the fingerprint of the site's own identity, for reading aloud; None where it has no identity."""
    identity = load_identity(site)
    return None if identity is None else fingerprint(identity.public)


def open_ledger(site: Site, *, is_restored: bool = False) -> Ledger:
    """Open the cohort's ledger; its lock is held until it is closed.

    A witness that was added to site.toml or removed from it is an entry, so that its removal leaves a trace.

    Args:
        site: says where ledger and witness are.
        is_restored: open an old copy, whatever the witness says.
    """
    ledger = Ledger(
        site.ledger, cohort=site.ledger_cohort, delta=site.delta, witness=site.witness, is_restored=is_restored
    )
    is_kept = site.witness is not None
    if not is_restored and ledger.has_witness != is_kept:
        if not is_kept:
            log.warning(
                "[ledger] witness was removed from site.toml: from here on nothing in '%s' shows that an old copy was "
                "restored; the ledger says so",
                site.state,
            )
        try:
            ledger.note(Kind.WITNESS, json.dumps({"kept": is_kept}))
        except BaseException:
            ledger.close()
            raise
    return ledger
