from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import DataError
from common.evaluation.attacks.catalog import ATTACKS, run_attacks, why_no_attacks
from common.evaluation.attacks.conclusions import _judge, _sentence, privacy_of
from common.evaluation.attacks.embedding import baseline_table, cells_of, closest, embed
from common.evaluation.attacks.outcome import Outcome, TargetScores, conclude
from common.evaluation.attacks.results import (
    AttackFinding,
    AttackResult,
    PrivacyEvidence,
    Risk,
    auroc_bound,
    true_positive_bound,
)
from common.evaluation.attacks.setup import prepare
from common.evaluation.attacks.shadow import attack_with_shadows
from common.evaluation.statistics.intervals import Estimate, auroc, wilson
from common.run_events.events import Progressed, RunEvent
from common.study.schema import Schema
from tests.testbeds.leaking_synthesizers import SCHEMA, attacked, copied, independent, partly_copied, population

SEEDS = (0, 1, 2)


def assess_privacy(
    train: pd.DataFrame, control: pd.DataFrame, synthetic: pd.DataFrame, *, seed: int = 0, **promise: float
) -> PrivacyEvidence:
    data = attacked(train, control, synthetic, **promise)
    return privacy_of(data, run_attacks(data, seed=seed) if why_no_attacks(data) is None else None)


