"""Open a site: the hospital that answers for it, and the agent that serves that hospital. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from client.hospital import Hospital
from client.shard import StreamedShard
from client.site.config import HOLDOUT_KEY, Site
from client.site.state import check_state, load_identity, open_ledger
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.seeds import site_key
from common.study.study import Study
from common.tables.formats import check_readable, read_parts

if TYPE_CHECKING:
    from client.agent.agent import Agent


@contextmanager
def open_hospital(site: Site) -> Iterator[Hospital]:
    """Open the hospital that answers for this site, for as long as the block runs; its ledger is locked meanwhile.

    The records are read at the first request that needs them, after the policy has accepted the run. Torch is
    imported in the first round of training.

    Raises:
        SiteError: the state folder is missing, incomplete or open to other accounts.
        LedgerError: the ledger is held by another process, damaged, or older than its head file.
    """
    check_state(site)
    key = (site.state / HOLDOUT_KEY).read_bytes()
    noise: NoiseSource | Callable[[Study], NoiseSource] = _seeded_noise if site.rehearsal else SecureNoise()
    ledger = open_ledger(site)
    site.approvals.record_all(ledger)
    try:
        yield Hospital(site.policy, partial(_open_shard, site, key), ledger, noise, identity=load_identity(site))
    finally:
        ledger.close()


@contextmanager
def open_agent(site: Site) -> Iterator[Agent]:
    """Open the agent of a site, for as long as the block runs.

    Raises:
        DataError: the data file cannot be read, in the words of `site check`; in a run it would show as `unavailable`.
        SiteError, LedgerError: as `open_hospital` raises them.
    """
    from client.agent.agent import Agent

    with open_hospital(site) as hospital:
        check_readable(site.data)
        epsilon = lambda: hospital.ledger.epsilon  # noqa: E731
        yield Agent(hospital, data=site.data, state=site.state, is_rehearsal=site.rehearsal, epsilon=epsilon)


def _open_shard(site: Site, key: bytes, study: Study) -> StreamedShard:
    if site.rehearsal:  # a rehearsal holds out the same patients as a simulation of the study
        key = site_key(study.seed, site.name)
    columns = [*study.table.names, *filter(None, [site.patient_column])]
    return StreamedShard(read_parts(site.data, columns), study, key=key, patient_column=site.patient_column)


def _seeded_noise(study: Study) -> NoiseSource:
    return SeededNoise(study.seed)
