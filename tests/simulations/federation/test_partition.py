"""One table dealt out to hospitals."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.errors import StudyError
from common.study.schema import Schema
from simulations.federation.partition import HashSplit, hospitals_by_hash

SCHEMA = Schema(columns=(Numeric(name="age", lower=0, upper=100), Categorical(name="died", categories=("no", "yes"))))


def deal(raw: pd.DataFrame, count: int = 3, **options: object) -> dict[str, list[str]]:
    """Which rows, by the column `place`, each hospital gets."""
    split = replace(HashSplit(SCHEMA, "died", 7), **options)  # type: ignore[arg-type]
    return {name: table["place"].tolist() for name, table in hospitals_by_hash(raw, count, split).items()}


def cohort(rows: int) -> pd.DataFrame:
    numbers = range(rows)
    return pd.DataFrame(
        {
            "place": [str(number) for number in numbers],
            "pid": [f"p{number}" for number in numbers],
            "age": [str(number % 100) for number in numbers],
            "died": ["yes" if number % 4 == 0 else "no" for number in numbers],
        }
    )


def test_every_row_is_dealt_to_one_hospital() -> None:
    dealt = deal(cohort(600), patient_column="pid")
    assert list(dealt) == ["hospital-1", "hospital-2", "hospital-3"]
    assert sorted((place for places in dealt.values() for place in places), key=int) == [str(n) for n in range(600)]
    # 200 expected each; the standard deviation is sqrt(600 * 1/3 * 2/3) = 11.5.
    assert all(abs(len(places) - 200) < 50 for places in dealt.values())


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["p1", "p2", "p3"]), st.sampled_from(["1", "60"]), st.sampled_from(["no", "yes"]))
    ),
    st.integers(0, 9),
    st.sampled_from([None, 0.1, 5.0]),
    st.booleans(),
    st.sampled_from(["age", "died"]),
)
def test_added_patient_moves_no_other(
    rows: list[tuple[str, str, str]], place: int, skew: float | None, has_patient_column: bool, target: str
) -> None:
    raw = pd.DataFrame(rows, columns=["pid", "age", "died"], dtype=object)
    raw = raw.assign(place=[str(number) for number in range(len(raw))])
    new = pd.DataFrame({"pid": ["new"], "age": ["33"], "died": ["yes"], "place": ["new"]})
    longer = pd.concat([raw.iloc[:place], new, raw.iloc[place:]], ignore_index=True)
    patient_column = "pid" if has_patient_column else None
    before = deal(raw, skew=skew, patient_column=patient_column, target=target)
    after = deal(longer, skew=skew, patient_column=patient_column, target=target)
    assert before == {name: [row for row in places if row != "new"] for name, places in after.items()}


def test_rows_of_one_patient_go_to_one_hospital() -> None:
    raw = cohort(300).assign(pid=[f"p{number % 30}" for number in range(300)])
    dealt = hospitals_by_hash(raw, 3, HashSplit(SCHEMA, "died", 7, skew=0.2, patient_column="pid"))
    patients = [set(table["pid"]) for table in dealt.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 30


@pytest.mark.parametrize("target", ["age", "died"])
def test_small_skew_separates_hospitals(target: str) -> None:
    def sizes(skew: float | None) -> list[int]:
        return [
            len(places) for places in deal(cohort(2000), 4, skew=skew, patient_column="pid", target=target).values()
        ]

    assert max(sizes(0.1)) > 1.5 * max(sizes(1e6))
    # 500 expected each; the standard deviation is sqrt(2000 * 1/4 * 3/4) = 19.
    assert all(abs(size - 500) < 100 for size in [*sizes(None), *sizes(1e6)])


def test_the_partition_follows_the_seed() -> None:
    assert deal(cohort(60), seed=1) == deal(cohort(60), seed=1) != deal(cohort(60), seed=2)


def test_one_hospital_gets_everything() -> None:
    assert deal(cohort(20), 1) == {"hospital-1": [str(number) for number in range(20)]}


def test_an_impossible_partition_is_refused() -> None:
    with pytest.raises(StudyError, match="0 hospitals cannot be simulated"):
        deal(cohort(3), 0)
    with pytest.raises(StudyError, match="skew = 0 is not above 0"):
        deal(cohort(3), skew=0.0)
