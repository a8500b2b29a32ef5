"""The agreed columns of a table, what each holds and how it is written. Written by people, not learned from records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, SerializeAsAny, model_validator

from common.columns.base import Column, TableColumn
from common.columns.categorical import Categorical
from common.columns.date import Dated
from common.columns.kinds import parse_column
from common.columns.numeric import Numeric
from common.columns.questions import is_plain_time, time_of
from common.settings import Frozen, Readable, is_unset

DeclaredColumn = Annotated[SerializeAsAny[TableColumn], PlainValidator(parse_column)]
"""A column of any kind in `common.columns.kinds`, told apart by `kind`."""


VISITS, VISIT = "visits", "visit"
"""Derived columns of a table of visits: the patient's number of kept visits, and which of them a row is, from 1."""

FIRST_VISIT, SINCE_LAST_VISIT = "first_visit", "since_last_visit"
"""Derived columns where the time is a declared column: when the patient's first kept visit is, and how long a visit is
after the one before."""

DERIVED = (VISITS, VISIT, FIRST_VISIT, SINCE_LAST_VISIT)
"""All columns that visits are given."""

FEWEST_VISITS, LONGEST_HISTORY = 2, 48
"""Bounds on `most_visits`."""

EXACT_PARTS, PARTS_PER_VISIT = 60, 16
"""A patient is this many parts at most where equal shares of them are to be exact; more visits have at least the second
number of parts each, so that rounding shares down takes less than a sixteenth of a patient's weight."""


