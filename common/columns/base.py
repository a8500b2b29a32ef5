"""The interface of a column kind: everything that the rest of the system asks of a column.

A new kind is a subclass in a module of its own and an entry in `common.columns.kinds`. A `TableColumn` is a column of
the hospitals' table and of the synthetic one. It is modeled as one column of codes (then it is a `Column`), as several,
or not at all. A *conformed* column holds float64 with NaN for missing where the kind has a value grid, and labels
(objects) with None for missing elsewhere.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from common.arrays import Floats, Integers
from common.columns.binning import Binning
from common.columns.drafting import ColumnEvidence, Draft, LeftOut
from common.columns.parts import Parts
from common.columns.value_grid import ValueGrid
from common.settings import Frozen, Readable, is_unset

Codes = npt.NDArray[np.int16]
"""Codes of shape (rows,) or (rows, columns), each below its column's number of codes."""


LONGEST_NAME = 128
"""Most characters of a column's name."""

FEW = 3
"""Most codes of a column of labels along which tables are centered (`common.marginals.queries`)."""


class Histogram(Protocol):
    """How one column is counted before codes exist: every patient once or more, or not at all where the value is
    missing and missing is not counted. All of it is public but the counts."""

    @property
    def length(self) -> int:
        """Number of counts."""
        ...

    @property
    def max_changed_cells(self) -> int:
        """How many of the counts one patient can change, each by one: the L2 sensitivity is its square root."""
        ...

    def count(self, values: pd.Series) -> Integers:
        """Return patients per cell, shape (length,), of a conformed or compact column."""
        ...


