from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.arrays import Integers
from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.attacks.catalog import ATTACKS, run_attacks
from common.evaluation.fairness.compare import assess_fairness
from common.evaluation.fairness.group_values import FEWEST_ROWS
from common.evaluation.fairness.groups import groups_of
from common.evaluation.fairness.measures import attack_measures, fidelity_measures, utility_measures
from common.evaluation.fairness.results import FairnessEvidence, PatientMeasure, TableMeasure
from common.evaluation.measures.analysis import Analysis
from common.evaluation.statistics.data import EvaluationData
from common.evaluation.statistics.intervals import Statistic, weighted_mean
from common.study.schema import Schema
from tests.testbeds.leaking_synthesizers import SCHEMA, attacked, independent, population

PEOPLE = Schema(
    columns=(
        Numeric(name="age", lower=18, upper=98, unit="years", missing=True),
        Categorical(name="sex", categories=("f", "m", "x"), missing=True),
    )
)


def people(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"age": rng.integers(18, 99, rows).astype(float), "sex": rng.choice(["f", "m"], rows).astype(object)}
    )


def compared(table: pd.DataFrame, synthetic: pd.DataFrame, name: str) -> EvaluationData:
    return EvaluationData(table, table.head(0), synthetic, PEOPLE, "sex", sensitive=(name,))


def by_fidelity(data: EvaluationData, seed: int = 0) -> FairnessEvidence:
    return assess_fairness(data, fidelity_measures(data), seed=seed)


def measure_of(table: pd.DataFrame, values: np.ndarray) -> PatientMeasure:
    def statistic(places: Integers) -> Statistic:
        return weighted_mean(values[places])

    return PatientMeasure("hit", "Hit", "higher", 0.0, 1.0, table, np.zeros(len(table), dtype=np.int64), statistic)


def test_groups_of_numbers_are_quarters_of_the_bounds() -> None:
    table = pd.DataFrame({"age": [18.0, 37.0, 38.0, 77.0, 78.0, 98.0, np.nan], "sex": ["f"] * 7})
    names, codes = groups_of(table, PEOPLE, "age")
    assert names == [
        "18 to below 38 years",
        "38 to below 58 years",
        "58 to below 78 years",
        "78 to 98 years",
        "missing",
    ]
    assert codes.tolist() == [0, 0, 1, 2, 3, 3, 4]


def test_groups_of_labels_include_missing() -> None:
    names, codes = groups_of(pd.DataFrame({"age": [18.0] * 4, "sex": ["m", None, "x", "f"]}), PEOPLE, "sex")
    assert names == ["f", "m", "x", "missing"]
    assert codes.tolist() == [1, 3, 2, 0]


def test_compare_finds_a_known_gap_and_its_worst_group() -> None:
    table = people(600)
    hit = (np.random.default_rng(1).random(600) < np.where(table["sex"] == "f", 0.9, 0.5)).astype(float)
    found = assess_fairness(compared(table, table, "sex"), [measure_of(table, hit)])
    comparison = found.columns[0].comparisons[0]
    assert (comparison.best, comparison.worst) == ("f", "m")
    assert comparison.gap.low < 0.4 < comparison.gap.high
    assert comparison.is_flagged
    assert "Hit differs between groups" in comparison.verdict
    assert "hit by sex" in found.verdict
    json.dumps(found.as_document(), allow_nan=False)


def test_compare_seldom_flags_equal_groups() -> None:
    table, rng = people(400), np.random.default_rng(2)
    flagged, covered = 0, 0
    for seed in range(100):
        hit = (rng.random(400) < 0.3).astype(float)
        found = assess_fairness(compared(table, table, "age"), [measure_of(table, hit)], seed=seed)
        flagged += found.columns[0].comparisons[0].is_flagged
        covered += found.columns[0].comparisons[0].gap.low == 0
    assert flagged <= 3  # at most 1 in 200 expected
    assert covered >= 88  # at least 95 expected


def test_compare_lists_small_groups_without_measuring_them() -> None:
    table = people(300)
    table.loc[: FEWEST_ROWS - 2, "sex"] = "x"
    found = assess_fairness(compared(table, table, "sex"), [measure_of(table, np.zeros(300))]).columns[0]
    assert [group.group for group in found.comparisons[0].groups] == ["f", "m"]
    assert found.too_small == (f"x: fewer than {FEWEST_ROWS} patients to judge by",)


def test_compare_lists_groups_without_synthetic_rows() -> None:
    table = people(300)
    synthetic = table[table["sex"] == "f"].reset_index(drop=True)
    found = by_fidelity(compared(table, synthetic, "sex")).columns[0]
    assert found.too_small == ("m: no synthetic rows",)
    assert found.comparisons == ()
    label = "Distance of single columns beyond that of real rows"
    assert found.notes[0] == f"{label}: fewer than two groups are large enough to compare."


def test_compare_does_not_penalize_small_groups() -> None:
    # Distances of 60 rows are larger than those of 1,000: about 0.2 against 0.05 here.
    flagged = 0
    for seed in range(20):
        table, synthetic = people(1060, 2 * seed), people(1060, 2 * seed + 1)
        for rows in (table, synthetic):
            rows["sex"] = np.where(np.arange(1060) < 60, "f", "m")
        measures = fidelity_measures(compared(table, synthetic, "sex"))[:1]
        flagged += assess_fairness(compared(table, synthetic, "sex"), measures).columns[0].comparisons[0].is_flagged
    assert flagged <= 2


