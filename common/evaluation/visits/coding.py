"""Histories as small integers, and the three ways of counting them: by visit, by transition and by patient.

Bins are those of the yardstick: numbers in 16 quantile bins of the training visits, missing in a bin of its own, other
columns by label. In every table a patient's weights sum to 1, so that long histories do not outvote short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.evaluation.statistics.codes import encode, numeric_by_value
from common.evaluation.statistics.resampling import FEW_RESAMPLES, resamples
from common.evaluation.statistics.values import numbers
from common.evaluation.visits.histories import OrderedVisits, VisitLayout


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is counted in a table: its rows' patients and weights.

    Attributes:
        rows: index of a visit per unit; of a transition, the earlier one.
        draws: weight of every unit in the table and in every resample of its patients, shape (units, 1 + resamples).
    """

    rows: Integers
    draws: Floats


@dataclass(frozen=True, eq=False)
class CodedHistories:
    """The visits of some patients as integers.

    Attributes:
        histories: the patients.
        static: codes of the static columns, shape (visits, static columns).
        visit: codes of the visit columns, shape (visits, visit columns).
        sizes: a number above every code, static columns first; the same for all tables that are compared.
        numbers: values of the visit columns that are numeric, by column index.
        name: which resamples are drawn; two tables of one name are resampled alike.
    """

    histories: OrderedVisits
    static: Integers
    visit: Integers
    sizes: tuple[int, ...]
    numbers: dict[int, Floats]
    name: str

    @property
    def visit_sizes(self) -> tuple[int, ...]:
        """Return the sizes of the visit columns."""
        return self.sizes[self.static.shape[1] :]

    @cached_property
    def patient_draws(self) -> Floats:
        """Return how often each patient was drawn: once, then by resample; shape (patients, 1 + resamples)."""
        patients = self.histories.patients
        drawn = resamples(patients, FEW_RESAMPLES, "visits", self.name)
        return np.vstack([np.ones((1, patients)), drawn]).T

    @cached_property
    def by_visit(self) -> Units:
        """Return all visits, each of the n visits of a patient with weight 1/n."""
        owner = self.histories.patient_of_visit
        return self._units(np.arange(len(owner)), 1 / self.histories.lengths[owner])

    @cached_property
    def by_transition(self) -> Units:
        """Return every visit that has a next one, each of the n - 1 of a patient with weight 1/(n - 1)."""
        rows = self.histories.with_next
        return self._units(rows, 1 / (self.histories.lengths[self.histories.patient_of_visit[rows]] - 1))

    @cached_property
    def by_patient(self) -> Units:
        """Return the first visit of every patient."""
        return self._units(self.histories.starts[:-1], np.ones(self.histories.patients))

    @cached_property
    def by_returning_patient(self) -> Units:
        """Return the first visit of every patient who has another one."""
        rows = self.histories.starts[:-1][self.histories.lengths > 1]
        return self._units(rows, np.ones(len(rows)))

    def last_of(self, rows: Integers) -> Integers:
        """Return the last visit of the patients of some visits."""
        return np.asarray(self.histories.starts[self.histories.patient_of_visit[rows] + 1] - 1)

    def _units(self, rows: Integers, weights: Floats) -> Units:
        owner = self.histories.patient_of_visit[rows]
        return Units(rows, weights[:, None] * self.patient_draws[owner])


def code_histories(
    train: OrderedVisits, tables: Sequence[tuple[str, OrderedVisits]], layout: VisitLayout
) -> list[CodedHistories]:
    """Code several tables alike, with bins that the training visits cut.

    Args:
        train: real patients, who decide which columns are numeric and where bins are cut.
        tables: name and histories of every table to code.
        layout: names of the columns.
    """
    pooled = pd.concat([histories.table for _, histories in tables], ignore_index=True)
    codes = encode(train.table, pooled)
    numeric = numeric_by_value(train.table)
    split, coded, start = len(layout.static), list[CodedHistories](), 0
    for name, histories in tables:
        rows = codes.synthetic[start : start + len(histories.table)].astype(np.int64)
        start += len(histories.table)
        values = {
            index: numbers(histories.table[column]) for index, column in enumerate(layout.visit) if column in numeric
        }
        coded.append(CodedHistories(histories, rows[:, :split], rows[:, split:], codes.sizes, values, name))
    return coded
