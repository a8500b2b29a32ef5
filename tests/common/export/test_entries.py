"""Cells that no table of fedsynth has, and exports that say too much of a visit."""

from __future__ import annotations

import numpy as np
import pytest

from common.columns.categorical import Categorical
from common.columns.item_set import ItemSet
from common.errors import DataError
from common.export.entries import MappedColumn
from common.export.mapping import ColumnMapping, ExportMapping
from common.export.omop import OmopWriter
from common.export.rows import Rows
from common.export.visit_texts import VisitTexts, cell_of
from tests.testbeds.exports import visits_provenance

STROKE = Categorical(name="stroke", categories=("no", "ischemic"))
ALLERGIES = ItemSet(name="allergies", items=("nuts", "mites"), separator=", ")


@pytest.mark.parametrize("cell", ["mites, nuts", "nuts, dust", "nuts,mites"])
def test_a_list_in_another_form_is_refused(cell: str) -> None:
    mapped = MappedColumn(ALLERGIES, ColumnMapping(name="allergies"))
    assert [entry.text for entry in mapped.entries("nuts, mites")] == ["nuts", "mites"]
    with pytest.raises(DataError, match="column 'allergies': a list does not hold declared items in their order"):
        mapped.entries(cell)


def test_a_condition_is_a_declared_label() -> None:
    observed = MappedColumn(STROKE, ColumnMapping(name="stroke"))
    assert [entry.text for entry in observed.entries("other")] == ["other"]
    mapped = MappedColumn(STROKE, ColumnMapping(name="stroke", to="condition"))
    with pytest.raises(DataError, match="column 'stroke': a cell is not one of its labels or codes"):
        mapped.entries("other")


def test_a_visit_has_one_value_of_a_column() -> None:
    visit = VisitTexts("1", {"stroke": ["no", "ischemic"]})
    with pytest.raises(DataError, match="column 'stroke': a visit has two values"):
        cell_of(STROKE, visit)


def test_a_patients_name_fits_omop() -> None:
    declared = visits_provenance().study.declared
    cells = {column.name: np.array(["1"], dtype=object) for column in declared.columns}
    rows = Rows(np.array([1]), np.array(["p" * 51], dtype=object), np.array([1]), cells)
    with pytest.raises(DataError, match="a patient has a name of more than 50 characters"):
        OmopWriter(declared, ExportMapping()).frames(rows)
