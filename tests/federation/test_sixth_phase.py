"""One more entry in the table of phases goes through plan, consent, policy, gate, ledger and run loop by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.consent.policy import Policy
from client.consent.statement import what_leaves
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.model import load_model
from common.planning.phases import PHASES, VectorPhase
from common.planning.planner import make_plan
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector
from common.run_events.events import PhaseFinished
from common.study.sections import HospitalFacts
from common.study.study import Study
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.clinic import HOSPITALS, clinic_study, clinic_tables
from tests.testbeds.events import events_in
from tests.testbeds.sixth_phases import SIXTH

FACTS = tuple(HospitalFacts(name=name, declared_rows=90) for name in HOSPITALS)


@pytest.fixture(params=SIXTH, ids=lambda phase: phase.name)
def phase(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> VectorPhase:
    """A phase that is in the table for one test."""
    entry: VectorPhase = request.param
    monkeypatch.setitem(PHASES, entry.name, entry)
    return entry


def study_of(noise: str) -> Study:
    return clinic_study(
        privacy={"noise": noise}, synthesizer={"pairs": 0, "triples": 0, "fit_steps": 20}, training={"rounds": 0}
    ).with_hospitals(FACTS)


@pytest.mark.parametrize("noise", ["local", "distributed"])
class TestSixthPhase:
    def test_plan_and_consent_name_it(self, phase: VectorPhase, noise: str) -> None:
        study = study_of(noise)
        plan = make_plan(study)
        assert plan.phases == ("histograms", "coarse", phase.name)
        lines = what_leaves(study, plan, plan.hospitals[0])
        (line,) = [line for line in lines if phase.counted.split(" {")[0].split(",")[0] in line]
        assert line.startswith("- under masks" if noise == "distributed" else "- noisy counts")

    def test_policy_refuses_it_where_it_is_not_allowed(self, phase: VectorPhase, noise: str) -> None:
        study = study_of(noise)
        plan = make_plan(study)
        policy = Policy(HOSPITALS[0], phases=frozenset({"histograms", "coarse"}), is_simulation=True)
        with pytest.raises(PolicyRefusal) as refusal:
            policy.check("run-1", study, plan, ())
        assert refusal.value.reason == Reason.PHASE_NOT_ALLOWED

    def test_a_run_releases_charges_and_keeps_it(self, phase: VectorPhase, noise: str, tmp_path: Path) -> None:
        result = simulate(prepare(study_of(noise), clinic_tables()), tmp_path / "out", Options(with_report=False))
        assert result.run["status"] == "finished"
        model = load_model(tmp_path / "out" / "model")
        planned = model.plan.vector(phase.name)
        assert planned is not None
        assert len(model.released.counts(phase.name)) > 0
        finished = [event.phase for event in events_in(tmp_path / "out") if isinstance(event, PhaseFinished)]
        assert phase.name in finished
        for name in model.plan.hospitals:
            line = Ledger.view(tmp_path / "out" / "sites" / name.hospital / "ledger.sqlite").lines()[-1]
            assert line.slot.words(model.plan) == phase.title
            assert line.slot.is_masked == (noise == "distributed")
            sigma = model.plan.sigma(name, phase.name)
            bounds = planned.squared_sensitivity, planned.largest_weight
            assert line.event == (
                DistributedGaussianVector(sigma, model.plan.honest_hospitals, *bounds)
                if noise == "distributed"
                else DiscreteGaussianVector(sigma, *bounds)
            )