def tables(seed: int, rows: int = 400, unseen: int = 300) -> tuple[pd.DataFrame, pd.DataFrame]:
    return population(rows, 2 * seed), population(unseen, 2 * seed + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_attack_flags_copied_training_rows(seed: int) -> None:
    train, control = tables(seed)
    evidence = assess_privacy(train, control, copied(train, seed), seed=seed)
    assert [attack.name for attack in evidence.attacks] == list(ATTACKS)
    assert [attack.name for attack in evidence.attacks if not attack.all_records.is_flagged] == []
    assert evidence.is_flagged
    assert "6 of 6 attacks work" in evidence.verdict


@pytest.mark.parametrize("seed", SEEDS)
def test_no_attack_flags_an_independent_table(seed: int) -> None:
    train, control = tables(seed)
    evidence = assess_privacy(train, control, independent(train, seed), seed=seed)
    assert [attack.name for attack in evidence.attacks if attack.is_flagged] == []
    assert not evidence.is_flagged
    assert "None of 6 attacks" in evidence.verdict
    assert len([attack for attack in evidence.attacks if attack.may_work]) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_no_attack_flags_the_baseline_table(seed: int) -> None:
    train, control = tables(seed)
    noise = pd.DataFrame(baseline_table(SCHEMA, 400, np.random.default_rng(seed)).values, columns=list(SCHEMA.names))
    for column in SCHEMA.each():
        if isinstance(column, Categorical):
            noise[column.name] = np.array(column.categories, dtype=object)[noise[column.name].astype(int)]
    assert not assess_privacy(train, control, noise, seed=seed).is_flagged


@pytest.mark.parametrize("seed", SEEDS)
def test_attacks_flag_one_copied_row_in_twenty(seed: int) -> None:
    train, control = tables(seed, rows=1500, unseen=1000)
    evidence = assess_privacy(train, control, partly_copied(train, seed), seed=seed)
    flagged = {attack.name for attack in evidence.attacks if attack.is_flagged}
    assert {"membership_distance", "linkability", "singling_out_combination"} <= flagged


def found(risk: tuple[float, float], *, is_flagged: bool = False) -> AttackFinding:
    rate = wilson(1, 10)
    residual_risk = Estimate(sum(risk) / 2, *risk, 100)
    return AttackFinding(Risk(rate, rate, rate, residual_risk), None, is_flagged)


def result(name: str, all_records: AttackFinding, outliers: AttackFinding | None = None) -> AttackResult:
    attack = ATTACKS[name]
    return AttackResult(name, attack.title, attack.kind, attack.meaning, all_records, outliers, "")


def test_conclude_never_calls_an_open_risk_chance() -> None:
    # 60 of 400 against 16 of 200: an residual_risk of 0.08, from 0.02 to 0.13; at level 0.999 from below 0.
    arms = [np.arange(count) < hits for hits, count in ((60, 400), (16, 200), (32, 400))]
    train, control, baseline = (TargetScores(np.arange(len(arm)), arm.astype(float)) for arm in arms)
    finding = conclude("risk", Outcome(train, control, baseline, TargetScores(np.arange(0), np.empty(0))), None)
    assert finding.risk is not None
    assert finding.risk.residual_risk.low > 0
    assert finding.may_work
    assert not finding.is_flagged
    words = _sentence(ATTACKS["linkability"], finding)
    assert words.startswith("Linkability may work: it succeeds on 15% of training patients and 8% of others")
    assert "chance" not in words


def test_conclude_says_membership_may_work_between_levels() -> None:
    # Half of the rows score higher by 40 of 300 places: the AUROC is 0.57, from 0.52 to 0.61; at level 0.999 from 0.49.
    scores = np.arange(300.0)
    train, control = (TargetScores(np.arange(300), scores + shift * (scores < 150)) for shift in (40.0, 0.0))
    finding = conclude("membership", Outcome(train, control, control, control), None)
    assert finding.may_work
    assert "may recognize training patients" in _sentence(ATTACKS["membership_distance"], finding)


def test_judge_counts_open_attacks_and_names_the_largest_risk() -> None:
    none, some = found((-0.1, 0.1)), found((0.01, 0.2))
    quiet = result("linkability", none), result("attribute_inference", none, found((-0.2, 0.3)))
    assert _judge(quiet) == (
        "None of 2 attacks tells training patients from others. The largest risk that the measurements leave open is "
        "0.30 (attribute inference, on outlier records). Attacks can show a leak, never its absence."
    )
    assert "is shown to tell training patients from others; 1 may (singling out, one column)" in _judge(
        (*quiet, result("singling_out_value", none, some))
    )
    works = result("singling_out_combination", found((0.2, 0.4), is_flagged=True))
    assert _judge((result("linkability", some), works)) == (
        "1 of 2 attack works (singling out, several columns): this table reveals training patients. "
        "1 more may work (linkability)."
    )


def test_attacks_flag_nothing_for_unequal_arms() -> None:
    # A predicate isolates somebody of many more easily or less easily than of few: the pool must be the same.
    for seed in SEEDS:
        train, control = tables(seed, rows=800, unseen=100)
        assert not assess_privacy(train, control, independent(train, seed), seed=seed).is_flagged


@pytest.mark.slow
def test_attack_intervals_cover_the_truth_without_a_leak() -> None:
    repetitions, tests = 200, {name: [0, 0] for name in ATTACKS}
    flagged = 0
    for seed in range(repetitions):
        train, control = tables(1000 + seed, rows=300, unseen=200)
        evidence = assess_privacy(train, control, independent(train, 1000 + seed), seed=seed)
        flagged += evidence.is_flagged
        for attack in evidence.attacks:
            risk, membership = attack.all_records.risk, attack.all_records.membership
            truth = 0.0 if risk is not None else 0.5
            estimate = risk.residual_risk if risk is not None else membership.auroc if membership is not None else None
            assert estimate is not None
            tests[attack.name][0] += estimate.low <= truth <= estimate.high
            tests[attack.name][1] += 1
    for covered, total in tests.values():
        assert covered / total > 0.95 - 3 * (0.95 * 0.05 / repetitions) ** 0.5
    assert flagged <= 6  # 1 in 150 expected, so 1.3; more than 6 with probability 0.0004


def test_closest_finds_a_copied_row_at_distance_zero() -> None:
    train, _ = tables(0)
    cells = cells_of(train, SCHEMA)
    embedding = embed(cells, SCHEMA)
    points = embedding.points(cells)
    places, distances = closest(points[::3], points)
    np.testing.assert_array_equal(places, np.arange(0, 400, 3))
    assert not distances.any()


def test_closest_in_tiles_is_the_closest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    queries, points = rng.random((70, 3)), rng.random((90, 3))
    distances = np.sqrt(((queries[:, None] - points[None]) ** 2).sum(axis=2))
    monkeypatch.setattr("common.evaluation.attacks.embedding.TILE", (16, 32))
    for neighbor in (1, 2):
        places, found = closest(queries, points, neighbor=neighbor)
        np.testing.assert_array_equal(places, np.argsort(distances, axis=1)[:, neighbor - 1])
        np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, neighbor - 1])


