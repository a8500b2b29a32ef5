from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.planning.phases import HISTOGRAMS
from common.planning.planner import make_plan
from common.privacy.accountant import epsilon
from common.privacy.events import DiscreteGaussianVector, DistributedGaussianVector, DpSgdRun, SynchronousRun
from common.privacy.mechanisms import SeededNoise
from common.study.sections import HospitalFacts
from common.study.study import Study
from simulations.audit.attacks import QUIET_SIGMA, Attacks, Effort, with_dropout
from simulations.audit.bounds import Scores, contradicts, family
from simulations.audit.counts import exact_vectors, repeat_release, with_noise
from simulations.audit.opened import MuteNoise, Parties, opened
from simulations.audit.rounds import canary_records
from simulations.audit.run import audit
from simulations.audit.site import shards_with_and_without
from simulations.audit.synchronous import attack_steps, step_study
from simulations.audit.trials import Trials, judge
from simulations.federation.hospitals import built_in_study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.command_line import fedsynth, output_of

NAMES = ("east", "north", "south", "west")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def shared_study(dropouts: int = 0, **sections: dict[str, object]) -> Study:
    facts = tuple(HospitalFacts(name=name, declared_rows=90) for name in NAMES)
    study = clinic_study(
        privacy={"noise": "distributed", "epsilon": 3.0},
        synthesizer={"pairs": 0, "triples": 0},
        training={"rounds": 0},
    ).with_hospitals(facts)
    return study.amended(federation={"dropouts": dropouts, "min_hospitals": 3}, **sections)


class TestParties:
    def test_fewest_honest_hospitals_are_in_a_sum(self) -> None:
        assert Parties.of(shared_study(), "east") == Parties("east", ("north", "south"), ("west",))
        dropping = Parties.of(shared_study(dropouts=1), "north")
        assert dropping == Parties("north", ("east",), ("west",), lost=("south",))
        assert dropping.words == "the opened sum of 3 of 4 hospitals, 1 colluding"

    @pytest.mark.parametrize("study", [shared_study(), shared_study(dropouts=1), built_in_study()])
    def test_honest_ones_are_as_many_as_the_plan_counts_on(self, study: Study) -> None:
        parties = Parties.of(study, study.hospitals[0].name)
        assert 1 + len(parties.honest) == make_plan(study).honest_hospitals

    def test_local_noise_has_one_party(self) -> None:
        local = Parties.of(shared_study().amended(privacy={"noise": "local"}), "east")
        assert (local, local.words) == (Parties("east"), "the reply of one hospital")

    def test_one_dropout_more_is_audited_where_it_is_allowed(self) -> None:
        dropping = with_dropout(shared_study())
        assert dropping is not None
        assert (dropping.federation.dropouts, make_plan(dropping).honest_hospitals) == (1, 2)
        assert with_dropout(dropping) is None
        assert with_dropout(shared_study().amended(privacy={"noise": "local"})) is None


class TestOpenedCounts:
    @pytest.mark.parametrize("dropouts", [0, 1])
    def test_they_differ_by_one_patient_under_honest_noise(self, dropouts: int) -> None:
        study = shared_study(dropouts)
        vectors = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))
        plan = make_plan(study)
        assert [vector.phase for vector in vectors] == [phase.name for phase in plan.vectors]
        for vector in vectors:
            change = vector.present - vector.absent
            assert isinstance(vector.event, DistributedGaussianVector)
            assert 0 < change @ change <= vector.event.squared_sensitivity
            assert vector.sigmas == (vector.event.share_sigma,) * plan.honest_hospitals
            assert vector.sigma == pytest.approx(vector.event.central.sigma)

    def test_the_sum_holds_rows_of_all_survivors(self) -> None:
        study = shared_study(dropouts=1)
        _, absent = shards_with_and_without(study, "north", 90)
        sums = exact_vectors(study, "north", absent, absent)[0].present
        cells = make_plan(study).cells
        # Two survivors hold five drawn rows each, of which some are held out.
        others = int(sums.sum() - absent.histograms(cells).sum())
        assert 0 < others <= 2 * 5 * 30

    def test_the_claim_holds_and_that_of_a_share_less_does_not(self) -> None:
        study = shared_study(privacy={"epsilon": 10.0})
        vector = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))[0]
        scores = repeat_release(vector, SeededNoise(0), np.random.default_rng(0), 20_000)
        assert not contradicts(scores, [vector.event], 1e-5)
        # What two colluders would see, if only one was counted on.
        fewer = replace(vector, sigmas=vector.sigmas[:2])
        scores = repeat_release(fewer, SeededNoise(1), np.random.default_rng(1), 20_000)
        assert contradicts(scores, [vector.event], 1e-5)

    def test_other_noise_is_charged_as_such(self) -> None:
        study = shared_study()
        vector = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))[0]
        quiet = with_noise(vector, 4.0)
        assert quiet.sigmas == (4.0, 4.0, 4.0)
        assert isinstance(vector.event, DistributedGaussianVector)
        assert quiet.event == replace(vector.event, share_sigma=4.0)

    def test_secure_shares_survive(self) -> None:
        study = shared_study()
        audits = Attacks(study, make_plan(study), 0, Effort(secure_releases=250), lambda event: None)
        attack = audits._secure_counts(audits._vectors(study)[0])
        (event,) = attack.events
        assert isinstance(event, DistributedGaussianVector)
        assert event.share_sigma == QUIET_SIGMA
        assert not contradicts(attack.scores, attack.events, 1e-5)


