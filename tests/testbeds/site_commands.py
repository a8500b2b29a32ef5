"""What people at a site and the coordinator do in tests of the site's commands."""

from __future__ import annotations

from pathlib import Path

from common.planning.planner import make_plan
from common.planning.proposal import Proposal
from common.protocol.messages import EnrollRequest
from common.protocol.signing import Identity
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study
from tests.testbeds.command_line import fedsynth, output_of

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 1, "steps": 2}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)


def enroll(run_id: str = "run-1") -> EnrollRequest:
    return EnrollRequest(run_id, STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")


def write_proposal(folder: Path) -> Path:
    """The file by which a coordinator proposes run-1."""
    key = Identity.simulated(1, "coordinator")
    signed = clinic_study(federation={"coordinator": key.public}).with_hospitals(FACTS)
    path = folder / "proposal.json"
    path.write_text(Proposal.make("run-1", signed, key).to_json(), encoding="utf-8")
    return path


def import_again(folder: Path) -> None:
    imported = fedsynth("site", "import", "--site", folder, "--replace")
    assert imported.exit_code == 0, output_of(imported)


def change(folder: Path, before: str, after: str) -> None:
    text = (folder / "site.toml").read_text()
    assert before in text
    (folder / "site.toml").write_text(text.replace(before, after))
