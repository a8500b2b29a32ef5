"""Columns of lists, identifiers and text, dates that count from another column, and all kinds together in one table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from common.columns.binning import Binning
from common.columns.code import Code
from common.columns.kinds import KINDS
from common.columns.numeric import Numeric
from common.columns.tags import tags_of
from common.encoding import Encoder, count_cells, histogram_length, histogram_max_changed_cells
from common.errors import StudyError
from common.study.schema import Schema
from common.tables.checking import check_table
from common.tables.conforming import conform, format_table, invented
from common.tables.formats import read_table
from common.tables.parts import Part
from tests.testbeds.all_kinds import COLUMNS

quick = settings(deadline=None, max_examples=30)

SCHEMA = Schema.model_validate({"columns": COLUMNS})


def column(name: str, **changes: Any) -> Any:
    settings_of = next(entry for entry in COLUMNS if entry["name"] == name)
    return KINDS[settings_of["kind"]].model_validate({**settings_of, **changes})


@st.composite
def tables(draw: st.DrawFn, least: int = 1) -> pd.DataFrame:
    """A table of all kinds as a hospital might write it, missing and censored cells among the others."""
    rows, seed = draw(st.integers(least, 12)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    frame = invented(SCHEMA, rows, rng)
    special = {"age": ["> 89", "999", ".", "18"], "crp": ["<0.1", "ND", "", "0.1"], "zip": [""], "admitted": [""],
               "drugs": ["", "none"], "icd": ["I25", "I", "other"]}  # fmt: skip
    for name, cells in special.items():
        chosen = rng.random(rows) < 0.4
        frame.loc[chosen, name] = rng.choice(np.array(cells, dtype=object), int(chosen.sum()))
    frame.loc[frame["admitted"] == "", "left"] = ""
    return frame


class TestAllKinds:
    def test_every_kind_is_in_the_table(self) -> None:
        assert {entry["kind"] for entry in COLUMNS} == set(KINDS) - {"image"}  # of pixels: test_image.py

    @quick
    @given(raw=tables())
    def test_text_comes_back_through_conformed_values(self, raw: pd.DataFrame) -> None:
        read = list(SCHEMA.read_names)
        again = format_table(conform(raw, SCHEMA), SCHEMA)
        pd.testing.assert_frame_equal(again[read], raw[read])
        pd.testing.assert_frame_equal(format_table(Part.of(raw).conform(SCHEMA), SCHEMA)[read], raw[read])
        assert check_table(raw, SCHEMA, name="x") == []

    @quick
    @given(raw=tables(), seed=st.integers(0, 2**32 - 1))
    def test_drawn_rows_keep_their_codes_through_text(self, raw: pd.DataFrame, seed: int) -> None:
        frame = conform(raw, SCHEMA)
        encoder = Encoder(SCHEMA, count_cells(frame, SCHEMA, 64), Binning(64, 8))
        codes = encoder.encode(frame)
        drawn = encoder.decode(codes, np.random.default_rng(seed))
        written = format_table(drawn, SCHEMA)
        assert check_table(written, SCHEMA, name="x") == []
        again = encoder.encode(conform(written, SCHEMA))
        # A stay whose admission is missing is written as missing.
        known = frame["admitted"].notna().to_numpy()
        assert (again[known] == codes[known]).all()

    @quick
    @given(raw=tables(least=2), cells=st.sampled_from([16, 64, 300]))
    def test_one_patient_changes_few_cells_by_one(self, raw: pd.DataFrame, cells: int) -> None:
        frame = conform(raw, SCHEMA)
        change = count_cells(frame, SCHEMA, cells) - count_cells(frame.iloc[1:], SCHEMA, cells)
        assert set(change) <= {0, 1}
        assert 0 < change.sum() <= histogram_max_changed_cells(SCHEMA, cells)
        assert len(change) == histogram_length(SCHEMA, cells)

    @quick
    @given(raw=tables())
    def test_compact_values_are_counted_and_encoded_alike(self, raw: pd.DataFrame) -> None:
        frame = conform(raw, SCHEMA)
        compact = pd.DataFrame({part.name: part.compact(frame[part.name]) for part in SCHEMA.each()})
        counts = count_cells(frame, SCHEMA, 64)
        assert (count_cells(compact, SCHEMA, 64) == counts).all()
        encoder = Encoder(SCHEMA, counts, Binning(64, 8))
        assert (encoder.encode(compact) == encoder.encode(frame)).all()


class TestNumeric:
    def test_a_censored_value_never_goes_to_the_opposite_end(self) -> None:
        plain = Numeric(name="age", lower=18, upper=89)
        assert plain.conform(["> 89", "90+", "<20", ">=200", "< 3"]).tolist() == [89, 89, 20, 89, 18]
        assert "sign such as < or >" in plain.check(["> 89"])[0]

    def test_missing_codes_are_missing_and_told_apart(self) -> None:
        values = column("age").conform(["999", ".", "999.0", "40"])
        assert tags_of(values).tolist() == [1, 2, 1, 0]
        assert np.isnan(values).tolist() == [True, True, True, False]

    def test_values_beyond_a_limit_have_a_point_of_their_own(self) -> None:
        assert column("crp").conform(["<0.1", "0", "0.1", "<5"]).tolist() == [0.0, 0.0, 0.1, 5.0]
        assert column("crp").grid.cell_starts(32)[:2].tolist() == [0, 1]
        assert column("age").consent_sentence(32) == "how many patients have '999', '.', '> 89'"

    @pytest.mark.parametrize("decimals", [0, 1])
    def test_a_number_beyond_a_bound_is_its_text(self, decimals: int) -> None:
        age = Numeric(name="age", lower=18, upper=89, decimals=decimals, below="<18", above="> 89")
        values = pd.Series(age.conform(["91", "150", "89", "18", "3", "89.04"]))
        assert [str(text).split(".")[0] for text in age.format(values)] == ["> 89", "> 89", "89", "18", "<18", "89"]
        notices = age.check(["91", "150", "3", "89"])
        assert [text.partition(";")[0] for text in notices] == [
            "holds numbers beyond 18 in 1 row, counted as '<18'",
            "holds numbers beyond 89 in 2 rows, counted as '> 89'",
        ]
        assert all("move the bound to keep them" in text for text in notices)

    def test_a_number_beyond_a_bound_without_text_is_clamped(self) -> None:
        age = Numeric(name="age", lower=18, upper=89, above="> 89")
        assert age.conform(["3", "> 3", "<3"]).tolist() == [18, 18, 18]
        assert "is outside [18, 89] in 1 row, clamped to the bounds" in age.check(["3"])[0]

    def test_a_unit_behind_the_number_is_read(self) -> None:
        assert Numeric(name="x", lower=0, upper=9, decimals=1, unit="mg/L").conform(["3.2 mg/L"]).tolist() == [3.2]

    @pytest.mark.parametrize("changes", [{"missing_codes": ["<0.1"]}, {"missing_codes": [" "]}, {"below": "0.1"}])
    def test_texts_that_contradict_are_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match="below"):
            column("crp", **changes)


class TestDates:
    def test_a_stay_never_ends_before_it_begins(self) -> None:
        raw = invented(SCHEMA, 2, np.random.default_rng(0)).assign(
            admitted=["05.01.2020", "05.01.2020"], left=["2020-01-01", "2020-02-05"]
        )
        frame = conform(raw, SCHEMA)
        assert frame["left"].tolist() == [0, 31]
        assert format_table(frame, SCHEMA)["left"].tolist() == ["2020-01-05", "2020-02-05"]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"since": "age"}, "not a date of the same resolution"),
            ({"since": "seen"}, "not a date of the same resolution"),
            ({"since": "nothing"}, "'nothing', which is not declared"),
            ({"missing": False}, "'admitted', which may be missing"),
        ],
    )
    def test_a_date_counts_from_another_date_only(self, changes: dict[str, Any], message: str) -> None:
        entries = [{**entry, **(changes if entry["name"] == "left" else {})} for entry in COLUMNS]
        with pytest.raises(ValidationError, match=message):
            Schema.model_validate({"columns": entries})


class TestSets:
    def test_one_item_says_whether_the_list_is_missing(self) -> None:
        assert [part.missing for part in column("drugs").modeled] == [True, False, False]
        assert [part.missing for part in column("drugs", missing=False).modeled] == [False, False, False]

    def test_items_come_back_in_declared_order(self) -> None:
        drugs = column("drugs")
        frame = pd.DataFrame(drugs.read(["statin;aspirin", "none", "", "aspirin; morphine"]))
        assert list(frame) == ["drugs: aspirin", "drugs: statin", "drugs: insulin"]
        assert frame["drugs: aspirin"].tolist() == ["yes", "no", None, "yes"]
        assert drugs.write(frame, {}).tolist() == ["aspirin; statin", "none", "", "aspirin"]
        assert "items that are not declared in 1 row" in drugs.check(["aspirin; morphine"])[0]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"items": ["a", "a"]}, "listed twice"),
            ({"items": ["a;b"]}, "holds the separator"),
            ({"empty": "statin"}, "empty is also an item"),
            ({"empty": ""}, "needs empty"),
            ({"items": ["a" * 130]}, "135 characters, more than 126"),
        ],
    )
    def test_contradictions_are_refused(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            column("drugs", **changes)


class TestColumnsThatAreNotRead:
    def test_identifiers_are_fresh_and_differ(self) -> None:
        texts = column("id").write(pd.DataFrame(index=range(10_000)), {})
        assert len(set(texts)) == 10_000
        assert all(text.startswith("P-") and len(text) == 6 for text in texts)
        with pytest.raises(StudyError, match="10000 identifiers for 10001 rows"):
            column("id").write(pd.DataFrame(index=range(10_001)), {})

    def test_no_cell_of_theirs_reaches_a_synthetic_table(self) -> None:
        raw = invented(SCHEMA, 3, np.random.default_rng(0)).assign(id="Kari", note="Nordmann")
        written = format_table(conform(raw, SCHEMA), SCHEMA)
        assert "Kari" not in written.to_string()
        assert "Nordmann" not in written.to_string()
        assert {"id", "note"}.isdisjoint(conform(raw, SCHEMA))
        assert check_table(raw.drop(columns=["id", "note"]), SCHEMA, name="x") == []

    def test_text_says_what_the_row_says(self) -> None:
        written = format_table(conform(invented(SCHEMA, 1, np.random.default_rng(0)), SCHEMA), SCHEMA).iloc[0]
        assert written["note"] == f"{written['id']}: {written['age']} years, takes {written['drugs']}."

    @pytest.mark.parametrize(
        ("name", "changes", "message"),
        [
            ("id", {"pattern": "P-##"}, "gives 100 identifiers"),
            ("id", {"missing": True}, "never missing"),
            ("note", {"template": "{age"}, "a brace of the template"),
        ],
    )
    def test_faulty_settings_are_refused(self, name: str, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            column(name, **changes)


class TestCodes:
    def test_rare_codes_roll_up_to_their_prefix(self) -> None:
        icd = Code(name="icd", codes=("I10", "I25.0", "I25.1", "J45.9"), prefixes=(1, 3))
        values = pd.Series(["I25.1"] * 40 + ["I25.0"] * 2 + ["I10"] * 3 + ["J45.9"], dtype=object)
        code = icd.code(icd.histogram(32).count(values), Binning(32, 8, deviation=2.0))
        drawn = pd.Series(code.decode(code.encode(values), np.random.default_rng(0)))
        assert drawn.value_counts().to_dict() == {"I25.1": 40, "I25": 2, "I": 3, "other": 1}
        assert code.masses.tolist() == [3, 2, 40, 1]  # I, I25, I25.1, other

    def test_thousands_of_codes_are_counted_fast(self) -> None:
        codes = tuple(f"{letter}{number:02}.{digit}" for letter in "ABCDEFGHIJ" for number in range(100)
                      for digit in range(5))  # fmt: skip
        icd = Code(name="icd", codes=codes, prefixes=(1, 3))
        values = pd.Series(icd.draw(10_000, np.random.default_rng(0)))
        code = icd.code(icd.histogram(64).count(values), Binning(64, 16, deviation=3.0))
        assert icd.histogram(64).max_changed_cells == 3
        assert code.size <= icd.max_codes(16) == 65


@pytest.mark.skipif("FEDSYNTH_DATA" not in os.environ, reason="needs the tables that FEDSYNTH_DATA names")
def test_all_columns_of_follow_up_records_can_be_declared() -> None:
    raw = read_table(Path(os.environ["FEDSYNTH_DATA"]) / "follow_up_records.csv")
    drugs = list(dict.fromkeys(item for cell in raw["medications"] for item in cell.split(", ")))
    entries: dict[str, dict[str, Any]] = {
        name: {
            "kind": "numeric",
            "lower": 0,
            "upper": 9999,
            "decimals": max(len(cell.partition(".")[2]) for cell in raw[name]),
        }
        for name in raw.columns
    }
    entries |= {
        "patient_id": {"kind": "identifier", "pattern": "P-####-###"},
        "visit_date": {"kind": "date", "lower": "2024-01-01", "upper": "2026-12-31"},
        "medications": {"kind": "set", "items": drugs},
        "clinical_notes": {"kind": "text", "template": "Visit of {visit_date}. Takes {medications}."},
    }
    entries |= {name: {"kind": "boolean", "true": "1", "false": "0"} for name in raw.columns[-4:]}
    schema = Schema.model_validate({"columns": [{"name": name, **entry} for name, entry in entries.items()]})
    assert len(schema.columns) == 34
    again = format_table(conform(raw, schema), schema)
    free = ["patient_id", "clinical_notes", "medications"]
    numbers = [name for name in raw.columns if entries[name]["kind"] == "numeric"]
    assert (again[numbers].astype(float) == raw[numbers].astype(float)).all(axis=None)
    other = [name for name in raw.columns if name not in (*free, *numbers)]
    pd.testing.assert_frame_equal(again[other], raw[other])
    for written, cell in zip(again["medications"], raw["medications"], strict=True):
        assert set(written.split(", ")) == set(cell.split(", "))
    assert again["clinical_notes"][0].startswith("Visit of 2024-02-15. Takes Metformin")
