"""A hospital's table, prepared once per study: one row per patient, without held-out patients, conformed, encoded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.base import Codes, Texts
from common.columns.cells import is_missing
from common.encoding import count_cells, histogram_length
from common.errors import DataError
from common.planning.public_run import EncodingKey, PublicRun
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform
from common.tables.parts import Part
from common.tables.patients import (
    Digests,
    are_held_out,
    first_of_each,
    identifiers,
    keyed_digests,
    row_keys,
    split_holdout,
)
from common.tables.visits import patient_rows

NO_CELLS: Texts = np.empty(0, dtype=object)
"""The cells of images of a study without."""

BLOCK = 2**18
"""Rows that are counted or encoded at once."""


class Shard:
    """The records of one hospital under one study. They do not leave the process.

    Every preparation looks at one patient at a time: only the first row of each patient is used, or the kept visits
    of a study of visits (`common.tables.visits`), held-out patients are chosen by a keyed hash, and cells that do not
    fit the schema are clamped or replaced by a fallback.

    Attributes:
        training, holdout: conformed rows.
        training_images, holdout_images: the cells of their column of images; empty for a study without.

    Args:
        raw: the table as read; all cells are text.
        key: the hospital's secret for choosing held-out patients.
        patient_column: column that identifies the patient; None where every row is a patient.
    """

    def __init__(self, raw: pd.DataFrame, study: Study, *, key: bytes, patient_column: str | None = None) -> None:
        rows = patient_rows(raw, study, patient_column)
        train, holdout = split_holdout(
            rows,
            study.table,
            key=key,
            fraction=study.evaluation.holdout_fraction,
            patient_column=study.declared.patient or patient_column,
        )
        self._study = study
        self.training = conform(train, study.table)
        self.holdout = conform(holdout, study.table)
        self.training_images, self.holdout_images = (
            np.concatenate([side[image.name].to_numpy(dtype=object) for image in study.images] or [NO_CELLS])
            for side in (train, holdout)
        )
        self._images = _described(self.training_images.tolist(), study) if study.images else None
        self._encoded: tuple[EncodingKey, Codes] | None = None

    def images(self) -> Floats:
        """Return the descriptions of the training patients' images (`Image.describe`)."""
        assert self._images is not None, "a study with images"
        return self._images

    def histograms(self, cells: int) -> Integers:
        """Return exact training patients per fine cell. They must not leave without noise."""
        return count_cells(self.training, self._study.table, cells)

    def encoded(self, public: PublicRun) -> Codes:
        """Return the training rows as codes, int16 of shape (patients, columns); kept for the requests that follow."""
        if self._encoded is None or self._encoded[0] != public.encoding_key:
            self._encoded = public.encoding_key, public.encoder.encode(self.training)
        return self._encoded[1]

    def held_out(self, public: PublicRun) -> Codes:
        """Return the held-out rows as codes, int16 of shape (patients, columns). Nothing trains on them."""
        return public.encoder.encode(self.holdout)


class CompactShard:
    """The records of one hospital, stored in a few bytes per cell.

    Args:
        training: rows to answer from.
        holdout: held-out rows; none unless the study evaluates on them.
        schema: the modeled columns.
    """

    def __init__(self, training: CompactRows, holdout: CompactRows, schema: Schema) -> None:
        self._training, self._holdout, self._schema = training, holdout, schema
        self._encoded: tuple[EncodingKey, Codes] | None = None

    def histograms(self, cells: int) -> Integers:
        """Return what `Shard.histograms` returns. It must not leave without noise."""
        total = np.zeros(histogram_length(self._schema, cells), dtype=np.int64)
        for block in self._training.blocks():
            total += count_cells(block, self._schema, cells)
        return total

    def encoded(self, public: PublicRun) -> Codes:
        """Return what `Shard.encoded` returns."""
        if self._encoded is None or self._encoded[0] != public.encoding_key:
            self._encoded = None  # free the earlier codes before new ones are computed
            self._encoded = public.encoding_key, self._training.encoded(public)
        return self._encoded[1]

    def held_out(self, public: PublicRun) -> Codes:
        """Return what `Shard.held_out` returns; no row unless the study evaluates on them."""
        return self._holdout.encoded(public)


