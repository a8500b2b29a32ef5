from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from client.hospital import Hospital
from common.encoding import histogram_max_changed_cells
from common.errors import PolicyRefusal, Reason
from common.planning.phases import COARSE, HISTOGRAMS
from common.planning.planner import make_plan
from common.privacy.accountant import epsilon
from common.privacy.dpsgd import noisy_gradient
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Unprotected, least_noise
from common.privacy.mechanisms import SecureNoise, SeededNoise
from common.privacy.step import DpSgdStep
from common.protocol.messages import EnrollReply, Reply, Unavailable
from common.run_events.events import ignore
from common.study.sections import HospitalFacts
from common.study.study import Study
from simulations.audit.attacks import QUIET_SIGMA, Attacks, Effort
from simulations.audit.bounds import (
    Curve,
    Rates,
    Scores,
    contradicts,
    direct_epsilon,
    guesses_epsilon,
    implied_epsilon,
    lower_rate,
    one_run_epsilon,
    upper_rate,
)
from simulations.audit.counts import Vector, exact_vectors, repeat_release
from simulations.audit.gradients import DECOYS, Steps, attack_run, canary_rows, steep_network
from simulations.audit.rounds import attack_rounds, round_study
from simulations.audit.run import Report, audit
from simulations.audit.site import outlier, public_table, shards_with_and_without, throwaway_hospitals
from simulations.audit.trials import Trials, composed, judge
from simulations.cli.main import app
from simulations.federation.hospitals import built_in_study
from tests.mutations.bugs import BUGS
from tests.testbeds.clinic import clinic_study
from tests.testbeds.omop_database import omop_study

GAUSSIAN = DpSgdRun(noise_multiplier=1.0, sample_rate=1.0, steps=1)
"""A plain Gaussian of sensitivity and deviation one: epsilon 4.377 at delta 1e-5."""

GAUSSIAN_EPSILON, DELTA = 4.377, 1e-5


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def gaussian_scores(trials: int, seed: int, *, std: float = 1.0) -> Scores:
    rng = np.random.default_rng(seed)
    return Scores(rng.normal(1.0, std, trials), rng.normal(0.0, std, trials))


def small_study(**sections: dict[str, object]) -> Study:
    facts = (HospitalFacts(name="north", declared_rows=90), HospitalFacts(name="south", declared_rows=90))
    return clinic_study(**sections).with_hospitals(facts)


def test_rates_of_none_and_all_have_closed_form_bounds() -> None:
    # Of 10 trials none hits with probability (1 - p)^10: at p = 1 - 0.05^(1/10) = 0.259 that is 0.05.
    assert float(upper_rate(0, 10, 0.05)) == pytest.approx(1 - 0.05**0.1)
    assert float(lower_rate(10, 10, 0.05)) == pytest.approx(0.05**0.1)
    assert float(lower_rate(0, 10, 0.05)) == 0.0
    assert float(upper_rate(10, 10, 0.05)) == 1.0


def test_epsilon_of_rates_is_that_of_the_definition() -> None:
    # 0.3 <= e^epsilon 0.1 + 0.1 holds from e^epsilon = 2 on.
    assert Rates(0.3, 0.1).epsilon(0.1) == pytest.approx(math.log(2))
    assert Rates(0.05, 0.1).epsilon(0.1) == 0.0
    assert Rates(0.1, 0.1).epsilon(0.0) == 0.0


@pytest.mark.parametrize(
    ("canaries", "guesses", "right", "delta", "published"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],
)
def test_the_one_run_bound_gives_the_numbers_of_its_paper(
    canaries: int, guesses: int, right: int, delta: float, published: float
) -> None:
    # Steinke, Nasr and Jagielski 2023, appendix D and section 7, both at 95 % confidence.
    assert guesses_epsilon(canaries, guesses, right, delta, 0.05) == pytest.approx(published, abs=1e-3)


