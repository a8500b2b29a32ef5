from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from common.errors import DataError
from common.evaluation.fidelity import marginals as fidelity
from common.evaluation.fidelity.association import association
from common.evaluation.fidelity.distributions import compare_columns, ks_complement
from common.evaluation.fidelity.marginals import column_sets, mean_tvd, resampled_rows, tvd, tvd_estimate
from common.evaluation.fidelity.two_sample_test import c2st
from common.evaluation.statistics.codes import encode, is_numeric_by_value
from common.evaluation.statistics.values import MISSING, labels
from tests.testbeds.evaluation_tables import data_of, heart, permuted, thinned


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_column_is_numeric_above_twelve_distinct_numbers() -> None:
    assert not is_numeric_by_value(pd.Series([*range(12), 0, np.nan]))
    assert is_numeric_by_value(pd.Series([*range(13), np.nan]))
    assert not is_numeric_by_value(pd.Series([str(number) for number in range(13)]))


@pytest.mark.parametrize(
    ("cell", "label"),
    [(1, "1"), (1.0, "1"), ("1", "1"), ("1.50", "1.5"), ("yes", "yes"), (True, "1"), ("True", "1"), (None, MISSING)],
)
def test_a_label_survives_a_round_trip_through_csv(cell: object, label: str) -> None:
    assert labels(pd.Series([cell, "other"], dtype=object))[0] == label


def test_tvd_of_one_column_is_the_share_that_would_have_to_move() -> None:
    codes = encode(table(sex=list("aaab")), table(sex=list("abbb")))
    assert tvd(codes, (0,)) == 0.5  # (|3/4 - 1/4| + |1/4 - 3/4|) / 2


def test_a_missing_cell_is_a_category_of_its_own() -> None:
    codes = encode(table(sex=["a", "a", "b", None]), table(sex=["a", "a", "b", "b"]))
    assert tvd(codes, (0,)) == 0.25  # (|2/4 - 2/4| + |1/4 - 2/4| + |1/4 - 0|) / 2


def test_tvd_of_a_pair_sees_what_single_columns_hide() -> None:
    real = table(sex=list("aabb"), ill=list("xxyy"))
    synthetic = table(sex=list("aabb"), ill=list("xyxy"))
    codes = encode(real, synthetic)
    assert mean_tvd(codes, 1) == 0.0
    assert mean_tvd(codes, 2) == 0.5  # ax, by: |1/2 - 1/4| each; ay, bx: |0 - 1/4| each; half of 4/4
    assert mean_tvd(codes, 3) is None


def test_numbers_fall_into_quantile_bins_of_the_real_rows() -> None:
    real, synthetic = table(age=np.arange(17.0)), table(age=np.full(5, 15.5))
    # 16 bins with inner edges 1, 2, ..., 15; the last one holds the real 15 and 16 and everything synthetic.
    assert tvd(encode(real, synthetic), (0,)) == pytest.approx(1 - 2 / 17)


def test_a_missing_number_has_its_own_bin() -> None:
    real = table(age=[*range(16), np.nan, np.nan, np.nan, np.nan])
    synthetic = table(age=[*range(16)])
    # Real: 16 bins of 1/20 and 4/20 missing. Synthetic: 16 bins of 1/16. (16 * (1/16 - 1/20) + 4/20) / 2 = 1/5
    assert tvd(encode(real, synthetic), (0,)) == pytest.approx(0.2)


def test_counting_by_sorting_gives_the_same_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    train, _ = heart()
    codes = encode(train, thinned(train))
    by_index = [mean_tvd(codes, k) for k in (1, 2, 3)]
    with_interval = tvd_estimate([codes], 3)
    monkeypatch.setattr(fidelity, "DENSE_CELLS", 0)
    assert [mean_tvd(codes, k) for k in (1, 2, 3)] == pytest.approx(by_index)
    assert tvd_estimate([codes], 3) == with_interval


def test_at_most_sixty_sets_of_columns_are_compared() -> None:
    assert column_sets(4, 3) == [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)]
    assert len(set(column_sets(20, 3))) == 60
    assert column_sets(20, 3) == column_sets(20, 3)


def test_the_floor_is_above_zero_and_shrinks_with_more_rows() -> None:
    train, _ = heart()
    few, many = (resampled_rows(encode(train, train.sample(rows, replace=True))) for rows in (100, 5000))
    assert len(few.synthetic) == 100
    for k in (1, 2, 3):
        low, high = mean_tvd(many, k), mean_tvd(few, k)
        assert low is not None
        assert high is not None
        assert 0 < low < high < 1


def test_ks_complement_is_one_minus_the_largest_gap() -> None:
    real, synthetic = np.array([1, 2, 3, 4, np.nan]), np.array([3, 4, 5, 6.0])
    assert ks_complement(real, synthetic) == 0.5  # at 2: 2/4 of the real, none of the synthetic
    assert ks_complement(real, np.array([np.nan])) is None


def test_column_scores_are_one_for_the_same_table() -> None:
    train, _ = heart()
    assert {column.score for column in compare_columns(data_of(train, train))} == {1.0}
    scores = [column.score for column in compare_columns(data_of(train, permuted(train).astype(train.dtypes)))]
    assert min(score or 0.0 for score in scores) == pytest.approx(1.0)


def test_cramers_v_of_a_two_by_two_table() -> None:
    real = table(sex=list("aaaabbbb"), ill=list("xxxyxyyy"), ward=["w"] * 8)
    codes = encode(real, real)
    # Cells 3, 1, 1, 3 where 2 each are expected: chi^2 = 4 * 1 / 2 = 2, V = sqrt(2 / 8 / 1) = 1/2.
    expected = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])  # a ward with one value is related to nothing
    np.testing.assert_allclose(association(codes.real, codes.sizes), expected, atol=1e-12)


def test_cramers_v_ignores_categories_of_the_other_table() -> None:
    real, synthetic = table(sex=list("aabb"), ill=list("xxyy")), table(sex=list("abcc"), ill=list("xyzz"))
    codes = encode(real, synthetic)
    np.testing.assert_allclose(association(codes.real, codes.sizes), np.ones((2, 2)))


def test_c2st_separates_disjoint_tables_and_not_equal_ones() -> None:
    train, _ = heart()
    disjoint, same = c2st(table(age=np.arange(100.0)), table(age=np.arange(1000.0, 1100.0))), c2st(train, train)
    assert disjoint is not None
    assert disjoint.value == 1.0
    assert same is not None
    assert same.low <= same.value < 0.55
    assert c2st(table(age=[1.0]), table(age=[2.0])) is None


def test_a_table_without_rows_or_columns_is_refused() -> None:
    real = table(sex=["a", "b"], ill=["x", "y"])
    with pytest.raises(DataError, match="lacks column 'ill'"):
        encode(real, table(sex=["a"]))
    with pytest.raises(DataError, match="the synthetic table has no rows"):
        encode(real, real.head(0))