class StreamedShard(CompactShard):
    """The rows of one hospital, read part by part and stored in a few bytes per cell.

    Ten million training patients with 22 columns of few values take about 0.2 GB, and twice that while they are
    encoded; the table as read is never in memory. As in `Shard`, every preparation looks at one patient at a time.
    Held-out rows are kept only for a study that evaluates on them.

    Args:
        parts: parts of the raw table, in file order.
        key, patient_column: key of the split and column that identifies the patient, as in `Shard`.

    Raises:
        DataError: a column of the study, or the patient column, is not in the table.
    """

    def __init__(self, parts: Iterable[Part], study: Study, *, key: bytes, patient_column: str | None = None) -> None:
        training, holdout = _Collected(study.table), _Collected(study.table)
        images = [_described([], study)] if study.images else []  # a table without patients is answered like any other
        patients = [np.empty((0, 2), dtype=np.uint64)]
        for part in parts:
            check_columns(part.columns, study)
            conformed = part.conform(study.table)
            if patient_column is None:
                digests = keyed_digests(key, row_keys(conformed, study.table))
                chosen = np.ones(part.rows, dtype=np.bool_)
            else:
                cells = part.cells(patient_column) if patient_column in part.columns else ()
                identities = identifiers(part.columns, cells, patient_column)
                digests = keyed_digests(key, identities)
                chosen = np.array([not is_missing(identity) for identity in identities], dtype=np.bool_)
            held_out = are_held_out(digests, study.evaluation.holdout_fraction)
            training.add(conformed, digests, chosen & ~held_out)
            if study.images:
                images.append(_described(part.cells(study.images[0].name), study)[chosen & ~held_out])
                patients.append(digests[chosen & ~held_out])
            if study.evaluation.private:
                holdout.add(conformed, digests, chosen & held_out)
        is_repeated = patient_column is not None
        self._images = np.concatenate(images) if images else None
        if self._images is not None and is_repeated:
            self._images = self._images[first_of_each(np.concatenate(patients))]
        super().__init__(training.rows(is_repeated=is_repeated), holdout.rows(is_repeated=is_repeated), study.table)

    def images(self) -> Floats:
        """Return what `Shard.images` returns."""
        assert self._images is not None, "a study with images"
        return self._images


class _Collected:
    """Compact rows of chosen patients, while the parts of a table go by."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._kept: dict[str, list[npt.NDArray[np.generic]]] = {name: [np.empty(0, np.int8)] for name in schema.names}
        self._patients = [np.empty((0, 2), dtype=np.uint64)]

    def add(self, conformed: pd.DataFrame, digests: Digests, chosen: npt.NDArray[np.bool_]) -> None:
        """Keep the chosen rows of a part.

        Args:
            conformed: the part.
            digests: of the patient of every row.
            chosen: whether to keep each row.
        """
        for column in self._schema.each():
            self._kept[column.name].append(column.compact(conformed[column.name][chosen]))
        self._patients.append(digests[chosen])

    def rows(self, *, is_repeated: bool) -> CompactRows:
        """Return what was kept: where patients may be repeated, the first row of each."""
        first = first_of_each(np.concatenate(self._patients)) if is_repeated else slice(None)
        columns = {}
        for name in self._schema.names:  # one column at a time is in memory twice
            columns[name] = np.concatenate(self._kept.pop(name))[first]
        return CompactRows(columns)


class CompactRows:
    """Rows in few bytes per cell, column by column."""

    def __init__(self, columns: dict[str, npt.NDArray[np.generic]]) -> None:
        self._columns = columns
        self._count = len(next(iter(columns.values())))

    def blocks(self) -> Iterator[pd.DataFrame]:
        """Yield the rows, `BLOCK` at a time."""
        for start in range(0, self._count, BLOCK):
            yield pd.DataFrame({name: values[start : start + BLOCK] for name, values in self._columns.items()})

    def encoded(self, public: PublicRun) -> Codes:
        """Return the rows as codes, int16 of shape (rows, columns)."""
        codes, start = np.empty((self._count, len(public.encoder.sizes)), dtype=np.int16), 0
        for block in self.blocks():
            codes[start : start + len(block)] = public.encoder.encode(block)
            start += len(block)
        return codes


def _described(cells: list[str], study: Study) -> Floats:
    """Return the descriptions of the images in some cells, each of which decides about itself alone."""
    return study.images[0].describe(cells)


def check_columns(columns: Collection[str], study: Study) -> None:
    """Raise `DataError` if a column is absent: it would count as missing for every patient."""
    absent = [name for name in study.read_names if name not in columns]
    if absent:
        raise DataError(f"column '{absent[0]}' is not in the table; add it, or agree on a study without it")
