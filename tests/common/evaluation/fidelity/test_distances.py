from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp, spearmanr, wasserstein_distance

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.fidelity import relations
from common.evaluation.fidelity import sdmetrics_scores as library
from common.evaluation.fidelity.association import association
from common.evaluation.fidelity.by_hospital import check_rules, compare_hospitals
from common.evaluation.fidelity.density import measure_density
from common.evaluation.fidelity.distances import Resampled, code_distance, number_distances
from common.evaluation.fidelity.marginals import OTHER_GRIDS, mean_tvd, mean_tvd_over, part_distances, tvd, tvd_estimate
from common.evaluation.fidelity.missingness import measure_missingness
from common.evaluation.fidelity.relations import compare_pairs
from common.evaluation.fidelity.sdmetrics_scores import scored_groups, sdmetrics_scores
from common.evaluation.statistics.codes import encode
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.study.rules import Rule
from common.study.schema import Schema
from tests.testbeds.evaluation_tables import data_of, heart, permuted, thinned


def test_distances_of_numbers_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=200).round(1), rng.normal(0.4, 2, size=150).round(1)
    real[:9] = np.nan
    ks, moved = number_distances(real, synthetic, 4.0, Resampled(200, 150))
    assert ks.value == pytest.approx(ks_2samp(real[9:], synthetic).statistic)
    assert moved.value == pytest.approx(wasserstein_distance(real[9:], synthetic) / 4.0)
    assert ks.low < ks.value < ks.high
    assert moved.size == 150


def test_number_distances_are_zero_for_equal_one_for_absent() -> None:
    values = np.arange(20.0)
    same = number_distances(values, values, 20.0, Resampled(20, 20))
    assert [one.value for one in same] == [0.0, 0.0]
    absent = number_distances(values, np.full(20, np.nan), 20.0, Resampled(20, 20))
    assert [one.value for one in absent] == [1.0, 1.0]


def test_code_distance_and_tvd_estimate_have_plain_values() -> None:
    train, _ = heart()
    codes = encode(train, thinned(train))
    weights = Resampled(len(codes.real), len(codes.synthetic))
    first = code_distance(codes.real[:, 0], codes.synthetic[:, 0], codes.sizes[0], weights)
    assert first.value == pytest.approx(tvd(codes, (0,)))
    for k in (1, 2):
        found = tvd_estimate([codes], k)
        assert found is not None
        assert found.value == pytest.approx(mean_tvd(codes, k))
        assert found.low < found.value < found.high


def test_the_distance_on_several_grids_is_the_mean_over_them() -> None:
    train, _ = heart()
    grids = [encode(train, thinned(train), bins) for bins in OTHER_GRIDS]
    assert [max(codes.sizes) for codes in grids] == [11, 14, 21, 28]  # with one more for missing
    distances = [mean_tvd(codes, 2) for codes in grids]
    assert len(set(distances)) == 4
    found = tvd_estimate(grids, 2)
    assert found is not None
    assert found.value == pytest.approx(np.mean(np.array(distances, dtype=float)))
    assert mean_tvd_over(grids, 2) == pytest.approx(found.value)


def test_resampled_fractions_give_the_spread_of_a_distance() -> None:
    # One column of two categories: the distance is |fraction - 1/2| for a fixed second table.
    rng = np.random.default_rng(0)
    real = pd.DataFrame({"sex": rng.choice(["f", "m"], 400, p=[0.8, 0.2])})
    codes = encode(real, pd.DataFrame({"sex": ["f", "m"]}))
    found = part_distances(codes, [np.arange(400)], 1)[0].synthetic
    fraction = float((real.sex == "f").mean())
    assert found.value == pytest.approx(fraction - 0.5)
    assert found.high - found.value == pytest.approx(1.96 * (fraction * (1 - fraction) / 400) ** 0.5, rel=0.25)
    both = tvd_estimate([codes], 1)
    assert both is not None
    assert both.high > found.high  # two synthetic rows say little


def test_an_interval_is_narrower_the_more_patients_there_are() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rows in (50, 5000):
        found, _ = number_distances(rng.normal(size=rows), rng.normal(1, 1, size=rows), 1.0, Resampled(rows, rows))
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 5  # by the square root of 100, about


