"""Where a study's columns go in OMOP and FHIR: a file beside the study, written by people.

A column that the file does not name goes to OMOP's observation with concept 0, and to a FHIR Observation with a local
code. So an export without any mapping holds every cell, too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from common.columns.base import TableColumn
from common.columns.boolean import Boolean
from common.columns.date import Dated
from common.columns.item_set import ItemSet
from common.columns.labels import LabelColumn
from common.columns.numeric import Numeric
from common.columns.words import FALSE_WORDS
from common.errors import StudyError, cause_of
from common.settings import Frozen, Place, Readable, explain, is_unset, toml_problem
from common.study.schema import Schema

SYSTEMS = {
    "loinc": "http://loinc.org",
    "snomed": "http://snomed.info/sct",
    "rxnorm": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "atc": "http://www.whocc.no/atc",
    "icd10": "http://hl7.org/fhir/sid/icd-10",
    "icd10cm": "http://hl7.org/fhir/sid/icd-10-cm",
    "icd9cm": "http://hl7.org/fhir/sid/icd-9-cm",
}
"""Names that a mapping may use for the code systems of FHIR; any other system is written as its URL or URN."""

Domain = Literal["observation", "measurement", "condition", "drug"]
"""Kind of row that a cell becomes."""

PRESENCE: tuple[Domain, ...] = ("condition", "drug")
"""Domains whose rows say that a label, code or item is there, or absent; those of the others hold a value."""

Fact = Literal["gender", "race", "ethnicity", "age", "birth_date", "visit_start", "visit_end"]
"""Fact of the person or visit, which one column says."""

Destination = Literal[Domain, Fact]
"""Where a column goes. One that goes to a fact becomes an observation besides."""

PERSON_LABELS: tuple[Fact, ...] = ("gender", "race", "ethnicity")
"""Destinations whose labels get concepts in OMOP's person."""

DAYS = {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}
"""Days of a unit of a time that is a number."""

VISIT_KINDS = {
    "outpatient": (9202, "AMB", "ambulatory"),
    "inpatient": (9201, "IMP", "inpatient encounter"),
    "emergency": (9203, "EMER", "emergency"),
}
"""OMOP concept, and code and display of FHIR's class, of each kind of visit."""


class Concept(Frozen):
    """What a column or label means: a standard concept of OMOP, and a code of a system that FHIR names.

    `system` is a name in `SYSTEMS`, or a URL or URN. Concept 0 is OMOP's "no matching concept".
    """

    concept: int = Field(default=0, ge=0, lt=2**31)
    system: Readable | None = Field(default=None, exclude_if=is_unset)
    code: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    display: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)

    @field_validator("system")
    @classmethod
    def _known(cls, system: str | None) -> str | None:
        if system is not None and system not in SYSTEMS and ":" not in system:
            raise ValueError(f"system '{system}' is unknown; choose from {', '.join(SYSTEMS)}, or write its URL")
        return system

    @property
    def url(self) -> str | None:
        """The code system as FHIR writes it."""
        return None if self.system is None else SYSTEMS.get(self.system, self.system)


