"""Applying a mapping: parts, names, kept columns, counts of what could not be read, and tables that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from common.harmonization.harmonizing import MOST_COUNTED, MOST_LISTED, Unread, harmonized
from common.harmonization.mapping import parse_mapping
from common.tables.parts import Part, join

SOURCE = Path("mapping.toml")
TEXT = """
[intermediate.total]
operation = "sum"
from = ["a", "b"]
[columns.double]
operation = "sum"
from = ["total", "total"]
[columns.sex]
operation = "labels"
from = "Geschlecht"
labels = { m = "male", w = "female" }
"""


def raw(**columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({name: list(cells) for name, cells in columns.items()}, dtype=object)


def applied(frame: pd.DataFrame, text: str = TEXT, *, size: int = 100) -> tuple[pd.DataFrame, list[str]]:
    mapping, unread = parse_mapping(text, SOURCE), Unread()
    starts = range(0, max(len(frame), 1), size)
    parts = [Part.of(frame.iloc[start : start + size].reset_index(drop=True)) for start in starts]
    made = join(list(harmonized(parts, mapping, unread, source=SOURCE)))
    return made, unread.notices(mapping)


class TestHarmonized:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("mwd")), max_size=12))
    def test_does_not_depend_on_how_rows_arrive(self, rows: list[tuple[int, int, str]]) -> None:
        frame = raw(a=[str(a) for a, _, _ in rows], b=[str(b) for _, b, _ in rows], Geschlecht=[s for _, _, s in rows])
        made, notices = applied(frame)
        assert made["double"].tolist() == [str(2 * (a + b)) for a, b, _ in rows]
        assert made["sex"].tolist() == [{"m": "male", "w": "female", "d": ""}[sex] for _, _, sex in rows]
        again, same = applied(frame, size=5)
        pd.testing.assert_frame_equal(again, made)
        assert notices == same

    def test_has_the_columns_of_the_mapping_in_its_order(self) -> None:
        frame = raw(Geschlecht=["m"], other=["x"], b=["1"], a=["2"])
        assert list(applied(frame)[0].columns) == ["double", "sex"]
        assert list(applied(frame, "keep_others = true\n" + TEXT)[0].columns) == ["double", "sex", "other"]

    def test_letters_of_two_characters_are_the_same_name(self) -> None:
        table = pd.DataFrame({"Gro\u0308\u00dfe": ["180"]}, dtype=object)
        made, _ = applied(table, '[columns.height]\nfrom = "Gr\u00f6\u00dfe"\n')
        assert made["height"].tolist() == ["180"]

    def test_a_table_without_rows_keeps_its_columns(self) -> None:
        made, notices = applied(raw(a=[], b=[], Geschlecht=[]))
        assert (list(made.columns), len(made), notices) == (["double", "sex"], 0, [])


class TestUnread:
    def test_lists_texts_with_counts(self) -> None:
        frame = raw(a=["1", "x", "", "1"], b=["1"] * 4, Geschlecht=["d", "d", "inter", "m"])
        _, notices = applied(frame)
        assert notices == [
            "[intermediate.total] (sum of 'a', 'b'): could not be computed in 1 row, which become missing",
            "[columns.sex] (labels of 'Geschlecht'): not mapped in 3 rows, which become missing: "
            "'d' (2 rows), 'inter' (1 row)",
        ]

    def test_long_lists_and_texts_are_cut(self) -> None:
        texts = [f"label {number}" for number in range(2 * MOST_COUNTED)] + ["x" * 500 + "\n"] * 3
        _, notices = applied(raw(a=["1"] * len(texts), b=["1"] * len(texts), Geschlecht=texts))
        assert f"and {MOST_COUNTED - MOST_LISTED} more texts" in notices[0]
        assert len(notices[0]) < 1500
        assert "\n" not in notices[0]


class TestTablesThatDoNotFit:
    def test_absent_columns_are_named_with_the_nearest(self) -> None:
        with pytest.raises(DataError, match="'Geschlecht' is not in the table; did you mean 'geschlecht '"):
            applied(raw(a=["1"], b=["1"], **{"geschlecht ": ["m"]}))

    def test_a_table_without_header_is_not_quoted(self) -> None:
        with pytest.raises(DataError, match="is the first line the header") as caught:
            applied(raw(canary=["1"], secret=["1"]))
        assert "canary" not in str(caught.value)

    def test_a_step_with_the_name_of_a_column_is_refused(self) -> None:
        with pytest.raises(DataError, match=r"\[intermediate\.total\] has the name of a column of the table; rename"):
            applied(raw(a=["1"], b=["1"], Geschlecht=["m"], total=["1"]))

    def test_a_kept_column_beside_a_made_one_is_refused(self) -> None:
        with pytest.raises(DataError, match="keep_others would keep the table's column 'sex'"):
            applied(raw(a=["1"], b=["1"], Geschlecht=["m"], sex=["1"]), "keep_others = true\n" + TEXT)

    @given(st.text(min_size=20, max_size=30))
    def test_no_error_quotes_a_cell(self, cell: str) -> None:
        with pytest.raises(DataError) as caught:
            applied(raw(a=[cell], b=[cell]))
        assert cell not in str(caught.value)
