"""Warnings about identifiers among the columns of a study, and of a table that a site freezes."""

from __future__ import annotations

import pandas as pd
import pytest

from common.study.schema import Schema
from common.tables.preparing import prepare_table
from common.tables.roles import study_warnings, table_warnings

COLUMNS = [
    {"name": "phone", "kind": "numeric", "lower": 0, "upper": 9_999_999_999},
    {"name": "ssn", "kind": "identifier", "pattern": "###-##-####"},
    {"name": "admitted", "kind": "date", "lower": "2020-01-01", "upper": "2021-12-31", "date_format": "%Y-%m-%d"},
    {"name": "age", "kind": "numeric", "lower": 0, "upper": 110},
    {"name": "v1", "kind": "categorical", "categories": ["low", "high"]},
]
SCHEMA = Schema.model_validate({"columns": COLUMNS})
TABLE = pd.DataFrame(
    {
        "phone": ["1", "0"] * 20,
        "ssn": [f"123-45-{row:04}" for row in range(40)],
        "admitted": [f"2020-01-{1 + row % 28:02}" for row in range(40)],
        "age": [str(20 + row) for row in range(40)],
        "v1": [f"p{row}@example.org" for row in range(40)],
    }
)


class TestStudyWarnings:
    def test_without_a_table_names_and_declarations_decide(self) -> None:
        phone, others = study_warnings(SCHEMA)
        assert (
            "column 'phone' has a name that suggests telephone numbers: a direct identifier (HIPAA Safe Harbor D"
            in phone
        )
        assert 'kind = "identifier"' in phone
        assert "'admitted' (C), 'age' (C)" in others

    def test_with_a_table_cells_decide(self) -> None:
        email, others = study_warnings(SCHEMA, TABLE)
        assert "column 'v1' holds e-mail addresses: a direct identifier (HIPAA Safe Harbor F" in email
        assert "'admitted' (C);" in others
        assert "@" not in email

    @pytest.mark.parametrize(
        "column",
        [
            {"name": "note", "kind": "numeric", "lower": 1, "upper": 6},
            {"name": "drug", "kind": "categorical", "categories": [f"drug {letter}" for letter in "abcdefghijklmnop"]},
            {"name": "charges", "kind": "numeric", "lower": 0, "upper": 99_999_999},
            {"name": "email", "kind": "boolean", "true": "yes", "false": "no"},
            {"name": "drugs", "kind": "set", "items": ["aspirin", "statin"], "separator": "; "},
            {"name": "icd", "kind": "code", "codes": ["I10", "I25.1", "E11.9"], "prefixes": [1, 3]},
        ],
    )
    def test_declared_columns_that_are_no_identifiers(self, column: dict[str, object]) -> None:
        assert study_warnings(Schema.model_validate({"columns": [column, *COLUMNS[3:]]})) == study_warnings(
            Schema.model_validate({"columns": COLUMNS[3:]})
        )

    @pytest.mark.parametrize(
        ("column", "is_listed"),
        [
            ({"name": "DOB", "kind": "numeric", "lower": 1950, "upper": 2010}, False),
            ({"name": "DOB", "kind": "numeric", "lower": 1900, "upper": 2010}, False),
            ({"name": "DOB", "kind": "numeric", "lower": 0, "upper": 40_000}, True),
            ({"name": "Age", "kind": "numeric", "lower": 18, "upper": 89}, False),
            ({"name": "Age", "kind": "numeric", "lower": 18, "upper": 89, "above": "90+"}, False),
            ({"name": "Age", "kind": "numeric", "lower": 18, "upper": 90, "above": "90+"}, False),
            ({"name": "Age", "kind": "numeric", "lower": 18, "upper": 120}, True),
            ({"name": "Age", "kind": "numeric", "lower": 18, "upper": 120, "above": ">120"}, True),
            ({"name": "birth_month", "kind": "numeric", "lower": 1, "upper": 12}, True),
        ],
    )
    def test_coarse_declarations_are_no_finding(self, column: dict[str, object], is_listed: bool) -> None:
        warnings = study_warnings(Schema.model_validate({"columns": [column, COLUMNS[4]]}))
        assert bool(warnings) is is_listed
        assert all('upper = 89 and above = "90+"' in text for text in warnings if "'Age'" in text)

    def test_prepared_cells_are_no_finding(self) -> None:
        raw = pd.DataFrame(
            {
                "DOB": ["1931-05-06", "1970-01-31", "", "2001-12-01"] * 10,
                "Age": ["34", "95", "NA", "71"] * 10,
                "admitted": ["2020-01-05", "2020-02-06", "2021-01-01", "2021-11-30"] * 10,
                "zip": ["02139", "94110", "10001", "60601"] * 10,
                "birth_month": ["May", "January", "", "December"] * 10,
            },
            dtype=object,
        )
        prepared, _ = prepare_table(raw)
        for name in raw.columns:
            assert f"'{name}' (" in table_warnings({name: raw[name].tolist()}, None)[0]
        assert not table_warnings({str(name): cells.tolist() for name, cells in prepared.items()}, None)
        assert table_warnings({"DOB": ["1900", "1950", "1960"] * 9}, None)
        assert table_warnings({"Age": ["> 95", "34", "60"] * 9}, None)


def test_table_warnings_name_every_column_but_the_patients() -> None:
    columns = {str(name): cells.tolist() for name, cells in TABLE.items()}
    ssn, email, others = table_warnings(columns, "phone")
    assert "column 'ssn' holds US social security numbers" in ssn
    assert "column 'v1' holds e-mail addresses" in email
    assert "fedsynth prepare" in others
