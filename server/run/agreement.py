"""What the hospitals of a run agreed to, as one value, and what the coordinator works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.planning.plan import Plan
from common.run_events.events import Emit, ignore
from common.study.study import Study

if TYPE_CHECKING:
    from server.receipts import Receipts
    from server.run.checkpoints import Checkpoints
    from server.run.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Agreement:
    """One run of a study.

    Args:
        run_id: never used before at any hospital.
        study: as every hospital approved it.
        plan: computed from the study once; what each hospital will release.
        identities: public key of each hospital where vectors are masked; empty elsewhere.
    """

    run_id: str
    study: Study
    plan: Plan
    identities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """What the coordinator works with during one run.

    Args:
        exchange: sends requests and collects replies.
        checkpoints: the steps that are done, and where further steps are kept.
        receipts: how far the ledger of each hospital had come when it last replied.
        emit: takes the events of the run.
    """

    exchange: Exchange
    checkpoints: Checkpoints
    receipts: Receipts
    emit: Emit = ignore
