"""A patient's whole history as one row: the codes of the patient, then those of each visit in turn.

    codes of the patient | codes of visit 1 | codes of visit 2 | ... | codes of visit T

T is `most_visits`. A visit that a patient does not have holds `ABSENT` in every column, which is no code: as zeros and
ones, all of its codes are zero. The number of visits is a code of the patient; the number of a visit is its place.

A discriminator that reads such rows sees one row per patient, however many visits there are. So the mechanism that
clips and samples rows (`common.privacy.dpsgd`) clips and samples patients with all of their visits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.arrays import AnyIntegers, Integers
from common.columns.base import Codes
from common.study.schema import VISIT, VISITS, Schema, VisitsSchema

ABSENT = -1
"""Stands for a column of a visit that the patient does not have."""


@dataclass(frozen=True)
class WholeHistories:
    """Where the codes of a history are in its row.

    Attributes:
        sizes: number of codes of each modeled column.
        of_patient, of_visit: indices of the columns of the patient, and of those of the visit but its number.
        visits, visit: indices of the number of visits and of the visit's number.
        most_visits: visits that a row has room for.
    """

    sizes: tuple[int, ...]
    of_patient: tuple[int, ...]
    of_visit: tuple[int, ...]
    visits: int
    visit: int
    most_visits: int

    @classmethod
    def of(cls, schema: VisitsSchema, sizes: Sequence[int]) -> WholeHistories:
        """Return the layout of the histories of a modeled table of visits."""
        visit, every = schema.names.index(VISIT), list(enumerate(schema.is_of_visit))
        return cls(
            tuple(sizes),
            tuple(column for column, is_of_visit in every if not is_of_visit),
            tuple(column for column, is_of_visit in every if is_of_visit and column != visit),
            schema.names.index(VISITS),
            visit,
            schema.visits_in_full,
        )

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The modeled column that stands at each place of a row."""
        return self.of_patient + self.of_visit * self.most_visits

    @cached_property
    def width(self) -> int:
        """The number of codes of a row when all places stand side by side."""
        return sum(self.sizes[column] for column in self.columns)

    def rows(self, codes: Codes) -> Codes:
        """Return one row per patient, int16 of shape (patients, places).

        Args:
            codes: of visits, (visits, modeled columns); a patient's are side by side and in order.
        """
        number = codes[:, self.visit]
        patients = np.cumsum(number == 0) - 1
        rows = np.full((int((number == 0).sum()), len(self.columns)), ABSENT, dtype=np.int16)
        rows[:, : len(self.of_patient)] = codes[number == 0][:, list(self.of_patient)]
        for index in range(self.most_visits):
            is_this = number == index
            rows[patients[is_this], self._places(index)] = codes[is_this][:, list(self.of_visit)]
        return rows

    def visits_of(self, rows: AnyIntegers) -> Codes:
        """Return the visits of rows, a patient's side by side and in order: the inverse of `rows`."""
        counts = self.lengths(rows)
        patients = np.repeat(np.arange(len(rows)), counts)
        numbers = np.arange(len(patients)) - np.repeat(np.cumsum(counts) - counts, counts)
        codes = np.empty((len(patients), len(self.sizes)), dtype=np.int16)
        codes[:, list(self.of_patient)] = rows[patients, : len(self.of_patient)]
        codes[:, self.visit] = numbers
        for index in range(self.most_visits):
            is_this = numbers == index
            codes[np.ix_(is_this, list(self.of_visit))] = rows[patients[is_this], self._places(index)]
        return codes

    def lengths(self, rows: AnyIntegers) -> Integers:
        """Return the number of visits of each row."""
        return np.asarray(rows[:, self.of_patient.index(self.visits)], dtype=np.int64) + 1

    def _places(self, visit: int) -> slice:
        """Return the places of a visit, by its number from 0."""
        start = len(self.of_patient) + visit * len(self.of_visit)
        return slice(start, start + len(self.of_visit))


def discriminator_width(schema: Schema, sizes: Sequence[int]) -> int:
    """Return how many zeros and ones a discriminator reads of a patient: one row, or the row of a whole history.

    Args:
        schema: the modeled columns.
        sizes: number of codes of each.
    """
    return WholeHistories.of(schema, sizes).width if isinstance(schema, VisitsSchema) else sum(sizes)