def test_relations_are_those_of_pandas_scipy_and_the_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = x + rng.normal(size=300)
    table = pd.DataFrame({"x": x, "y": y, "sex": np.where(x > 0, "a", "b"), "ward": rng.choice(list("uvw"), 300)})
    table.loc[:19, "y"] = np.nan
    data = data_of(table, table)
    comparison = compare_pairs(data)
    pairs, summary, codes = comparison.pairs, comparison.summary, data.codes
    found = {frozenset((pair.first, pair.second)): pair for pair in pairs}
    assert found[frozenset("xy")].real == pytest.approx(table["x"].corr(table["y"]), abs=1e-4)
    # eta^2 is the fraction of the variance that lies between the means of the groups.
    grouped = table.groupby("sex")["x"].transform("mean")
    assert found[frozenset(("x", "sex"))].real == pytest.approx(np.sqrt(grouped.var() / table["x"].var()), abs=1e-4)
    v = association(codes.real, codes.sizes)[2, 3]
    assert found[frozenset(("sex", "ward"))].real == pytest.approx(v, abs=1e-4)
    assert {pair.change.value for pair in pairs} == {0.0}
    assert {pair.similarity for pair in pairs} == {1.0}
    assert summary.pearson is not None
    assert summary.pearson.value == 0.0


def test_rank_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    real = pd.DataFrame({"x": rng.normal(size=100), "y": rng.normal(size=100)})
    synthetic = pd.DataFrame({"x": real["x"], "y": real["x"] ** 3})
    summary = compare_pairs(data_of(real, synthetic)).summary
    before = spearmanr(real["x"], real["y"]).statistic
    assert summary.spearman is not None
    assert summary.spearman.value == pytest.approx(abs(1.0 - before))


def test_wide_tables_list_the_pairs_that_changed_most(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = heart()
    data = data_of(train, permuted(train).astype(train.dtypes))
    whole = compare_pairs(data)
    monkeypatch.setattr(relations, "MOST_PAIRS", 5)
    found = compare_pairs(data)
    changes = sorted((abs(pair.change.value) for pair in whole.pairs), reverse=True)
    assert sorted((abs(pair.change.value) for pair in found.pairs), reverse=True) == changes[:5]
    assert found.summary == whole.summary


def test_similarity_of_pairs_is_one_minus_their_tvd() -> None:
    train, _ = heart()
    data = data_of(train, thinned(train))
    for pair in compare_pairs(data).pairs:
        columns = data.codes.names.index(pair.first), data.codes.names.index(pair.second)
        assert pair.similarity == pytest.approx(1 - tvd(data.codes, columns), abs=1e-4)


def test_groups_score_all_columns_as_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = heart()
    data = data_of(train, train.sample(len(train), replace=True, random_state=0).reset_index(drop=True))
    whole = sdmetrics_scores(data)
    for limit in ("MOST_SCORED_PAIRS", "MOST_GROUPED_PAIRS"):
        monkeypatch.setattr(library, limit, 30)
    found = sdmetrics_scores(data)
    assert whole is not None
    assert found is not None
    assert found.column_shapes == pytest.approx(whole.column_shapes)
    assert found.column_pair_trends == pytest.approx(whole.column_pair_trends, abs=0.1)
    assert found.column_shapes is not None
    assert found.column_pair_trends is not None
    assert found.quality == pytest.approx((found.column_shapes + found.column_pair_trends) / 2)


@pytest.mark.parametrize("columns", [1, 2, 45, 46, 171, 3000])
def test_groups_are_few_and_keep_pairs(columns: int) -> None:
    groups = scored_groups(columns)
    assert (groups == 1) == (columns <= 45)
    assert columns < 4 or columns / groups >= 2


def test_shuffled_columns_lose_their_relations_and_nothing_else() -> None:
    train, _ = heart()
    made = permuted(train).astype(train.dtypes)
    comparison = compare_pairs(data_of(train, made))
    pairs, summary, floor = comparison.pairs, comparison.summary, comparison.reference
    assert summary.cramers_v is not None
    assert floor.cramers_v is not None
    assert summary.cramers_v.low > floor.cramers_v.value
    assert all(pair.change.low <= pair.change.value <= pair.change.high for pair in pairs)


def test_density_covers_like_rows_and_not_distant_ones() -> None:
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"x": rng.normal(size=400), "y": rng.normal(size=400)})
    same = pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)})
    close, far = measure_density(data_of(train, same)), measure_density(data_of(train, same + 100))
    assert close is not None
    assert far is not None
    assert close.rows == 200
    assert close.coverage.low <= close.coverage_of_real.value <= 1
    assert abs(close.density.value - 1) < 0.2
    assert far.coverage.value == far.density.value == 0.0
    assert measure_density(data_of(train.head(8), same)) is None