def test_one_run_bound_holds_for_randomized_response() -> None:
    # Randomised response tells membership rightly with probability e / (1 + e): epsilon is exactly 1.
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(300):
        is_right = rng.random(2000) < math.e / (1 + math.e)
        is_member = rng.random(2000) < 0.5
        answers = np.where(is_right == is_member, 1.0, 0.0) + rng.random(2000) / 10
        found = one_run_epsilon(Scores(answers[is_member], answers[~is_member]), 0.0, 0.1)
        assert found > 0.5
        beyond += found > 1
    # At most 30 are expected, give or take sqrt(300 x 0.1 x 0.9) = 5.2; four deviations more are 51.
    assert beyond <= 51


def test_bounds_of_a_known_mechanism_have_their_confidence() -> None:
    curve_is_broken = direct_is_beyond = 0
    for seed in range(100):
        scores = gaussian_scores(1000, seed)
        curve_is_broken += contradicts(scores, [GAUSSIAN], 0.1)
        direct_is_beyond += direct_epsilon(scores, DELTA, 0.1) > GAUSSIAN_EPSILON
    # At most 10 are expected, give or take sqrt(100 x 0.1 x 0.9) = 3; four deviations more are 22.
    assert curve_is_broken <= 22
    assert direct_is_beyond <= 22


def test_bounds_on_a_known_mechanism_come_near_its_epsilon() -> None:
    scores = gaussian_scores(40_000, 1)
    assert 0.85 * GAUSSIAN_EPSILON < implied_epsilon(scores, [GAUSSIAN], DELTA, 1e-5) < GAUSSIAN_EPSILON
    assert 0.45 * GAUSSIAN_EPSILON < direct_epsilon(scores, DELTA, 1e-5) < GAUSSIAN_EPSILON


def test_half_the_noise_is_flagged_and_the_right_noise_is_not() -> None:
    for seed in range(20):
        assert contradicts(gaussian_scores(1000, seed, std=0.5), [GAUSSIAN], 1e-5)
        assert not contradicts(gaussian_scores(1000, seed), [GAUSSIAN], 1e-5)
    finding = judge(Trials("half", "", (GAUSSIAN,), gaussian_scores(1000, 0, std=0.5)), DELTA, 1e-5)
    assert finding.is_refuted
    assert finding.implied > finding.claimed == pytest.approx(GAUSSIAN_EPSILON, abs=1e-2)


def test_mechanism_without_noise_is_refuted_by_a_number() -> None:
    finding = judge(Trials("bare", "", (GAUSSIAN,), Scores(np.ones(500), np.zeros(500))), DELTA, 1e-5)
    assert finding.is_refuted
    assert math.isfinite(finding.implied)


def test_an_attack_that_learns_nothing_proves_nothing() -> None:
    rng = np.random.default_rng(0)
    blind = Scores(rng.normal(size=2000), rng.normal(size=2000))
    finding = judge(Trials("blind", "", (GAUSSIAN,), blind, is_coin=True), DELTA, 1e-4)
    assert (finding.direct, finding.one_run) == (0.0, 0.0)
    assert finding.implied < 0.5
    assert not finding.is_refuted


def test_what_promises_nothing_cannot_be_audited() -> None:
    with pytest.raises(ValueError, match="no accountant knows"):
        implied_epsilon(gaussian_scores(100, 0), [GAUSSIAN, Unprotected()], DELTA, 0.1)


def test_the_promised_curve_is_that_of_a_gaussian() -> None:
    curve = Curve.of([GAUSSIAN])
    # The best test of two normal numbers one deviation apart: 0.05 false alarms are the threshold 1.645, and
    # P[N(1, 1) > 1.645] = P[N(0, 1) > 0.645] = 0.2595.
    assert curve.most_hits(0.05) == pytest.approx(0.2595, rel=0.02)
    assert curve.most_hits(0.05) > 0.2594