def test_closest_row_of_a_long_table_is_that_of_a_copied_one(monkeypatch: pytest.MonkeyPatch) -> None:
    train, control = tables(0)
    setup = prepare(attacked(train, control, independent(train, 0)), seed=0)
    attacker = setup.synthetic
    targets = attacker.embedding.points(setup.train.rows(setup.train_targets))
    rows = attacker.embedding.points(attacker.cells)
    np.testing.assert_allclose(attacker.to_train, closest(targets, rows)[1])  # left-out coordinates count as well
    assert len(attacker.used) < targets.shape[1]
    columns = np.array([0, 2])
    copied = attacker.closest_in(columns, targets)
    monkeypatch.setattr("common.evaluation.attacks.setup.MOST_COPIED", 1)
    np.testing.assert_array_equal(attacker.closest_in(columns, targets), copied)
    monkeypatch.setattr("common.evaluation.attacks.setup.COPIED_FOR", 10_000)
    known = attacker.embedding.coordinates(columns)
    first, second = (
        ((rows[places][:, known] - targets[:, known]) ** 2).sum(axis=1)
        for places in (copied, attacker.closest_in(columns, targets))
    )
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_embedding_distances_count_differing_columns() -> None:
    schema = Schema(
        columns=(
            Numeric(name="age", lower=0, upper=10, missing=True),
            Categorical(name="sex", categories=("f", "m")),
            Categorical(name="ill", categories=("no", "yes"), missing=True),
        )
    )
    table = pd.DataFrame({"age": [1.0, 2.0, np.nan], "sex": ["f", "m", "f"], "ill": ["no", "no", None]})
    cells = cells_of(table, schema)
    embedding = embed(cells, schema)
    points = embedding.points(cells)
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    # Ages rank at 1/4 and 3/4 of the two present ones; a missing age lies in the middle, one aside.
    assert squares[0, 1] == pytest.approx(0.25 + 1)  # ages and sexes differ
    assert squares[0, 2] == pytest.approx((1 + 0.25**2) + 1)  # age is missing, illness is missing
    np.testing.assert_allclose(closest(points, points, neighbor=2)[1] ** 2, [1.25, 1.25, 2.0625])


def test_density_attack_scores_the_other_half_of_held_out_rows() -> None:
    train, control = tables(0)
    attempts = run_attacks(attacked(train, control, independent(train, 0)))
    outcome = attempts.outcomes["membership_density"]
    assert not attempts.setup.is_reference[outcome.control.targets].any()
    assert len(outcome.control.targets) == 150


def test_prepare_flags_isolated_rows_as_outliers() -> None:
    train, control = tables(0)
    train.loc[:9, ["n0", "n2", "n4", "n6"]] = [[0.0, 100.0, 0.0, 100.0]] * 10
    train.loc[:9, ["c1", "c3", "c5", "c7"]] = [["a", "d", "a", "d"]] * 10
    twins = prepare(attacked(train, control, independent(train, 0)), seed=0)
    assert not twins.outliers[0][:10].any()  # ten alike are not alone, however strange
    loner, _ = tables(0)
    loner.loc[0] = train.loc[0]
    setup = prepare(attacked(loner, control, independent(loner, 0)), seed=0)
    assert setup.outliers[0][0]
    assert 0.09 < np.concatenate(setup.outliers).mean() < 0.11


def test_privacy_notes_a_shift_between_the_arms() -> None:
    train, control = tables(0)
    control["n0"] = 95.0
    control["c1"] = "d"
    evidence = assess_privacy(train, control, independent(train, 0))
    assert any("differ systematically" in note for note in evidence.notes)


def test_privacy_claims_nothing_with_too_few_rows() -> None:
    train, control = tables(0)
    evidence = assess_privacy(train, control.head(0), copied(train, 0), epsilon=1.0, delta=1e-5)
    assert evidence.attacks == ()
    assert evidence.verdict == "No attack was run, so nothing is known."
    assert evidence.notes == ("Attacks need 20 training rows and as many held-out rows; there are 0 held-out.",)


def test_data_refuses_a_table_without_a_column() -> None:
    train, control = tables(0)
    with pytest.raises(DataError, match="synthetic table lacks column 'n0'"):
        run_attacks(attacked(train, control, train.drop(columns="n0")))


def test_attacks_handle_missing_cells_and_unlisted_labels() -> None:
    train, control = tables(0)
    for table in (train, control):
        table.loc[::7, "n0"] = np.nan
        table.loc[::5, "c1"] = None
    synthetic = copied(train, 0)
    synthetic.loc[3, "c3"] = "unlisted"
    assert "6 of 6" in assess_privacy(train, control, synthetic).verdict


def test_same_seed_gives_same_evidence_as_json() -> None:
    train, control = tables(0)
    data = attacked(train, control, partly_copied(train, 0), epsilon=2.0, delta=1e-5)
    events: list[RunEvent] = []
    first, second = (privacy_of(data, run_attacks(data, emit=events.append)) for _ in range(2))
    assert first == second
    document = json.loads(json.dumps(first.as_document(), allow_nan=False))
    assert [entry["name"] for entry in document["attacks"]] == list(ATTACKS)
    assert document["attacks"][0]["all_records"]["membership"]["points"][0]["allowed"] == 0.01
    assert events[0] == Progressed(task="attacks", done=0, total=7)
    assert events[-1] == Progressed(task="attacks", done=7, total=7)
    assert "prove nothing" in document["closest"]["note"]