class ColumnCode(Protocol):
    """Converts the values of one column to codes and back."""

    @property
    def size(self) -> int:
        """Number of codes; the last one means missing, where missing is allowed."""
        ...

    @property
    def masses(self) -> Floats:
        """About how many patients have each code, by the released counts: positive, shape (size,)."""
        ...

    @property
    def counts_per_mass(self) -> int:
        """Of how many independent noisy counts each mass is the difference or sum."""
        ...

    @property
    def parts(self) -> Parts:
        """How the released counts relate to the smallest counted parts of the column's values."""
        ...

    def encode(self, values: pd.Series) -> Codes:
        """Return the code of every value of a conformed or compact column."""
        ...

    def redrawn(self, deviation: float, rng: np.random.Generator) -> ColumnCode:
        """Return the same codes with values within each as another sample, counted with fresh noise, would have them.

        Args:
            deviation: standard deviation of the noise in each released count, in patients.
            rng: of sample and noise.
        """
        ...

    def decode(self, codes: Codes, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return a conformed column with these codes: the inverse of `encode`."""
        ...


Texts = npt.NDArray[np.object_]
"""Cells of a written column: str, "" for missing, shape (rows,)."""


Per = Literal["patient", "visit"]
"""Whether a column of a table of visits has one value for each patient or for each visit."""


class TableColumn(Frozen):
    """A declared column of the table: its settings, and how its cells are read, checked and written.

    `per` is for tables of visits (`Schema.time`), where "visit" is the default.
    """

    drafts_missing: ClassVar[bool] = True
    """Whether a draft allows missing where cells of the column are empty."""

    kind: str
    name: Readable = Field(min_length=1, max_length=LONGEST_NAME)
    missing: bool = False
    description: Readable | None = None
    per: Per | None = Field(default=None, exclude_if=is_unset)

    @property
    @abstractmethod
    def modeled(self) -> tuple[Column, ...]:
        """The columns of codes as which it is counted and synthesized; none where no record is read for it."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of columns of the same row that have to be declared before this one can be read or written."""
        return ()

    @property
    def max_rows(self) -> int | None:
        """Most rows of a synthetic table for which the column can be written; None for any number."""
        return None

    @property
    @abstractmethod
    def outlying_cell(self) -> str:
        """The text of a value that few patients have: the largest number or the last label."""

    @classmethod
    def draft(cls, evidence: ColumnEvidence) -> Draft | LeftOut | None:
        """Return the settings that fit a column of a public table; None where the kind does not recognize it."""
        return None

    @classmethod
    def forced(cls, evidence: ColumnEvidence) -> Draft | LeftOut | None:
        """Return the settings where a person says that the column is of this kind; None where it cannot be."""
        return cls.draft(evidence)

    def problem(self, others: Mapping[str, TableColumn]) -> str | None:
        """Return why the column does not fit the other columns of the schema, by name; None if it does."""
        return None

    @abstractmethod
    def read(self, cells: list[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the conformed values of every modeled column, by name. Never fails because of a cell."""

    def relate(self, values: dict[str, npt.NDArray[Any]]) -> None:
        """Replace values that depend on another column of the same row. All columns are read before."""

    @abstractmethod
    def check(self, cells: list[str]) -> list[str]:
        """Return notices for the table's owner about the cells that `read` changes, and their new values.

        No cell is an error: the schema is public and comes from the data dictionary, so no record may decide it. The
        texts count rows exactly, for the owner's eyes, and never hold a cell's text.
        """

    @abstractmethod
    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        """Return the cells of the written column; `read` turns them back.

        A column that is read from records never fails here, whatever the conformed values: a hospital writes its rows
        before anything is charged, and a failure would tell others about them.

        Args:
            frame: a conformed table, with every modeled column.
            texts: written cells of the columns that need no other.
        """

    @abstractmethod
    def invent(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Return conformed values of every modeled column, each declared value equally likely and none missing."""

    def consent_sentence(self, cells: int) -> str | None:
        """Return what is counted of it besides ranges of values or labels, or how it is written; None for nothing."""
        return None


class UnreadColumn(TableColumn):
    """A column whose cells no hospital reads: it is not modeled, only written."""

    drafts_missing: ClassVar[bool] = False

    @property
    def modeled(self) -> tuple[Column, ...]:
        return ()

    def read(self, cells: list[str]) -> dict[str, npt.NDArray[Any]]:
        return {}

    def check(self, cells: list[str]) -> list[str]:
        return []

    def invent(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        return {}


class Column(TableColumn):
    """A column that is modeled as one column of codes: how its values are counted, encoded and written."""

    @property
    def modeled(self) -> tuple[Column, ...]:
        return (self,)

    def read(self, cells: list[str]) -> dict[str, npt.NDArray[Any]]:
        return {self.name: self.conform(cells)}

    def write(self, frame: pd.DataFrame, texts: Mapping[str, Texts]) -> Texts:
        return self.format(frame[self.name])

    def invent(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        return {self.name: self.draw(rows, rng)}

    @property
    def grid(self) -> ValueGrid | None:
        """The grid of numbers that the column can take; None where it holds labels.

        Columns with a grid may be operands of rules and `time` of the evaluation, and are shown as histograms.
        """
        return None

    @property
    def scale(self) -> str | None:
        """What numbers count, where they compare only with numbers that count the same, such as days since a day."""
        return None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the column can take, in order; empty where it holds numbers. Shown as bars."""
        return ()

    @property
    def has_few_labels(self) -> bool:
        """Whether the column has at most `FEW` codes, all of them labels or missing: public."""
        return 0 < len(self.labels) <= FEW - self.missing

    @abstractmethod
    def conform(self, cells: list[str]) -> npt.NDArray[Any]:
        """Return a raw column as values that the schema allows. Never fails because of a cell."""

    @abstractmethod
    def format(self, values: pd.Series) -> npt.NDArray[np.object_]:
        """Return a conformed column as text, "" for missing; `conform` turns it back."""

    @abstractmethod
    def compact(self, values: pd.Series) -> npt.NDArray[np.signedinteger[Any]]:
        """Return a conformed column in few bytes per value (`common.columns.compact`)."""

    @abstractmethod
    def max_codes(self, bins: int) -> int:
        """Return the largest number of codes that the column can get with that many bins, missing included."""

    @abstractmethod
    def code(self, noisy: Integers, binning: Binning) -> ColumnCode:
        """Return how the column is encoded.

        Args:
            noisy: the column's part of the released histograms, shape (histogram length,).
            binning: how finely the column was counted and is cut.
        """

    @abstractmethod
    def histogram(self, cells: int) -> Histogram:
        """Return how the column is counted before codes exist, in at most that many fine cells."""

    @property
    def target_problem(self) -> str | None:
        """Return why the column cannot be the target of predictions; None if it can."""
        return None

    @abstractmethod
    def strata(self, values: pd.Series) -> list[str]:
        """Return the class of every conformed value, by which a partition deals patients out."""

    @abstractmethod
    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        """Return conformed values, each declared one equally likely and none missing."""
