"""Standards of dictionaries: which settings of any column come back after a round trip."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.columns.base import TableColumn
from common.columns.kinds import KINDS, parse_column
from common.dictionary.standards.registry import (
    STANDARDS,
    WRITTEN,
    ImportedDictionary,
    export,
    import_document,
)
from common.dictionary.standards.values import clean, pattern_of, regex_of
from tests.testbeds.all_kinds import COLUMNS

HELD_BY_SDV = {
    "numeric": set[str](),
    "boolean": set[str](),
    "categorical": {"categories"},
    "date": {"date_format"},
    "datetime": {"date_format", "resolution"},
    "identifier": {"pattern"},
}
"""Kinds that come back from SDV metadata, and the settings that come back with them."""

TEXTS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x4FF, categories=("L", "N", "P", "S")), min_size=1, max_size=12
)


def numerics() -> st.SearchStrategy[dict[str, Any]]:
    def build(lower: int, width: int, decimals: int, codes: list[str], mark: str | None) -> dict[str, Any]:
        edges = {"lower": lower / 10**decimals, "upper": (lower + width) / 10**decimals}
        codes = [code for code in codes if not code.replace(".", "").isdigit()]
        comma = {"decimal": mark} if mark else {}
        return {"kind": "numeric", "decimals": decimals, **edges, "missing_codes": codes, **comma}

    whole = st.integers(-(10**6), 10**6)
    return st.builds(
        build,
        whole,
        st.integers(1, 10**6),
        st.integers(0, 4),
        st.lists(TEXTS, unique=True, max_size=2),
        st.sampled_from([None, ","]),
    )


def strategies() -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    labels = st.lists(TEXTS, min_size=1, max_size=6, unique=True)
    formats = st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"])
    fixed = {
        str(column["kind"]): st.just({key: value for key, value in column.items() if key != "name"})
        for column in COLUMNS
        if column["kind"] in ("set", "code", "text", "datetime")
    }
    marks = st.text("#?AZ-9.+", min_size=1, max_size=8).map(lambda text: f"{text}####")
    years = st.integers(1950, 2000)
    return {
        "numeric": numerics(),
        "categorical": labels.map(lambda listed: {"kind": "categorical", "categories": listed}),
        "boolean": st.sampled_from([("1", "0"), ("ja", "nein"), ("True", "False")]).map(
            lambda pair: {"kind": "boolean", "true": pair[0], "false": pair[1]}
        ),
        "date": st.builds(
            lambda form, year: (
                {"kind": "date", "date_format": form}
                | {
                    key: form.replace("%Y", str(year + add)).replace("%m", "03").replace("%d", "04")
                    for key, add in (("lower", 0), ("upper", 9))
                }
            ),
            formats,
            years,
        ),
        "identifier": marks.map(lambda pattern: {"kind": "identifier", "pattern": pattern}),
        **fixed,
    }


def columns_of(kinds: set[str]) -> st.SearchStrategy[list[TableColumn]]:
    """Return tables of several columns of these kinds."""
    drawn = st.one_of(*(strategy for kind, strategy in strategies().items() if kind in kinds))
    missing = st.booleans()
    descriptions = st.one_of(st.none(), TEXTS)

    def build(listed: list[tuple[dict[str, Any], bool, str | None]]) -> list[TableColumn]:
        columns = []
        for number, (described, may_miss, description) in enumerate(listed):
            kind = KINDS[described["kind"]]
            extra: dict[str, Any] = {"missing": True} if may_miss and kind.drafts_missing else {}
            if description is not None:
                extra["description"] = clean(description) or "x"
            columns.append({"name": f"c{number}", **described, **extra})
        known = {"id": "identifier", "age": "numeric", "drugs": "set"}
        if any("{id}" in str(column.get("template")) for column in columns):
            columns += [next(c for c in COLUMNS if c["name"] == name) for name in known]
        return [parse_column(column) for column in columns]

    return st.lists(st.tuples(drawn, missing, descriptions), min_size=1, max_size=5).map(build)


def round_trip(columns: list[TableColumn], name: str) -> tuple[ImportedDictionary, tuple[str, ...]]:
    exported = export(columns, name)
    return import_document(json.loads(exported.text), STANDARDS[name]), exported.losses


class TestRoundTrip:
    """A study exported and imported again."""

    @pytest.mark.parametrize("name", ["frictionless", "json-schema"])
    def test_all_kinds_come_back_whole(self, name: str) -> None:
        columns = [parse_column(column) for column in COLUMNS]
        again, _ = round_trip(columns, name)
        assert [entry.column for entry in again.entries] == columns

    @pytest.mark.parametrize("name", ["frictionless", "json-schema"])
    @given(columns=columns_of(set(KINDS)))
    @settings(max_examples=60, deadline=None)
    def test_any_columns_come_back_whole(self, name: str, columns: list[TableColumn]) -> None:
        again, _ = round_trip(columns, name)
        assert [entry.column for entry in again.entries] == columns

    @given(columns=columns_of(set(HELD_BY_SDV)))
    @settings(max_examples=60, deadline=None)
    def test_sdv_brings_back_what_it_can_hold(self, columns: list[TableColumn]) -> None:
        again, losses = round_trip(columns, "sdv")
        assert [entry.name for entry in again.entries] == [column.name for column in columns]
        for column, entry in zip(columns, again.entries, strict=True):
            if column.kind == "boolean" and entry.kind == "categorical":  # SDV takes True and False alone
                assert f"column '{column.name}': SDV metadata cannot hold kind" in " ".join(losses)
                continue
            assert entry.kind == column.kind
            said = " ".join(loss for loss in losses if loss.startswith(f"column '{column.name}'"))
            for key in type(column).model_fields:
                value = getattr(column, key)
                value = list(value) if isinstance(value, tuple) else value
                if key in HELD_BY_SDV[column.kind]:
                    assert entry.value(key) == value
                elif entry.value(key) != value:
                    assert key in said

    def test_sdv_says_which_columns_it_cannot_hold(self) -> None:
        exported = export([parse_column(column) for column in COLUMNS], "sdv")
        kinds = {json.loads(exported.text)["columns"][column["name"]]["sdtype"] for column in COLUMNS}
        assert kinds == {"id", "numerical", "categorical", "datetime", "unknown"}
        assert "column 'note': SDV metadata cannot hold a column of this kind" in exported.losses
        assert [loss for loss in exported.losses if loss.startswith("column 'drugs'") and "kind" in loss]

    @pytest.mark.parametrize("name", WRITTEN)
    def test_names_of_any_script_come_back(self, name: str) -> None:
        columns = [
            parse_column({"name": text, "kind": "categorical", "categories": ["ж", "<b>"]}) for text in ("年齢", "<i>")
        ]
        again, _ = round_trip(columns, name)
        assert [entry.column.name for entry in again.entries] == ["年齢", "<i>"]
        assert again.entries[0].value("categories") == ["ж", "<b>"]

    @given(pattern=st.text("#?abcXYZ019-_./ +(){}[]^$|\\*é", min_size=1, max_size=12))
    def test_patterns_and_expressions_turn_back(self, pattern: str) -> None:
        assert pattern_of(regex_of(pattern)) == pattern

    @pytest.mark.parametrize("regex", ["(a|b)", "[a-z]+", "x*", "", ".", r"\w{3}", "a{100}", "#", r"\?"])
    def test_other_expressions_are_no_pattern(self, regex: str) -> None:
        assert pattern_of(regex) is None
