from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import StudyError
from common.planning.planner import make_plan
from common.planning.proposal import Proposal, read_proposal
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import HOSPITALS, clinic_study


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return Identity.create(tmp_path / "coordinator.key")


def study_of(identity: Identity) -> Study:
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in HOSPITALS)
    return clinic_study(federation={"coordinator": identity.public}).with_hospitals(facts)


class TestAgreement:
    def test_study_and_plan_are_read_back_as_signed(self, identity: Identity, tmp_path: Path) -> None:
        study = study_of(identity)
        path = tmp_path / "proposal.json"
        path.write_text(Proposal.make("run-1", study, identity).to_json())
        proposal = read_proposal(path)
        assert proposal.run_id == "run-1"
        assert proposal.agreed() == (study, make_plan(study))

    def test_nothing_in_a_proposal_can_be_changed(self, identity: Identity, tmp_path: Path) -> None:
        study = study_of(identity)
        proposal = Proposal.make("run-1", study, identity)
        costlier = study.amended(privacy={"epsilon": 9.0})
        changes = [
            {"run_id": "run-2"},
            {"study": costlier.to_toml(), "plan": make_plan(costlier).to_json()},
            {"plan": make_plan(costlier).to_json()},
            {"signature": "00" * 64},
            {"signature": "no hex"},
        ]
        for change in changes:
            with pytest.raises(StudyError, match="not signed by the coordinator"):
                replace(proposal, **change).agreed()

    def test_a_signed_plan_of_another_study_is_refused(self, identity: Identity) -> None:
        # A coordinator with another version, or with other intentions.
        from common.planning.proposal import _signed

        study = study_of(identity)
        other = replace(make_plan(study), rounds=7).to_json()
        signature = identity.sign(_signed("run-1", study.to_toml(), other)).hex()
        with pytest.raises(StudyError, match="not the one that its study leads to"):
            Proposal("run-1", study.to_toml(), other, signature).agreed()

    def test_a_study_without_a_coordinator_is_refused(self, identity: Identity) -> None:
        proposal = Proposal.make("run-1", study_of(identity), identity)
        unsigned = clinic_study().with_hospitals(study_of(identity).hospitals)
        with pytest.raises(StudyError, match="the proposal's study names no coordinator key"):
            replace(proposal, study=unsigned.to_toml()).agreed()


class TestMaking:
    def test_a_study_of_another_coordinator_is_refused(self, identity: Identity, tmp_path: Path) -> None:
        other = Identity.create(tmp_path / "other.key")
        with pytest.raises(StudyError, match="names another coordinator key"):
            Proposal.make("run-1", study_of(other), identity)
        unnamed = clinic_study().with_hospitals((HospitalFacts(name="north", declared_rows=90),), cap_minimum=True)
        with pytest.raises(StudyError, match="names no coordinator key"):
            Proposal.make("run-1", unnamed, identity)

    def test_shared_noise_needs_every_hospitals_identity(self, identity: Identity) -> None:
        study = study_of(identity).amended(privacy={"noise": "distributed"})
        with pytest.raises(
            StudyError, match="'north' has no identity, and distributed noise needs one of every hospital"
        ):
            Proposal.make("run-1", study, identity)


class TestReading:
    def test_an_unreadable_file_is_named_as_such(self, tmp_path: Path) -> None:
        with pytest.raises(StudyError, match=r"cannot read '.*' \(No such file or directory\)"):
            read_proposal(tmp_path / "proposal.json")

    @pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"run_id": "x", "more": 1})])
    def test_another_file_is_refused(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "file").write_text(text)
        with pytest.raises(StudyError, match="is not a proposal"):
            read_proposal(tmp_path / "file")
