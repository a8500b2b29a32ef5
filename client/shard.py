"""A hospital's table, prepared once per study: one row per patient, without held-out patients, conformed, encoded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Integers
from common.columns.base import Codes
from common.columns.cells import is_missing
from common.encoding import count_cells, histogram_length
from common.errors import DataError
from common.planning.public_run import EncodingKey, PublicRun
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.parts import Part
from common.tables.patients import (
    are_held_out,
    first_of_each,
    first_rows,
    identifiers,
    keyed_digests,
    row_keys,
    split_holdout,
)

BLOCK = 2**18
"""Rows that are counted or encoded at once."""


class Shard:
    """The records of one hospital under one study. They do not leave the process.

    Every preparation looks at one patient at a time: only the first row of each patient is used, held-out patients are
    chosen by a keyed hash, and cells that do not fit the schema are clamped or replaced by a fallback.

    Args:
        raw: the table as read; all cells are text.
        key: the hospital's secret for choosing held-out patients.
        patient_column: column that identifies the patient; None where every row is a patient.
    """

    def __init__(self, raw: pd.DataFrame, study: Study, *, key: bytes, patient_column: str | None = None) -> None:
        rows = first_rows(raw, patient_column)
        train, holdout = split_holdout(
            rows, study.table, key=key, fraction=study.evaluation.holdout_fraction, patient_column=patient_column
        )
        self._study = study
        self.training = conform(train, study.table)
        self.holdout = conform(holdout, study.table)
        self._encoded: tuple[EncodingKey, Codes] | None = None

    def histograms(self, cells: int) -> Integers:
        """Return exact training patients per fine cell. They must not leave without noise."""
        return count_cells(self.training, self._study.table, cells)

    def encoded(self, public: PublicRun) -> Codes:
        """Return the training rows as codes, int16 of shape (patients, columns); kept for the requests that follow."""
        if self._encoded is None or self._encoded[0] != public.encoding_key:
            self._encoded = public.encoding_key, public.encoder.encode(self.training)
        return self._encoded[1]


class StreamedShard:
    """The training rows of one hospital, read part by part and stored in a few bytes per cell.

    Ten million patients with 22 columns of few values take about 0.2 GB, and twice that while they are encoded; the
    table as read is never in memory. As in `Shard`, every preparation looks at one patient at a time.

    Args:
        parts: parts of the raw table, in file order.
        key, patient_column: key of the split and column that identifies the patient, as in `Shard`.

    Raises:
        DataError: a column of the study, or the patient column, is not in the table.
    """

    def __init__(self, parts: Iterable[Part], study: Study, *, key: bytes, patient_column: str | None = None) -> None:
        self._schema = study.table
        kept: dict[str, list[npt.NDArray[np.generic]]] = {name: [np.empty(0, np.int8)] for name in self._schema.names}
        patients = [np.empty((0, 2), dtype=np.uint64)]
        for part in parts:
            _check_columns(part, self._schema)
            conformed = part.conform(self._schema)
            if patient_column is None:
                digests = keyed_digests(key, row_keys(format_table(conformed, self._schema), self._schema))
                chosen = np.ones(part.rows, dtype=np.bool_)
            else:
                cells = part.cells(patient_column) if patient_column in part.columns else ()
                identities = identifiers(part.columns, cells, patient_column)
                digests = keyed_digests(key, identities)
                chosen = np.array([not is_missing(identity) for identity in identities], dtype=np.bool_)
            chosen &= ~are_held_out(digests, study.evaluation.holdout_fraction)
            for column in self._schema.each():
                kept[column.name].append(column.compact(conformed[column.name][chosen]))
            if patient_column is not None:
                patients.append(digests[chosen])
        first = None if patient_column is None else first_of_each(np.concatenate(patients))
        self._compact: dict[str, npt.NDArray[np.generic]] = {}
        for name in self._schema.names:  # one column at a time is in memory twice
            values = np.concatenate(kept.pop(name))
            self._compact[name] = values if first is None else values[first]
        self._rows = len(next(iter(self._compact.values())))
        self._encoded: tuple[EncodingKey, Codes] | None = None

    def histograms(self, cells: int) -> Integers:
        """Return what `Shard.histograms` returns. It must not leave without noise."""
        total = np.zeros(histogram_length(self._schema, cells), dtype=np.int64)
        for start in range(0, self._rows, BLOCK):
            total += count_cells(self._block(start), self._schema, cells)
        return total

    def encoded(self, public: PublicRun) -> Codes:
        """Return what `Shard.encoded` returns."""
        if self._encoded is None or self._encoded[0] != public.encoding_key:
            self._encoded = None  # free the earlier codes before new ones are computed
            codes = np.empty((self._rows, len(public.encoder.sizes)), dtype=np.int16)
            for start in range(0, self._rows, BLOCK):
                codes[start : start + BLOCK] = public.encoder.encode(self._block(start))
            self._encoded = public.encoding_key, codes
        return self._encoded[1]

    def _block(self, start: int) -> pd.DataFrame:
        return pd.DataFrame({name: values[start : start + BLOCK] for name, values in self._compact.items()})


def _check_columns(part: Part, schema: Schema) -> None:
    """Raise `DataError` if a column is absent: it would count as missing for every patient."""
    absent = [name for name in schema.names if name not in part.columns]
    if absent:
        raise DataError(f"column '{absent[0]}' is not in the table; add it, or agree on a study without it")