def test_closest_records_tell_copies_apart() -> None:
    train, control = tables(0)
    closest_of_copies = assess_privacy(train, control, copied(train, 0)).closest
    assert closest_of_copies is not None
    assert closest_of_copies.identical_train.low > 0.5
    assert closest_of_copies.identical_control.value == 0
    assert closest_of_copies.nearer_to_train.low > 0.6


def test_true_positive_bound_follows_epsilon_and_delta() -> None:
    assert true_positive_bound(0.0, 0.0, 0.01) == pytest.approx(0.01)
    assert true_positive_bound(np.log(2), 0.1, 0.01) == pytest.approx(0.12)  # 2 * 0.01 + 0.1
    assert true_positive_bound(np.log(2), 0.0, 0.8) == pytest.approx(0.9)  # 1 - (1 - 0.8) / 2, below 2 * 0.8
    assert true_positive_bound(np.inf, 0.0, 0.0) == 1


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.1), (3.0, 1e-5)])
def test_auroc_bound_is_the_area_below_the_curve_bound(epsilon: float, delta: float) -> None:
    rates = np.linspace(0, 1, 20_001)
    heights = np.array([true_positive_bound(epsilon, delta, rate) for rate in rates])
    area = float(((heights[1:] + heights[:-1]) / 2).sum() / 20_000)
    assert auroc_bound(epsilon, delta) == pytest.approx(area, abs=1e-4)


def test_randomized_membership_reaches_the_bound_and_no_more() -> None:
    # Randomized response at epsilon = log 3 tells the truth in 3 of 4 cases: AUROC 3/4.
    assert auroc_bound(np.log(3), 0.0) == pytest.approx(0.75)


@pytest.mark.parametrize(("maker", "leaks"), [(copied, True), (independent, False)])
@pytest.mark.parametrize("seed", SEEDS)
def test_shadows_tell_a_leaky_synthesizer_from_a_safe_one(
    maker: Callable[[pd.DataFrame, int], pd.DataFrame], leaks: bool, seed: int
) -> None:
    train, control = tables(seed, rows=200, unseen=200)
    result = attack_with_shadows(attacked(train, control, maker(train, seed)), maker, seed=seed, shadows=8)
    assert result.is_flagged == leaks


def test_shadows_match_distance_for_a_weak_leak() -> None:
    # One row in five is copied; every patient's own gap over eight shadows is mostly noise.
    def maker(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
        return partly_copied(rows, seed, 0.2)

    areas = []
    for seed in range(4):
        train, control = tables(seed, rows=300, unseen=200)
        synthetic = maker(train, seed)
        result = attack_with_shadows(attacked(train, control, synthetic), maker, seed=seed, shadows=8)
        setup = prepare(attacked(train, control, synthetic), seed=seed)
        plain = auroc(-setup.synthetic.to_train, -setup.synthetic.to_control)
        assert result.all_records.membership is not None
        areas.append((result.all_records.membership.auroc.value, plain.value))
    shadow, distance = np.mean(areas, axis=0)
    assert shadow > distance - 0.02


@pytest.mark.parametrize("role", ["training", "held-out", "synthetic"])
def test_prepare_refuses_a_table_of_one_row(role: str) -> None:
    whole = population(30, 0)
    rows = {name: whole.head(1) if name == role else whole for name in ("training", "held-out", "synthetic")}
    with pytest.raises(DataError, match=f"the {role} table has 1 rows; attacks need 2"):
        prepare(attacked(rows["training"], rows["held-out"], rows["synthetic"]), seed=0)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((19, 20, 20), "there are 19 training"),
        ((20, 19, 20), "there are 19 held-out"),
        ((20, 20, 1), "Attacks need 2 synthetic rows; there are 1"),
    ],
)
def test_why_no_attacks_names_the_table_with_too_few_rows(rows: tuple[int, int, int], reason: str) -> None:
    train, control, synthetic = (population(count, seed) for seed, count in enumerate(rows))
    assert reason in (why_no_attacks(attacked(train, control, synthetic)) or "")
    assert why_no_attacks(attacked(population(20, 0), population(20, 1), population(2, 2))) is None


def test_shadows_refuse_fewer_than_four() -> None:
    train, control = tables(0)
    with pytest.raises(ValueError, match="shadows=2 is below 4"):
        attack_with_shadows(attacked(train, control, train), copied, shadows=2)
