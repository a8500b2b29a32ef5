"""What a cell says: one entry for a number, label, code or date, and one for each item of a list. Worked out once for
each distinct cell, and the same for OMOP and FHIR."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from common.columns.base import TableColumn
from common.columns.cells import number_of, read_date
from common.columns.code import Code
from common.columns.date import Date, Dated
from common.columns.item_set import ItemSet
from common.columns.labels import LabelColumn
from common.columns.numeric import Numeric
from common.errors import DataError
from common.export.mapping import PRESENCE, ColumnMapping, Concept, Destination, Domain, ExportMapping, Fact, labels_of
from common.export.rows import Rows
from common.study.schema import Schema

Operator = Literal["", "<", ">"]
"""How a number compares with the value: of a value below or above a declared limit, only one side is known."""

NO_CONCEPT = Concept()


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """One fact of a cell.

    Attributes:
        text: as the table writes it: the cell, or one item of it.
        number: the number, or the limit that it is beyond; None for other cells.
        operator: on which side of the number the value is.
        moment: the date; None for other cells.
        concept: what a label, code or item means.
        is_label: whether the text is a declared label, code or item.
        is_reason: whether it says why there is no number.
        is_absent: whether it says that a condition or drug is not there.
    """

    text: str
    number: float | None = None
    operator: Operator = ""
    moment: datetime | None = None
    concept: Concept = NO_CONCEPT
    is_label: bool = False
    is_reason: bool = False
    is_absent: bool = False


@dataclass(frozen=True)
class MappedColumn:
    """A column of the study and where it goes."""

    column: TableColumn
    mapping: ColumnMapping

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def domain(self) -> Domain:
        """The kind of row that its cells become; a fact of the person or visit is an observation besides."""
        return domain_of(self.mapping.to)

    @property
    def is_presence(self) -> bool:
        """Whether its cells say that a condition or drug is there, or absent; otherwise they hold a value."""
        return self.mapping.to in PRESENCE

    def entries(self, cell: str) -> tuple[ExportEntry, ...]:
        """Return what a cell says; nothing for a missing one.

        Raises:
            DataError: a list is not written as the study declares, or a condition or drug is no declared label.
        """
        if cell == "":
            return ()
        column = self.column
        if isinstance(column, ItemSet):
            return self._items(cell, column)
        if isinstance(column, Numeric):
            return (self._number(cell, column),)
        if isinstance(column, Dated):
            moment = read_date(cell, column.date_format)
            is_exact = moment is not None and moment.strftime(column.date_format) == cell
            return (ExportEntry(cell, moment=moment if is_exact else None),)
        if isinstance(column, LabelColumn):
            return (self._label(cell, column),)
        return (ExportEntry(cell),)

    def _items(self, cell: str, column: ItemSet) -> tuple[ExportEntry, ...]:
        if cell == column.empty:
            return (ExportEntry(cell),)
        held = cell.split(column.separator)
        if [item for item in column.items if item in held] != held:
            raise DataError(
                f"column '{column.name}': a list does not hold declared items in their order, joined by separator; "
                "export a table that fedsynth wrote"
            )
        return tuple(ExportEntry(item, concept=self._meaning(item), is_label=True) for item in held)

    def _number(self, cell: str, column: Numeric) -> ExportEntry:
        if cell in column.missing_codes:
            return ExportEntry(cell, concept=self._meaning(cell), is_reason=True)
        if cell == column.below:
            return ExportEntry(cell, column.lower, "<")
        if cell == column.above:
            return ExportEntry(cell, column.upper, ">")
        number = number_of(cell if column.decimal is None else cell.replace(column.decimal, "."))
        return ExportEntry(cell, number if number == number else None)  # NaN differs from itself

    def _label(self, cell: str, column: LabelColumn) -> ExportEntry:
        is_label = cell in self._labels
        if self.is_presence and not is_label:
            raise DataError(
                f"column '{column.name}': a cell is not one of its labels or codes; export a table that fedsynth wrote"
            )
        is_absent = self.is_presence and self.mapping.is_absent(column, cell)
        return ExportEntry(cell, concept=self._meaning(cell), is_label=is_label, is_absent=is_absent)

    def _meaning(self, text: str) -> Concept:
        """Return what a label, code or item means, with the column's own concept where the label has none."""
        mapping, declared = self.mapping, self.mapping.values.get(text)
        if declared is not None:
            system = declared.system or (mapping.system if declared.code else None)
            return declared.model_copy(update={"system": system})
        if mapping.system is not None and mapping.code is None and text in self._codes:
            return Concept(concept=mapping.concept, system=mapping.system, code=text)
        return NO_CONCEPT

    @cached_property
    def _labels(self) -> frozenset[str]:
        return labels_of(self.column)

    @cached_property
    def _codes(self) -> frozenset[str]:
        """The texts that are codes of the column's system, if it has one."""
        return self._labels - {self.column.other} if isinstance(self.column, Code) else self._labels

    @property
    def is_of_days(self) -> bool:
        """Whether its dates have no time of day."""
        return isinstance(self.column, Date)


def mapped_columns(declared: Schema, mapping: ExportMapping) -> tuple[MappedColumn, ...]:
    """Return the study's columns, with the mapping of each."""
    return tuple(MappedColumn(column, mapping.of(column.name)) for column in declared.columns)


def person_labels(rows: Rows, mapping: ExportMapping, fact: Fact) -> tuple[list[str], list[int]]:
    """Return each person's label of a fact, and its OMOP concept; "" and 0 where no column goes to the fact.

    Args:
        rows: whole patients.
        mapping: where the columns go.
        fact: one of `PERSON_LABELS`.
    """
    name = mapping.going_to(fact)
    if name is None:
        return [""] * len(rows.firsts), [0] * len(rows.firsts)
    texts, values = rows.cells[name][rows.firsts].tolist(), mapping.of(name).values
    return texts, [values.get(text, NO_CONCEPT).concept for text in texts]


def domain_of(to: Destination) -> Domain:
    """Return the kind of row for a destination."""
    return to if to in ("observation", "measurement", "condition", "drug") else "observation"
