"""The proposal of a run that a coordinator sends to the hospitals: run id, study and exact plan, signed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from common.errors import StudyError, cause_of
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.protocol.signing import Identity, is_signature, signed_text
from common.secagg.terms import listed_identities
from common.study.study import Study, parse_study

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Form of a run id, which names a file and is written to logs."""

PURPOSE = "fedsynth proposal"
"""Part of what is signed, so that a signature made for another purpose is invalid for a proposal."""

REMEDY = "ask the coordinator for the file again"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One run to be approved. All of it is public.

    Attributes:
        run_id: identifier of the run.
        study: TOML text that the run will carry.
        plan: JSON text that the run will carry.
        signature: hex, by the coordinator key that the study names.
    """

    run_id: str
    study: str
    plan: str
    signature: str

    @classmethod
    def make(cls, run_id: str, study: Study, identity: Identity) -> Self:
        """Plan a run and sign it.

        Args:
            run_id: identifier of the run.
            study: study that lists its hospitals and the coordinator's key.
            identity: signing key of the coordinator.

        Returns:
            The signed proposal.

        Raises:
            StudyError: the study names another coordinator, cannot be planned, or lists no identity for a hospital
                that masks.
        """
        if study.federation.coordinator != identity.public:
            named = "no" if study.federation.coordinator is None else "another"
            raise StudyError(
                f'the study names {named} coordinator key; write coordinator = "{identity.public}" into [federation]'
            )
        if study.privacy.noise == "distributed":
            listed_identities(study)
        text, plan = study.to_toml(), make_plan(study).to_json()
        return cls(run_id, text, plan, identity.sign(_signed(run_id, text, plan)).hex())

    def agreed(self) -> tuple[Study, Plan]:
        """Return the study and the plan, once they are checked.

        Raises:
            StudyError: the study's coordinator did not sign them, or the study leads to another plan.
        """
        study, plan = parse_study(self.study, source="the proposal's study"), Plan.from_json(self.plan)
        coordinator = study.federation.coordinator
        if coordinator is None:
            raise StudyError(f"the proposal's study names no coordinator key; {REMEDY}")
        try:
            signature = bytes.fromhex(self.signature)
        except ValueError:
            signature = b""
        if not is_signature(_signed(self.run_id, self.study, self.plan), signature, coordinator):
            raise StudyError(f"the proposal is not signed by the coordinator that its study names; {REMEDY}")
        if plan != make_plan(study):
            raise StudyError(
                "the proposal's plan is not the one that its study leads to; use the same version of fedsynth"
            )
        return study, plan

    def to_json(self) -> str:
        """Return the text of a proposal file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def read_proposal(path: Path) -> Proposal:
    """Return the proposal in a file, unchecked; `agreed` says whether it is genuine.

    Raises:
        StudyError: the file cannot be read or is not a proposal.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise StudyError(f"cannot read '{path}' ({cause_of(problem)}); put it where this account can read it") from None
    except UnicodeDecodeError as problem:
        raise StudyError(f"'{path}' is not a proposal ({cause_of(problem)}); {REMEDY}") from None
    return parse_proposal(text, f"'{path}'")


def parse_proposal(text: str, source: str) -> Proposal:
    """Return the proposal in a text, unchecked; `agreed` says whether it is genuine.

    Args:
        text: what a coordinator sent.
        source: where it is from, for the error.

    Raises:
        StudyError: it is not a proposal.
    """
    try:
        fields = json.loads(text)
        return Proposal(**{name: str(value) for name, value in fields.items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise StudyError(f"{source} is not a proposal ({cause_of(problem)}); {REMEDY}") from None


def _signed(run_id: str, study: str, plan: str) -> bytes:
    """Return the canonical JSON of the purpose, the run id and the digests of both texts."""
    study, plan = (hashlib.sha256(text.encode()).hexdigest() for text in (study, plan))
    return signed_text(PURPOSE, run_id=run_id, study=study, plan=plan)