class ColumnMapping(Concept):
    """Where one column goes, and what its labels mean.

    `values` says what labels, codes or items mean, by their text; a whole number stands for an OMOP concept. `absent`
    lists labels of a condition or drug that say it is not there; unless declared, the words for no. With `system` and
    without `code`, the cells themselves are codes of that system. `unit` is a code of UCUM.
    """

    name: Readable = Field(min_length=1)
    to: Destination = "observation"
    unit: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    unit_concept: int = Field(default=0, ge=0, lt=2**31, exclude_if=is_unset)
    values: dict[str, Concept] = Field(default={}, exclude_if=is_unset)
    absent: tuple[Readable, ...] | None = Field(default=None, strict=False, exclude_if=lambda value: value is None)

    @field_validator("values", mode="before")
    @classmethod
    def _numbers(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {text: {"concept": value} if isinstance(value, int) else value for text, value in values.items()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.code is not None and self.system is None:
            raise ValueError(f"column '{self.name}': code needs its system, such as loinc; add it")
        for text, value in self.values.items():
            if value.code is not None and value.url is None and self.url is None:
                raise ValueError(f"column '{self.name}': the code of '{text}' needs a system, such as snomed; add it")
        return self

    def problem(self, column: TableColumn) -> str | None:
        """Return why the column cannot go where the mapping says; None if it can."""
        is_of_labels = isinstance(column, LabelColumn | ItemSet)
        if self.to in (*PRESENCE, *PERSON_LABELS) and not is_of_labels:
            return f"goes to {self.to}, which takes labels, codes or items; send it to measurement or observation"
        if self.to in PERSON_LABELS and isinstance(column, ItemSet):
            return f"goes to {self.to}, which takes one label; send it to observation"
        if self.to == "age" and not isinstance(column, Numeric):
            return "goes to age, which takes a number; send it to observation"
        if self.to in ("birth_date", "visit_start", "visit_end") and not isinstance(column, Dated):
            return f"goes to {self.to}, which takes a date; send it to observation"
        known = labels_of(column)
        for text in (*self.values, *(self.absent or ())):
            if text not in known:
                return f"has no label, code or item '{text}'; correct values or absent"
        return None

    def is_absent(self, column: TableColumn, text: str) -> bool:
        """Return whether a label says that the condition or drug is not there."""
        if self.absent is not None:
            return text in self.absent
        if isinstance(column, Boolean):
            return text == column.false
        return isinstance(column, LabelColumn) and text not in self.values and text.strip().lower() in FALSE_WORDS


def labels_of(column: TableColumn) -> frozenset[str]:
    """Return the declared labels, codes, items or missing codes of a column."""
    if isinstance(column, ItemSet):
        return frozenset(column.items)
    if isinstance(column, Numeric):
        return frozenset(column.missing_codes)
    return frozenset(column.labels) if isinstance(column, LabelColumn) else frozenset()


class ExportMapping(Frozen):
    """Where all columns go. `index_date` is the day of rows without a date, and from which numbers count as times."""

    index_date: Readable = "2020-01-01"
    release_date: Readable | None = Field(default=None, exclude_if=is_unset)
    time_unit: Literal["days", "weeks", "months", "years"] = "days"
    visit: Literal["outpatient", "inpatient", "emergency"] = "outpatient"
    unknown_birth_year: int = Field(default=1900, ge=1850, le=2100)
    columns: tuple[ColumnMapping, ...] = Field(default=(), strict=False)

    @field_validator("index_date", "release_date", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        text = value.isoformat() if type(value) is date else value
        try:
            return text if text is None else date.fromisoformat(text).isoformat()
        except (TypeError, ValueError):
            raise ValueError("index_date and release_date are days such as 2020-01-31; correct them") from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [column.name for column in self.columns]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column '{repeated[0]}' is mapped twice; remove one")
        for to in get_args(Fact):
            if len(taken := [column.name for column in self.columns if column.to == to]) > 1:
                raise ValueError(f"columns '{taken[0]}' and '{taken[1]}' both go to {to}; send one to observation")
        return self

    def of(self, name: str) -> ColumnMapping:
        """Return where a column goes."""
        return next((column for column in self.columns if column.name == name), ColumnMapping(name=name))

    def going_to(self, fact: Fact) -> str | None:
        """Return the name of the column that goes to a fact of the person or visit; None if there is none."""
        return next((column.name for column in self.columns if column.to == fact), None)

    def starts_of(self, declared: Schema) -> str | None:
        """Return the name of the column that says when visits start: the study's time, or one that goes there."""
        return declared.time if declared.time_column is not None else self.going_to("visit_start")

    def check(self, declared: Schema) -> None:
        """Raise `StudyError` where the mapping does not fit the study's columns."""
        columns = {column.name: column for column in declared.columns}
        for mapped in self.columns:
            column = columns.get(mapped.name)
            if column is None:
                raise StudyError(f"export mapping: column '{mapped.name}' is not in the study; correct its name")
            if (problem := mapped.problem(column)) is not None:
                raise StudyError(f"export mapping: column '{mapped.name}' {problem}")
            is_of_person = mapped.to in PERSON_LABELS
            if declared.time is not None and is_of_person and column.per != "patient":
                raise StudyError(
                    f"export mapping: column '{mapped.name}' goes to {mapped.to}, which a person has once, and is of "
                    "the visit; send it to observation"
                )
        if declared.time is not None and self.going_to("visit_start") not in (None, declared.time):
            raise StudyError(f"export mapping: visits start at '{declared.time}', the study's time; remove visit_start")

    def to_toml(self) -> str:
        """Return the text of a file that `parse_mapping` reads back."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_mapping(path: Path) -> ExportMapping:
    """Parse an export mapping.

    Raises:
        StudyError: the file cannot be read or is not valid; the text names key, limit and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise StudyError(f"cannot read export mapping '{path}': {cause_of(problem)}; check the path") from None
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> ExportMapping:
    """Parse the text of an export mapping. Raises `StudyError` as `read_mapping` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise StudyError(f"{source} is {toml_problem(text, problem)}") from None
    except (ValueError, RecursionError):
        raise StudyError(f"{source} is no export mapping; it holds a number or a nesting that is too long") from None
    try:
        return ExportMapping.model_validate(document)
    except ValidationError as problem:
        raise StudyError(f"{source}: {explain(problem, _known_keys)}") from None


def _known_keys(place: Place) -> list[str]:
    match place:
        case ("columns", int(), "values", *_):
            return list(Concept.model_fields)
        case ("columns", *_):
            return list(ColumnMapping.model_fields)
        case _:
            return list(ExportMapping.model_fields)