def varied_and_constant(rows: int, seed: int, ruined: str = "") -> pd.DataFrame:
    """Ages of women vary, of men nearly all are 50; a third of the ruined group's are 98."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], rows).astype(object)
    is_fifty = (sex == "m") & (rng.random(rows) < 0.9)
    age = np.where(is_fifty, 50.0, rng.integers(18, 99, rows))
    return pd.DataFrame({"age": np.where((sex == ruined) & (rng.random(rows) < 1 / 3), 98.0, age), "sex": sex})


def test_compare_does_not_penalize_varied_groups() -> None:
    # Of 75 rows, ages in 16 bins are off by about 0.2 and nearly constant ones by 0.06, however good the table is.
    for seed in range(10):
        table, synthetic = varied_and_constant(300, 2 * seed), varied_and_constant(300, 2 * seed + 1)
        found = by_fidelity(compared(table, synthetic, "sex"), seed=seed)
        assert not any(comparison.is_flagged for comparison in found.columns[0].comparisons)


@pytest.mark.parametrize("ruined", ["f", "m"])
def test_compare_flags_the_ruined_group_varied_or_not(ruined: str) -> None:
    table, synthetic = varied_and_constant(600, 0), varied_and_constant(600, 1, ruined)
    found = by_fidelity(compared(table, synthetic, "sex")).columns[0]
    assert [(one.worst, one.is_flagged) for one in found.comparisons] == [(ruined, True)] * 2


def test_compare_flags_nothing_that_plain_distances_contradict() -> None:
    # The varied group is as far off, but much of that is hidden in its own floor.
    table, synthetic = people(400), people(400, 1)
    floor = {"f": 0.3, "m": 0.0}
    sides = table["sex"].to_numpy(), synthetic["sex"].to_numpy()
    measure = TableMeasure(
        "far", "Far", "lower", -1.0, 1.0,
        lambda ours, theirs: 0.2 + floor[sides[0][ours[0]]] / 2 + float(theirs.mean()) / 1e5,
        lambda ours, others: floor[sides[0][ours[0]]],
    )  # fmt: skip
    comparison = assess_fairness(compared(table, synthetic, "sex"), [measure]).columns[0].comparisons[0]
    assert comparison.worst == "m"  # 0.2 beyond 0 against 0.35 - 0.3
    assert comparison.gap.low > 0
    assert not comparison.is_flagged
    assert "the plain distances do not show it" in comparison.verdict


def test_compare_notes_a_measure_no_group_defines() -> None:
    table = people(200)
    never = TableMeasure("never", "Never", "lower", 0.0, 1.0, lambda ours, theirs: None, lambda ours, others: None)
    found = assess_fairness(compared(table, table, "sex"), [never]).columns[0]
    assert found.too_small == ("f: Never is not defined", "m: Never is not defined")
    assert found.notes == ("Never: fewer than two groups are large enough to compare.",)


def test_compare_says_when_no_column_is_sensitive() -> None:
    table = people(100)
    assert (
        "declares no sensitive column"
        in assess_fairness(replace(compared(table, table, "sex"), sensitive=()), []).verdict
    )


def test_attack_measures_flag_a_leak_of_one_group() -> None:
    train, control = population(1200, 0), population(900, 1)
    for seed, table in enumerate((train, control)):
        table["c1"] = np.random.default_rng(seed).choice(["a", "b"], len(table)).astype(object)
    synthetic = independent(train, 0)
    synthetic["c1"] = np.random.default_rng(2).choice(["a", "b"], len(synthetic)).astype(object)
    leaked = train[train["c1"] == "a"]
    synthetic = pd.concat([leaked, synthetic[synthetic["c1"] == "b"]], ignore_index=True)
    data = replace(attacked(train, control, synthetic), sensitive=("c1",))
    found = assess_fairness(data, attack_measures(run_attacks(data), data)).columns[0]
    assert [one.name for one in found.comparisons if one.is_flagged and one.worst == "a"] == list(ATTACKS)


def test_utility_measures_flag_a_group_without_prediction() -> None:
    def patients(rows: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        table = population(rows, seed)
        table["c1"] = rng.choice(["a", "b"], rows).astype(object)
        cause = np.where(table["c1"] == "a", table["n0"], table["n2"]) + 5 * rng.normal(size=rows)
        table["c3"] = np.where(cause > 50, "a", "b").astype(object)
        return table

    train, holdout, synthetic = patients(500, 0), patients(500, 1), patients(500, 2)
    synthetic["n2"] = np.random.default_rng(3).permutation(synthetic["n2"].to_numpy())  # what matters for b is lost
    data = EvaluationData(train, holdout, synthetic, SCHEMA, "c3", sensitive=("c1",))
    found = assess_fairness(data, utility_measures(Analysis(data).predictions, holdout)).columns[0]
    by_name = {one.name: one for one in found.comparisons}
    assert by_name["auroc"].is_flagged
    assert (by_name["auroc"].best, by_name["auroc"].worst) == ("a", "b")
    assert by_name["auroc_lost"].is_flagged
    assert by_name["auroc_lost"].worst == "b"


@pytest.mark.parametrize("name", ["sex", "age"])
def test_compare_repeats_with_the_same_seed(name: str) -> None:
    table, synthetic = people(300), people(300, 1)
    first, second = (by_fidelity(compared(table, synthetic, name)) for _ in range(2))
    assert first == second