def test_canary_moves_one_weight_by_the_clip() -> None:
    net, width = steep_network(10), 10
    with_two = noisy_gradient(
        net,
        canary_rows(np.array([2, 4]), width),
        torch.zeros(0, width),
        DpSgdStep(0.5, 1e-6, 1),
        SeededNoise(0),
    )
    own = with_two[0][0].numpy()
    assert own[[2, 4]] == pytest.approx([-0.5, -0.5], abs=1e-4)
    rest = [float(np.abs(np.delete(own, [2, 4])).max()), *(float(part.abs().max()) for part in with_two[1:])]
    assert max(rest) < 2e-3


def test_every_canary_is_a_trial_and_about_half_of_them_are_in() -> None:
    steps = Steps(noise_multiplier=3.0, sample_rate=0.25, steps=2, clip=1.0, batch=10)
    scores = attack_run(steps, SecureNoise(), np.random.default_rng(0), canaries=200)
    assert len(scores) == 200
    assert 60 < len(scores.present) < 140
    assert DECOYS > 1


def test_rounds_attack_reads_replies_and_charges() -> None:
    study = round_study(epsilon=6.0, rounds=2, steps=3, canaries=100)
    scores, events = attack_rounds(study, SeededNoise(0), np.random.default_rng(0), canaries=100)
    assert len(scores) == 100
    assert [type(event) for event in events] == [DpSgdRun, DpSgdRun]
    assert {event.steps for event in events if isinstance(event, DpSgdRun)} == {3}
    assert scores.present.mean() > scores.absent.mean()


def test_exact_vectors_differ_by_one_patient() -> None:
    study = small_study()
    present, absent = shards_with_and_without(study, "north", 90)
    nodes = histogram_max_changed_cells(study.table, make_plan(study).cells)
    one_patient = present.histograms(make_plan(study).cells) - absent.histograms(make_plan(study).cells)
    assert (one_patient.min(), one_patient.sum()) == (0, nodes)
    vectors = {vector.phase: vector for vector in exact_vectors(study, "north", present, absent)}
    assert set(vectors) >= {HISTOGRAMS, COARSE}
    for vector in vectors.values():
        change = vector.present - vector.absent
        assert vector.sigma > 0
        assert isinstance(vector.event, DiscreteGaussianVector)
        assert (vector.sigma, np.abs(change).max()) <= (vector.event.sigma, vector.event.largest_change)
        if vector.phase == HISTOGRAMS:
            assert set(change.tolist()) == {0, 1}
            assert change.sum() == nodes
        else:
            assert 0 < (change**2).sum() <= vector.event.squared_sensitivity
    # Of six pairs that weigh 72, four are centered along one column of two labels and one along two; and the total.
    coarse = vectors[COARSE].present - vectors[COARSE].absent
    assert (coarse**2).sum() == 72**2 * (1 + 4 / 2 + 1 / 4) + coarse[0] ** 2
    planned = vectors[COARSE].event
    assert isinstance(planned, DiscreteGaussianVector)
    assert (coarse**2).sum() >= 0.97 * planned.squared_sensitivity


def test_records_of_an_omop_study_differ_by_one_patient() -> None:
    study = omop_study().with_hospitals((HospitalFacts(name="north", declared_rows=60),), cap_minimum=True)
    present, absent = shards_with_and_without(study, "north", 60)
    cells = make_plan(study).cells
    one_patient = present.histograms(cells) - absent.histograms(cells)
    assert (one_patient.min(), one_patient.sum()) == (0, histogram_max_changed_cells(study.table, cells))


def test_weighted_vectors_hold_what_is_claimed() -> None:
    study = small_study(privacy={"epsilon": 1.0})
    vectors = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))
    (coarse,) = [vector for vector in vectors if vector.phase == COARSE]
    assert isinstance(coarse.event, DiscreteGaussianVector)
    assert coarse.event.largest_change > 1
    scores = repeat_release(coarse, SeededNoise(0), np.random.default_rng(0), 4000)
    assert not contradicts(scores, [coarse.event], 1e-5)
    # With a quarter of the noise the claim is refuted.
    loud = replace(coarse, sigmas=(coarse.sigma / 4,))
    assert contradicts(repeat_release(loud, SeededNoise(1), np.random.default_rng(1), 4000), [coarse.event], 1e-5)