class Schema(Frozen):
    """The columns of every hospital's table, in the order of the synthetic table.

    With `patient`, `time` and `most_visits`, a row is a visit. A patient's visits are ordered by the time column (equal
    times as in the file), and `keep_visits` says which are kept of more than `most_visits`. A column with `per =
    "patient"` has the value of the first or last kept visit, as `varying` says; "refuse" uses the first too, after a
    check that refuses a table in which the column varies. Where `time` is a declared column, it is synthesized as the
    first visit and the times in between; otherwise it only orders the visits. With `interval`, visits follow a regular
    clock: kept ones count as that far apart, so that only the first visit is synthesized.

    Counting, synthesis and evaluation work on the *modeled* columns: `modeled`, `names`, `each()` and `schema[name]`.
    Most columns are modeled as themselves, some as several or as none (`TableColumn.modeled`).
    """

    columns: tuple[DeclaredColumn, ...] = Field(min_length=2, strict=False)
    patient: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    time: Readable | None = Field(default=None, min_length=1, exclude_if=is_unset)
    most_visits: int | None = Field(default=None, ge=FEWEST_VISITS, le=LONGEST_HISTORY, exclude_if=is_unset)
    keep_visits: Literal["first", "last", "thinned"] | None = Field(default=None, exclude_if=is_unset)
    varying: Literal["first", "last", "refuse"] | None = Field(default=None, exclude_if=is_unset)
    interval: float | None = Field(default=None, gt=0, exclude_if=is_unset)

    @model_validator(mode="after")
    def _check(self) -> Self:
        # The columns of the table first: two that are modeled under one name are rarer than two of one name.
        for names in ([column.name for column in self.columns], list(self.names)):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"column '{repeated[0]}' is declared twice; remove one")
        if len(self.modeled) < 2:
            raise ValueError("[schema] has fewer than 2 columns that are read from records; declare another")
        others = {column.name: column for column in self.columns}
        for column in self.columns:
            for need in column.needs:
                if need not in others or need == column.name:
                    raise ValueError(f"column '{column.name}' names column '{need}', which is not declared; declare it")
            if (problem := column.problem(others)) is not None:
                raise ValueError(f"column '{column.name}' {problem}")
        self._check_visits()
        return self

    def _check_visits(self) -> None:
        """Refuse settings of visits that are incomplete, or columns that do not fit them."""
        keys = {"patient": self.patient, "time": self.time, "most_visits": self.most_visits}
        absent = [key for key, value in keys.items() if value is None]
        if len(absent) == len(keys):
            others = [key for key in ("keep_visits", "varying", "interval") if getattr(self, key) is not None]
            others += [f"per of column '{column.name}'" for column in self.columns if column.per is not None]
            if others:
                raise ValueError(f"[schema] {others[0]} is for tables of visits; add patient, time and most_visits")
            return
        if absent:
            raise ValueError(f"[schema] a table of visits has patient, time and most_visits; add {absent[0]}")
        if self.patient == self.time:
            raise ValueError("[schema] patient and time are two columns; correct one of them")
        for name in (*(column.name for column in self.columns), *self.names):
            if name in (*DERIVED, self.patient):
                raise ValueError(f"column '{name}' is the patient or a column that visits are given; rename it")
        for column in self.columns:
            if column.name == self.time:
                _check_time(column)
        if not any(column.modeled and column.per != "patient" for column in self.columns if column.name != self.time):
            raise ValueError('[schema] no column is of the visits; declare one without per = "patient"')
        self._check_interval()

    def _check_interval(self) -> None:
        """Refuse a regular clock that the time column cannot write."""
        if self.interval is None or self.most_visits is None:
            return
        time = self.time_column
        if time is None or self.keep_visits == "thinned":
            raise ValueError(
                "[schema] interval is the time between consecutive visits; declare the time as a column, and keep the "
                "first or last visits"
            )
        lower, upper, decimals = time.grid.lower, time.grid.upper, time.grid.decimals
        longest = round((self.most_visits - 1) * self.interval, decimals)  # 3 times 0.1 is a little more than 0.3
        if round(self.interval, decimals) != self.interval or longest > round(upper - lower, decimals):
            raise ValueError(
                f"[schema] interval = {self.interval:g} does not fit column '{time.name}': write it with at most "
                f"{decimals} decimals, and let most_visits = {self.most_visits} visits end between {lower:g} and "
                f"{upper:g}"
            )

    @property
    def time_column(self) -> Dated | Numeric | None:
        """The declared time of the visits; None where it only orders them, or rows are no visits."""
        return time_of(next((column for column in self.columns if column.name == self.time), None))

    @property
    def parts(self) -> int:
        """The number of parts of a patient in every count; 1 where a patient is one row."""
        return 1

    @property
    def modeled_table(self) -> Schema:
        """The columns as which rows are counted and synthesized: a table of visits has derived columns too."""
        return self if self.most_visits is None else self._visits_table

    @property
    def checked_table(self) -> Schema:
        """The modeled table with the declared time in place of what is derived from it, so that notices name it."""
        time, table = self.time_column, self.modeled_table
        if time is None:
            return table
        others = [column for column in table.columns if column.name not in (FIRST_VISIT, SINCE_LAST_VISIT)]
        return VisitsSchema(columns=(*others, time.model_copy(update={"per": "visit"})), most_visits=table.most_visits)

    @cached_property
    def _visits_table(self) -> VisitsSchema:
        return VisitsSchema.of(self)

    @cached_property
    def modeled(self) -> tuple[Column, ...]:
        """The columns of codes, in order."""
        return tuple(part for column in self.columns for part in column.modeled)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the modeled columns, in order."""
        return tuple(column.name for column in self.modeled)

    @property
    def read_names(self) -> tuple[str, ...]:
        """The names of the columns that are read from a hospital's table, in order."""
        return tuple(column.name for column in self.columns if column.modeled)

    @property
    def written_names(self) -> tuple[str, ...]:
        """The names of the columns of a synthetic table, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def with_grid(self) -> tuple[Column, ...]:
        """The columns of numbers, which are cut into bins."""
        return tuple(column for column in self.modeled if column.grid is not None)

    def __getitem__(self, name: str) -> Column:
        return self.modeled[self.names.index(name)]

    def each(self) -> Iterator[Column]:
        """Return the modeled columns in order (pydantic keeps `__iter__` for field names)."""
        return iter(self.modeled)


class VisitsSchema(Schema):
    """The columns of the kept visits, one row each: those of the patient first, and each with its `per`."""

    @classmethod
    def of(cls, declared: Schema) -> VisitsSchema:
        """Return the columns of a declared table of visits."""
        assert declared.most_visits is not None, "a table of visits"
        numbers = tuple(str(number) for number in range(1, declared.most_visits + 1))
        others = [column for column in declared.columns if column.name != declared.time]
        patient = [column for column in others if column.per == "patient"]
        visit = [column.model_copy(update={"per": "visit"}) for column in others if column.per != "patient"]
        patient.append(Categorical(name=VISITS, categories=numbers, per="patient"))
        visit.append(Categorical(name=VISIT, categories=numbers, per="visit"))
        if (time := declared.time_column) is not None:
            grid = time.grid
            patient.append(time.model_copy(update={"name": FIRST_VISIT, "per": "patient"}))
        if time is not None and declared.interval is None:
            longest = grid.upper - grid.lower
            between = Numeric(
                name=SINCE_LAST_VISIT, lower=0, upper=longest, decimals=grid.decimals, missing=True, per="visit"
            )
            visit.append(between)
        return cls(columns=(*patient, *visit), most_visits=declared.most_visits)

    def _check_visits(self) -> None:
        """Nothing is left to refuse: the declared table was checked."""

    @property
    def visits_in_full(self) -> int:
        """The largest number of visits of a patient."""
        assert self.most_visits is not None, "made of a table of visits"
        return self.most_visits

    @property
    def parts(self) -> int:
        """The number of parts of a patient in every count, of which each of n visits gets floor(parts / n)."""
        exact = math.lcm(*range(1, self.visits_in_full + 1))
        if exact <= EXACT_PARTS:
            return exact
        return EXACT_PARTS * math.ceil(PARTS_PER_VISIT * self.visits_in_full / EXACT_PARTS)

    @cached_property
    def is_of_visit(self) -> tuple[bool, ...]:
        """Whether each modeled column is of the visit, and not of the patient."""
        return tuple(column.per == "visit" for column in self.columns for _ in column.modeled)


def _check_time(column: TableColumn) -> None:
    """Raise `ValueError` if a declared column cannot be the time of visits."""
    if not is_plain_time(column) or column.missing or column.per == "patient":
        raise ValueError(
            f"column '{column.name}' is the time of the visits: declare a date, or numbers without missing_codes, "
            'multiples, below and above; leave out missing and per = "patient"'
        )
