"""What the hospitals of a run agreed to, and the coordinator's resources for it, as two values."""

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
class AgreedRun:
    """One run of a study.

    Args:
        run_id: identifier of the run, never used before at any hospital.
        study: study as every hospital approved it.
        plan: computed from the study once; what each hospital will release.
        identities: public key of each hospital where vectors are masked; empty elsewhere.
    """

    run_id: str
    study: Study
    plan: Plan
    identities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resources:
    """The coordinator's resources during one run.

    Args:
        exchange: sends requests and collects replies.
        checkpoints: stores the steps that are done.
        receipts: the head of each hospital's ledger at its last reply.
        emit: takes the events of the run.
    """

    exchange: Exchange
    checkpoints: Checkpoints
    receipts: Receipts
    emit: Emit = ignore
