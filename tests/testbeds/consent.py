"""People who consent, for tests in which consent is not the subject."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.planning.plan import Plan
from common.study.study import Study


@dataclass(frozen=True)
class AgreedTo:
    """Consents to every run of these studies, by fingerprint, and writes nothing into the ledger."""

    fingerprints: frozenset[str]

    def record(self, run_id: str, ledger: Ledger) -> None:
        pass

    def check(self, run_id: str, study: Study, plan: Plan, table: str) -> None:
        if study.fingerprint not in self.fingerprints:
            raise PolicyRefusal(Reason.STUDY_NOT_APPROVED)


def agreed_to(*studies: Study) -> AgreedTo:
    return AgreedTo(frozenset(study.fingerprint for study in studies))
