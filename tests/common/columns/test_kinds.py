"""The contract of every kind of column, over the table of kinds, and a further kind through a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from pydantic import ValidationError

from common.columns.base import Column
from common.columns.binning import Binning
from common.columns.categorical import Categorical
from common.columns.cells import KEEP_TO_YOURSELF
from common.columns.kinds import KINDS
from common.errors import StudyError
from common.study.schema import Schema
from common.study.study import parse_study
from common.tables.checking import check_table
from common.tables.conforming import conform
from common.tables.formats import read_table
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.answer_column import Answer
from tests.testbeds.clinic import clinic_study, clinic_tables
from tests.testbeds.column_examples import EXAMPLES, SECRET_CELL

pytestmark = pytest.mark.usefixtures("quick_learners")


@pytest.fixture(autouse=True)
def a_further_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "answer", Answer)


@pytest.fixture(params=EXAMPLES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def conformed(column: Column, cells: tuple[str, ...]) -> pd.Series:
    return pd.Series(column.conform(list(cells)))


class TestEveryKind:
    def test_has_an_example(self) -> None:
        assert set(EXAMPLES) == {kind for kind, column in KINDS.items() if issubclass(column, Column)}

    def test_holds_numbers_or_labels(self, kind: str) -> None:
        column = EXAMPLES[kind].column(kind)
        assert (column.grid is None) == bool(column.labels)

    def test_conforms_every_cell(self, kind: str) -> None:
        example = EXAMPLES[kind]
        column = example.column(kind)
        assert tuple(column.format(conformed(column, example.cells))) == example.texts

    def test_keeps_missing_where_it_is_allowed(self, kind: str) -> None:
        example = EXAMPLES[kind]
        column = example.column(kind, missing=True)
        assert conformed(column, example.cells[-2:-1]).isna().all()

    def test_formats_what_it_conforms_to(self, kind: str) -> None:
        example = EXAMPLES[kind]
        column = example.column(kind, missing=True)
        values = conformed(column, example.cells)
        again = conformed(column, tuple(column.format(values)))
        pd.testing.assert_series_equal(again, values)

    @pytest.mark.parametrize("missing", [False, True])
    def test_encodes_and_decodes_to_the_same_codes(self, kind: str, missing: bool) -> None:
        example = EXAMPLES[kind]
        column = example.column(kind, missing=missing)
        values, histogram = conformed(column, example.cells), column.histogram(32)
        code = column.code(histogram.count(values), Binning(cells=32, bins=8))
        codes = code.encode(values)
        assert code.size <= column.max_codes(8)
        assert ((codes >= 0) & (codes < code.size)).all()
        again = pd.Series(code.decode(codes, np.random.default_rng(0)))
        assert (code.encode(again) == codes).all()
        assert (code.encode(pd.Series(column.compact(values))) == codes).all()
        pd.testing.assert_series_equal(conformed(column, tuple(column.format(again))), again)

    def test_counts_one_patient_in_few_cells(self, kind: str) -> None:
        column = EXAMPLES[kind].column(kind)
        histogram, values = column.histogram(300), conformed(column, EXAMPLES[kind].cells)
        counts = histogram.count(values)
        change = counts - histogram.count(values[1:])
        assert counts.shape == (histogram.length,)
        assert set(change) <= {0, 1}
        assert change.sum() == histogram.max_changed_cells
        assert (histogram.count(pd.Series(column.compact(values))) == counts).all()

    def test_counts_missing_in_a_cell_of_its_own(self, kind: str) -> None:
        with_missing, without = (EXAMPLES[kind].column(kind, missing=missing) for missing in (True, False))
        histogram, plain = with_missing.histogram(300), without.histogram(300)
        assert histogram.length == plain.length + 1
        assert histogram.max_changed_cells == plain.max_changed_cells
        values = conformed(with_missing, (*EXAMPLES[kind].cells, "", ""))
        missing = values[values.isna()]
        assert histogram.count(missing).tolist() == [0] * plain.length + [len(missing)]
        assert (histogram.count(pd.Series(with_missing.compact(missing))) == histogram.count(missing)).all()
        present = values[values.notna()].infer_objects()
        assert histogram.count(present).tolist() == [*plain.count(present), 0]

    @pytest.mark.parametrize("missing", [False, True])
    def test_masses_are_about_the_patients_of_each_code(self, kind: str, missing: bool) -> None:
        column = EXAMPLES[kind].column(kind, missing=missing)
        histogram, values = column.histogram(32), conformed(column, EXAMPLES[kind].cells * 50)
        code = column.code(histogram.count(values), Binning(cells=32, bins=8))
        patients = np.bincount(code.encode(values), minlength=code.size)
        assert code.masses.shape == (code.size,)
        assert code.masses == pytest.approx(patients, abs=0.5)
        nothing = column.code(np.full(histogram.length, -1000), Binning(cells=32, bins=8, deviation=3.0))
        assert (nothing.masses > 0).all()

    def test_says_what_it_changes_and_no_cell(self, kind: str) -> None:
        example = EXAMPLES[kind]
        notices = example.column(kind).check(list(example.cells))
        assert notices == [f"{text}; {KEEP_TO_YOURSELF}" for text in example.notices]
        assert example.column(kind).check(list(example.texts)) == []
        assert SECRET_CELL not in repr(example.column(kind, missing=True).check(list(example.cells)))

    def test_allows_missing_without_a_notice(self, kind: str) -> None:
        assert EXAMPLES[kind].column(kind, missing=True).check(["", "NA"]) == []

    def test_refuses_faulty_settings(self, kind: str) -> None:
        for message, settings in EXAMPLES[kind].faults.items():
            with pytest.raises(ValidationError, match=message):
                EXAMPLES[kind].column(kind, **settings)

    def test_draws_allowed_values(self, kind: str) -> None:
        column = EXAMPLES[kind].column(kind)
        drawn = pd.Series(column.draw(50, np.random.default_rng(0)))
        pd.testing.assert_series_equal(conformed(column, tuple(column.format(drawn))), drawn)
        assert drawn.nunique() > 1
        assert column.check([column.outlying_cell]) == []

    def test_deals_out_every_value(self, kind: str) -> None:
        example = EXAMPLES[kind]
        column = example.column(kind, missing=True)
        strata = column.strata(conformed(column, example.cells))
        assert strata[-2] == "missing"
        assert len(set(strata)) >= 3

    def test_survives_a_study_file(self, kind: str) -> None:
        column = EXAMPLES[kind].column(kind)
        study = clinic_study()
        schema = Schema(columns=(*study.table.columns, column))
        with_column = study.model_copy(update={"declared": schema})
        assert parse_study(with_column.to_toml()).table == schema

    def test_explains_unknown_keys_with_its_own(self, kind: str) -> None:
        document = clinic_study().model_dump(mode="json", by_alias=True, exclude_none=True)
        column = EXAMPLES[kind].column(kind).model_dump(mode="json", exclude_none=True)
        document["schema"]["columns"] += [{**column, "descriptoin": "y"}]
        expected = r"unknown key 'descriptoin' in \[schema\.columns\.4\]; did you mean 'description'\?"
        with pytest.raises(StudyError, match=expected):
            parse_study(tomli_w.dumps(document))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"name": "x", "kind": "prose"},
            "column 'x': unknown kind 'prose'; choose from date, datetime, boolean, code, numeric, set",
        ),
        (
            {"name": "x", "kind": ["prose"]},
            r"column 'x': unknown kind '\['prose'\]'; choose from date, datetime, boolean",
        ),
        ({"name": "x", "kind": {"prose": 1}}, "column 'x': unknown kind '.*'; choose from date, datetime, boolean"),
        ({"name": "x"}, "column 'x': kind is not given; choose from date, datetime, boolean, code, numeric, set"),
        ("x", "a column is a table of settings"),
    ],
)
def test_a_schema_refuses_unknown_kinds(entry: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Schema.model_validate({"columns": [entry, {"name": "y", "kind": "numeric", "lower": 0, "upper": 1}]})


def test_a_further_kind_runs_from_study_to_report(tmp_path: Path) -> None:
    clinic = clinic_study(training={"rounds": 0}, synthesizer={"fit_steps": 20})
    text = clinic.to_toml().replace("[[schema.columns]]", '[[schema.columns]]\nkind = "answer"\nname = "smoker"\n'
                                    "missing = true\n[[schema.columns]]", 1)  # fmt: skip
    words = ("yes", "no", "True", "0", "", "unclear")
    tables = {
        name: raw.assign(smoker=[words[row % len(words)] for row in range(len(raw))])
        for name, raw in clinic_tables().items()
    }
    study = parse_study(text)
    prepared = prepare(study, tables)
    assert any("column 'smoker' is neither yes nor no" in notice for notice in prepared.notices)
    simulate(prepared, tmp_path / "out", Options(rows=200))
    synthetic = read_table(tmp_path / "out" / "synthetic.csv")
    assert check_table(synthetic, study.table, name="synthetic") == []
    assert set(conform(synthetic, study.table)["smoker"].dropna()) == {"no", "yes"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    smoker = next(column for column in report["columns"] if column["name"] == "smoker")
    assert (smoker["kind"], smoker["categories"]) == ("categorical", ["no", "yes"])


def test_an_unlisted_label_goes_to_fallback_missing_or_last() -> None:
    labels = ("a", "b", "c")
    assert Categorical(name="x", categories=labels, fallback="b", missing=True).fallback_code == 1
    assert Categorical(name="x", categories=labels, missing=True).fallback_code == 3
    assert Categorical(name="x", categories=labels).fallback_code == 2