def test_intervals_of_coverage_and_density_know_of_both_sides() -> None:
    def table(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame(rng.normal(size=(300, 1)) + rng.normal(size=(300, 4)), columns=list("abcd"))

    values, claimed = [], []
    for seed in range(30):
        found = measure_density(data_of(table(2 * seed), table(2 * seed + 1)))
        assert found is not None
        values.append([found.coverage.value, found.density.value])
        claimed.append([(one.high - one.low) / 2 / 1.96 for one in (found.coverage, found.density)])
    true, claim = np.std(values, axis=0, ddof=1), np.mean(claimed, axis=0)
    assert (claim > 0.75 * true).all()  # 30 repetitions know a deviation to within about an eighth; one side alone: 0.6


def test_rows_at_one_point_cover_few_patients_however_dense() -> None:
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"x": rng.normal(size=400), "y": rng.normal(size=400)})
    collapsed = pd.DataFrame({"x": np.zeros(200), "y": np.zeros(200)})
    found = measure_density(data_of(train, collapsed))
    assert found is not None
    assert found.coverage.value < 0.2  # only those around the center
    assert found.density.value >= 0.9  # as crowded as real rows are there, which is why both are needed


SCHEMA = Schema(
    columns=(Numeric(name="x", lower=0, upper=9, missing=True), Categorical(name="s", categories=("a", "b")))
)


def test_missing_values_are_compared_by_column_and_by_pair() -> None:
    real = pd.DataFrame({"x": [1.0, 2.0, np.nan, np.nan], "s": ["a", "b", None, None]})
    synthetic = pd.DataFrame({"x": [1.0, 2.0, np.nan, np.nan], "s": [None, None, "a", "a"]})
    found = measure_missingness(EvaluationData(real, real, synthetic, SCHEMA, "s"))
    assert found is not None
    assert found.rate_change.value == 0.0  # half of each column on both sides
    assert found.pair_change is not None
    assert found.pair_change.value == 0.5  # together in half of the real rows, never in the synthetic ones
    assert found.pairs[0].change.value == -0.5
    whole = pd.DataFrame({"x": [1.0], "s": ["a"]})
    assert measure_missingness(EvaluationData(whole, whole, whole, SCHEMA, "s")) is None


def test_broken_rules_are_counted_with_their_interval() -> None:
    real = pd.DataFrame({"low": [1.0, 2.0, np.nan], "high": [2.0, 3.0, 1.0]})
    synthetic = pd.DataFrame({"low": [5.0, 2.0, 1.0, 1.0], "high": [2.0, 3.0, 1.0, 2.0]})
    rule = Rule(left="low", relation="<=", right="high")
    (check,) = check_rules(replace(data_of(real, synthetic), rules=(rule,)))
    assert check.rule == "low <= high"
    assert check.real.value == 0.0  # a missing value breaks nothing
    assert check.synthetic.value == 0.25
    assert check.synthetic.high < 0.75


def test_a_hospital_is_compared_by_its_own_rows() -> None:
    real = pd.DataFrame({"s": list("aabb"), "t": list("xxyy")})
    synthetic = pd.DataFrame({"s": list("aaaa"), "t": list("xxxx")})
    owners = np.array(["north", "north", "south", "south"], dtype=object)
    north, south = compare_hospitals(replace(data_of(real, synthetic), hospitals=HospitalLabels(owners, owners[:0])))
    assert (north.name, north.rows) == ("north", 2)
    assert north.columns_synthetic.value == 0.0  # all of north is a and x
    assert south.columns_synthetic.value == 1.0
    assert north.pairs_pooled.value == south.pairs_pooled.value == 0.5