class TestSteps:
    def test_noise_of_three_hospitals_is_what_is_charged(self) -> None:
        study = step_study(epsilon=8.0, rounds=2, canaries=200)
        scores, events = attack_steps(study, SeededNoise(0), np.random.default_rng(0), canaries=200)
        assert len(scores) == 200
        assert [type(event) for event in events] == [SynchronousRun, SynchronousRun]
        assert {event.honest_hospitals for event in events if isinstance(event, SynchronousRun)} == {3}
        assert scores.present.mean() > scores.absent.mean()
        assert not contradicts(scores, events, 1e-5)

    def test_colluders_add_no_noise_and_no_rows_of_canaries(self) -> None:
        study = step_study(epsilon=8.0, rounds=1, canaries=200)
        records = canary_records(study, np.arange(200) < 100)
        with opened(study, study.hospitals[0].name, records, SeededNoise(0).named) as run:
            assert set(run.hospitals) == {facts.name for facts in study.hospitals}
            colluder = run.hospitals[run.parties.colluders[0]]
            assert isinstance(colluder._noise, MuteNoise)


class TestFamily:
    def test_shared_noise_is_one_draw(self) -> None:
        shared = DistributedGaussianVector(8.0, 4, 20)
        step = SynchronousRun(1.0, 4, 0.1, 5)
        assert family([shared, step]) == (DiscreteGaussianVector(16.0, 20), DpSgdRun(2.0, 0.1, 5))

    def test_a_bound_between_family_and_charge_refutes(self) -> None:
        step = SynchronousRun(1.0, 1, 1.0, 1)
        rng = np.random.default_rng(0)
        scores = Scores(rng.normal(1.0, 0.8, 20_000), rng.normal(0.0, 0.8, 20_000))
        finding = judge(Trials("steps", "", (step,), scores), 1e-5, 1e-5)
        assert finding.family_claimed == pytest.approx(epsilon([DpSgdRun(1.0, 1.0, 1)], 1e-5))
        assert finding.family_claimed < finding.claimed
        assert finding.is_refuted
        assert finding.ratio_direct == finding.direct / finding.claimed < finding.ratio_family


@pytest.mark.slow
class TestWhole:
    def test_study_that_shares_noise_is_attacked_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "study.toml"
        path.write_text(shared_study().to_toml(), encoding="utf-8")
        done = fedsynth("audit", "--study", path, "--out", tmp_path / "out")
        assert done.exit_code == 0, output_of(done)
        document = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
        targets = {finding["name"]: finding["target"] for finding in document["findings"]}
        assert targets[HISTOGRAMS].endswith("the opened sum of 4 of 4 hospitals, 1 colluding")
        assert targets[f"{HISTOGRAMS}, dropout"].endswith("the opened sum of 3 of 4 hospitals, 1 colluding")

    def test_synchronous_study_is_attacked(self) -> None:
        study = shared_study(training={"rounds": 2, "steps": 1})
        effort = Effort(step_runs=1, releases=500, secure_releases=250, tables=10)
        report = audit(study, effort=effort)
        names = [finding.name for finding in report.findings]
        assert names[0] == "synchronous, secure"
        assert "all counts" in names
        assert "dp-sgd" not in names
        assert not report.is_refuted
