"""Open a site: the hospital that answers for it, and the agent that serves that hospital. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from client.hospital import Hospital
from client.shard import StreamedShard
from client.site.config import Site
from client.site.imported import FrozenTable, open_frozen
from client.site.selftest_result import Selftest
from client.site.state import check_state, load_identity, open_ledger, split_key
from client.visits_shard import VisitsShard
from common.ledger.history import History
from common.ledger.ledger import Kind
from common.planning.phases import Records
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.study.study import Study
from common.version import VERSION

if TYPE_CHECKING:
    from client.agent.agent import Agent

log = logging.getLogger(__name__)


@contextmanager
def open_hospital(site: Site) -> Iterator[Hospital]:
    """Open the hospital that answers for this site, for as long as the block runs; its ledger is locked meanwhile.

    The records are those of the frozen table, read for the first answer that needs them, after it was charged. Torch is
    imported in the first round of training.

    Raises:
        SiteError: the state folder is missing, incomplete or open to other accounts; no table is imported, or its file
            was changed since.
        LedgerError: the ledger is held by another process, damaged, or older than its head file.
    """
    check_state(site)
    table = open_frozen(site)
    noise: NoiseSource | Callable[[Study], NoiseSource] = _seeded_noise if site.rehearsal else SecureNoise()
    with closing(open_ledger(site)) as ledger:
        site.approvals.record_all(ledger)
        records = partial(open_records, site, table)
        yield Hospital(site.policy, records, ledger, noise, identity=load_identity(site), table=table.digest)


@contextmanager
def open_agent(site: Site) -> Iterator[Agent]:
    """Open the agent of a site, for as long as the block runs; a warning says if its last selftest does not count.

    Raises:
        SiteError, LedgerError: as `open_hospital` raises them.
    """
    from client.agent.agent import Agent
    from client.agent.timing import ReplyGrid

    with open_hospital(site) as hospital:
        _warn_of_selftest(hospital.ledger)
        epsilon = lambda: hospital.ledger.epsilon  # noqa: E731
        yield Agent(
            hospital,
            state=site.state,
            is_rehearsal=site.rehearsal,
            replies=ReplyGrid(site.timing.grid_s),
            epsilon=epsilon,
        )


def open_records(site: Site, table: FrozenTable, study: Study) -> Records:
    """Return the records of a frozen table as a hospital answers from them, with all visits in a study of visits.

    The arguments are those of `open_rows`.
    """
    if not study.has_visits:
        return open_rows(site, table, study)
    return VisitsShard(table.parts_for(study), study, key=split_key(site, study))


def open_rows(site: Site, table: FrozenTable, study: Study) -> StreamedShard:
    """Return the records of a frozen table, of which a patient is one row.

    Args:
        site: says which column identifies the patient, and holds the key for choosing held-out patients.
        table: the site's frozen table.
        study: the study whose columns are read.
    """
    key = split_key(site, study)
    return StreamedShard(table.parts_for(study), study, key=key, patient_column=site.patient_column)


def _warn_of_selftest(history: History) -> None:
    """Log a warning if the last selftest failed, or was of another version. It refuses nothing: a person decides."""
    last = next((entry for entry in reversed(history.entries) if entry.kind == Kind.SELFTEST), None)
    if last is None:
        return
    result = Selftest.from_json(last.content)
    if result.failed:
        log.warning(
            "the last selftest (entry %d) failed: %s; stop the agent and run `fedsynth site selftest`",
            last.counter,
            ", ".join(result.failed),
        )
    elif result.versions["fedsynth"] != VERSION:
        log.warning(
            "the last selftest (entry %d) is of fedsynth %s, and this is %s; run `fedsynth site selftest` again",
            last.counter,
            result.versions["fedsynth"],
            VERSION,
        )


def _seeded_noise(study: Study) -> NoiseSource:
    return SeededNoise(study.seed)