def test_implied_epsilon_of_weights_goes_below_their_least_noise() -> None:
    event = DiscreteGaussianVector(least_noise(6), 6**2 * 9, 6)  # nine tables of weight 6
    multiplier = event.sigma / 18
    rng = np.random.default_rng(0)
    mean = 1 / (2 * (multiplier / 3) ** 2)  # a third of the noise that is claimed
    scores = Scores(rng.normal(mean, (2 * mean) ** 0.5, 20_000), rng.normal(-mean, (2 * mean) ** 0.5, 20_000))
    assert contradicts(scores, [event], 1e-5)
    implied = implied_epsilon(scores, [event], DELTA, 1e-5)
    actual = epsilon([DpSgdRun(multiplier / 3, 1.0, 1)], DELTA)
    assert epsilon([event], DELTA) < implied <= actual


def test_secure_counts_have_the_least_noise_of_weights() -> None:
    study = small_study(privacy={"epsilon": 1.0}, training={"rounds": 0})
    vectors = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))
    audits = Attacks(study, make_plan(study), 0, SMALL, ignore)
    for vector in vectors[:2]:
        attack = audits._secure_counts(vector)
        (event,) = attack.events
        assert isinstance(vector.event, DiscreteGaussianVector)
        bounds = vector.event.squared_sensitivity, vector.event.largest_change
        assert event == DiscreteGaussianVector(max(QUIET_SIGMA, least_noise(bounds[1])), *bounds)
        assert not contradicts(attack.scores, attack.events, 1e-5)


def test_a_vector_whose_length_tells_the_patient_is_refuted() -> None:
    vector = Vector(COARSE, np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int64), (5.0,), GAUSSIAN)
    scores = repeat_release(vector, SeededNoise(0), np.random.default_rng(0), 1000)
    assert contradicts(scores, [GAUSSIAN], 1e-5)


def test_an_attack_on_many_counts_is_not_blurred_by_its_decoys() -> None:
    counts = 1000
    event = DiscreteGaussianVector(15.0, counts)  # mu = sqrt(1000) / 15 = 2.1
    present = np.repeat(np.array([1, 0]), [counts, 2 * counts])
    vector = Vector(COARSE, present, np.zeros_like(present), (event.sigma,), event)
    scores = repeat_release(vector, SeededNoise(0), np.random.default_rng(0), 4000)
    assert not contradicts(scores, [event], 1e-5)
    assert implied_epsilon(scores, [event], DELTA, 1e-5) > 0.4 * epsilon([event], DELTA)


def test_two_releases_about_one_patient_prove_more_than_either() -> None:
    # The log-likelihood ratio of N(1, 1) against N(0, 1) is x - 1/2.
    attacks = []
    for seed in (1, 2):
        drawn = gaussian_scores(20_000, seed)
        attacks.append(Trials("one", "", (GAUSSIAN,), Scores(drawn.present - 0.5, drawn.absent - 0.5)))
    both = judge(composed("both", "", attacks), DELTA, 1e-5)
    one = judge(attacks[0], DELTA, 1e-5)
    assert one.claimed < both.claimed
    assert one.epsilon_lower < both.epsilon_lower < both.claimed


def test_the_audited_table_is_public_or_drawn_from_the_schema() -> None:
    assert len(public_table(built_in_study(), "hungary", 0)) == 294
    drawn = public_table(small_study(), "north", 50)
    assert (len(drawn), tuple(drawn.columns)) == (50, small_study().table.names)
    assert outlier(small_study().table).iloc[0].tolist() == ["100", "20.0", "male", "yes"]


