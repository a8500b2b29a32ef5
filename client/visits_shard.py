"""A hospital's visits, prepared once per study: read part by part, ordered patient by patient, stored in few bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from client.shard import CompactRows, CompactShard, check_columns
from common.arrays import Integers
from common.study.study import Study
from common.tables.conforming import conform
from common.tables.parts import Cells, Part
from common.tables.patients import split_holdout
from common.tables.visits import visit_rows

BLOCK_VISITS = 2**16
"""Visits that are prepared at once, of whole patients; a patient with more is a block of its own."""


class VisitsShard(CompactShard):
    """The kept visits of one hospital's patients, as `Shard` prepares them.

    A patient's visits may be anywhere in the table. Until they are ordered, a cell takes four bytes, and every distinct
    text of a column is in memory once.

    Args:
        parts: parts of the raw table, in file order.
        study: a study of visits.
        key: the hospital's secret for choosing held-out patients.

    Raises:
        DataError: a column of the study, or that of the patient or the time, is not in the table.
    """

    def __init__(self, parts: Iterable[Part], study: Study, *, key: bytes) -> None:
        columns: dict[str, _DistinctTexts] = {}
        for part in parts:
            check_columns(part.columns, study)
            for name, cells in part.columns.items():
                columns.setdefault(name, _DistinctTexts()).add(cells)
        training, holdout = list[_Compact](), list[_Compact]()
        for raw in _whole_patients(columns, study):
            train, held_out = split_holdout(
                visit_rows(raw, study.declared),
                study.table,
                key=key,
                fraction=study.evaluation.holdout_fraction,
                patient_column=study.declared.patient,
            )
            training.append(_compacted(train, study))
            holdout.append(_compacted(held_out if study.evaluation.private else held_out.iloc[:0], study))
        super().__init__(_joined(training), _joined(holdout), study.table)


class _DistinctTexts:
    """The cells of a column, each distinct text once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._indices = list[npt.NDArray[np.int32]]()

    def add(self, cells: Cells) -> None:
        """Add the cells of the next part."""
        texts, indices = cells.distinct()
        numbers = [self._numbers.setdefault(text, len(self._numbers)) for text in texts]
        self._indices.append(np.array(numbers, dtype=np.int32)[indices])

    def indices(self) -> npt.NDArray[np.int32]:
        """Return the number of every cell's text, in one array."""
        self._indices = [np.concatenate(self._indices)]
        return self._indices[0]

    def texts(self) -> npt.NDArray[np.object_]:
        """Return the distinct texts by their number."""
        return np.array(list(self._numbers), dtype=object)


_Compact = dict[str, npt.NDArray[np.generic]]
"""Values of some rows in few bytes, by column."""


def _whole_patients(columns: dict[str, _DistinctTexts], study: Study) -> Iterator[pd.DataFrame]:
    """Yield raw tables of whole patients, of each all rows in file order; at least one table.

    Args:
        columns: cells of the table.
        study: names the column of the patient.
    """
    patient = study.declared.patient
    assert patient is not None, "a study of visits"
    texts = {name: column.texts() for name, column in columns.items()}
    of_text, _ = pd.factorize(np.array([text.strip() for text in texts[patient]], dtype=object))
    owners, _ = pd.factorize(of_text[columns[patient].indices()])  # numbered as they appear, as in `visit_rows`
    order = np.argsort(owners, kind="stable")
    for rows in _cut(order, owners[order]):
        yield pd.DataFrame(
            {name: texts[name][column.indices()[rows]] for name, column in columns.items()}, dtype=object
        )


def _cut(order: Integers, owners: Integers) -> Iterator[Integers]:
    """Yield the rows of whole patients, about `BLOCK_VISITS` at a time; at least once.

    Args:
        order: rows, a patient's side by side.
        owners: number of the patient of each of them.
    """
    starts = np.flatnonzero(np.diff(owners)) + 1
    ends = np.searchsorted(starts, np.arange(BLOCK_VISITS, len(order), BLOCK_VISITS))
    yield from np.split(order, np.unique(starts[ends[ends < len(starts)]]))


def _compacted(rows: pd.DataFrame, study: Study) -> _Compact:
    """Return conformed rows in few bytes."""
    conformed = conform(rows, study.table)
    return {column.name: column.compact(conformed[column.name]) for column in study.table.each()}


def _joined(blocks: list[_Compact]) -> CompactRows:
    """Return the rows of all blocks."""
    columns = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return CompactRows(columns)
