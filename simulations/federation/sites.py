"""Simulated hospitals: their records, opened when they are first needed, their ledgers, and seeded noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.ledger.ledger import Ledger
from common.planning.phases import Records
from common.privacy.mechanisms import SeededNoise
from common.protocol.signing import Identity
from common.secagg.terms import simulated_identities
from common.seeds import site_key
from common.study.study import Study
from simulations.federation.prepare import Prepared

Shards = Mapping[str, Callable[[], Shard]]
"""How to open each hospital's records; opened once, and not before they are needed."""


def open_shards(prepared: Prepared) -> dict[str, Callable[[], Shard]]:
    """Return how to open every hospital's records, prepared for the study."""
    study = prepared.study
    return {
        name: cache(partial(Shard, raw, study, key=site_key(study.seed, name), patient_column=prepared.patient_column))
        for name, raw in prepared.tables.items()
    }


def open_hospitals(
    study: Study,
    shards: Mapping[str, Callable[[], Records]],
    sites: Path,
    stack: ExitStack,
    *,
    max_epsilon: float = math.inf,
) -> dict[str, Hospital]:
    """Return simulated hospitals with seeded noise.

    Args:
        study: gives seed and delta.
        shards: the records of each hospital.
        sites: folder of the ledgers, `<sites>/<hospital>/ledger.sqlite`.
        stack: closes the ledgers.
        max_epsilon: cap on what every ledger may ever hold, at the study's delta.
    """
    delta = study.privacy.delta
    hospitals = {}
    for name, open_shard in shards.items():
        ledger = Ledger(sites / name / "ledger.sqlite", cohort=name, delta=delta)
        stack.callback(ledger.close)
        policy = Policy(name, max_epsilon=max_epsilon, delta=delta, is_simulation=True)
        hospitals[name] = Hospital(
            policy,
            _ignoring_study(open_shard),
            ledger,
            SeededNoise(study.seed),
            identity=Identity.simulated(study.seed, name),
            identities=simulated_identities,
        )
    return hospitals


def _ignoring_study(open_shard: Callable[[], Records]) -> Callable[[Study], Records]:
    return lambda study: open_shard()