SMALL = Effort(runs=2, quiet_runs=1, round_runs=1, step_runs=1, releases=400, secure_releases=50, tables=10)


@pytest.mark.slow
def test_an_audit_judges_every_attack_and_repeats_with_its_seed() -> None:
    study = small_study(training={"rounds": 2, "steps": 2})
    reports = [audit(study, seed=3, effort=SMALL) for _ in range(2)]
    names = [finding.name for finding in reports[0].findings]
    assert names == [
        "dp-sgd",
        "little noise",
        "little noise, secure",
        "replies",
        "synchronous, secure",
        HISTOGRAMS,
        COARSE,
        *(["pairs"] if "pairs" in names else []),
        f"{HISTOGRAMS}, secure",
        "whole run",
        "votes",
        "classes",
        "evaluation",
        "synthetic tables",
    ]
    assert not reports[0].is_refuted
    whole = next(finding for finding in reports[0].findings if finding.name == "whole run")
    assert whole.claimed == pytest.approx(study.privacy.epsilon, rel=1e-2)
    seeded = [
        [(finding.direct, finding.implied) for finding in report.findings if "secure" not in finding.name]
        for report in reports
    ]
    assert seeded[0] == seeded[1]
    document = json.loads(json.dumps(reports[0].as_document(), allow_nan=False))
    assert document["is_refuted"] is False
    assert {"claimed", "epsilon_lower", "ratio_direct", "ratio_family", "trials", "confidence", "seconds"} <= document[
        "findings"
    ][0].keys()


def test_a_study_without_noise_claims_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(small_study(privacy={"noise": "none"}).to_toml(), encoding="utf-8")
    done = CliRunner().invoke(app, ["audit", "--study", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2


@pytest.mark.slow
def test_command_writes_figures_of_an_unrefuted_study(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(small_study(training={"rounds": 0}).to_toml(), encoding="utf-8")
    done = CliRunner().invoke(app, ["audit", "--study", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert document["study"] == "clinic"
    assert "not refuted" in document["verdict"]


def test_a_refuted_claim_ends_the_command_with_code_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = judge(Trials("bare", "", (GAUSSIAN,), Scores(np.ones(500), np.zeros(500))), DELTA, 1e-5)
    report = Report("clinic", "0" * 64, "north", 0, 0.999, 1.0, 1.0, (bare,))
    monkeypatch.setattr("simulations.audit.run.audit", lambda study, **_: report)
    path = tmp_path / "study.toml"
    path.write_text(small_study().to_toml(), encoding="utf-8")
    done = CliRunner().invoke(app, ["audit", "--study", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "REFUTED: the attack proves more epsilon than is claimed for bare" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (EnrollReply("north", Reason.STUDY_NOT_APPROVED, 0, ""), Reason.STUDY_NOT_APPROVED),
        (Unavailable("north"), Reason.UNAVAILABLE),
    ],
)
def test_a_hospital_that_declines_is_not_attacked(
    reply: Reply, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small_study(training={"rounds": 0})
    monkeypatch.setattr(Hospital, "handle", lambda self, request: reply)
    with (
        pytest.raises(PolicyRefusal) as refusal,
        throwaway_hospitals(study, {"north": lambda _: pytest.fail("read")}, lambda _: SecureNoise()),
    ):
        pytest.fail("it was attacked")
    assert refusal.value.reason == reason


@pytest.mark.slow
def test_the_command_fails_where_a_claim_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS["one number of noise for all counts"](monkeypatch)
    path = tmp_path / "study.toml"
    path.write_text(small_study(training={"rounds": 0}).to_toml(), encoding="utf-8")
    done = CliRunner().invoke(app, ["audit", "--study", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    document = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert document["verdict"].startswith("REFUTED")
    refuted = {finding["name"] for finding in document["findings"] if finding["is_refuted"]}
    assert refuted >= {HISTOGRAMS, COARSE, "whole run"}
    assert f"{HISTOGRAMS}, secure" not in refuted
