"""Tables to codes and back. Codes are built from declared settings and released noisy histograms, never from rows.

Every column becomes a category: a column of numbers by its bins, any other by its values; a missing value, where
allowed, is the last one. Each kind of column says how (`common.columns`); here columns are put side by side.
"""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd

from common.arrays import Floats, Integers
from common.columns.base import Codes, ColumnCode, Histogram
from common.columns.binning import Binning
from common.columns.grid_code import GridCode
from common.columns.labels import label_numbers
from common.columns.parts import Parts
from common.study.schema import VISIT, VISITS, Schema, VisitsSchema


def _histograms(schema: Schema, cells: int) -> list[tuple[str, Histogram]]:
    return [(column.name, column.histogram(cells)) for column in schema.each()]


def count_cells(frame: pd.DataFrame, schema: Schema, cells: int) -> Integers:
    """Return patients per cell of every column's histogram, one column after the other.

    One patient changes at most `histogram_max_changed_cells` counts, each by one: the L2 sensitivity is its square
    root. Of a table of visits, parts of patients are counted, each of a patient's n visits as floor(D / n) of the D =
    `Schema.parts` that a patient is: the norm is D times as large (`common.marginals.histories` has the proof).

    Args:
        frame: a conformed or compact table, one row per patient, or one per visit where these are modeled.
        schema: columns of the table.
        cells: largest number of fine cells per column.

    Returns:
        Counts of shape (histogram_length(schema, cells),).
    """
    if not isinstance(schema, VisitsSchema):
        return _count_rows(frame, schema, cells)
    total = np.zeros(histogram_length(schema, cells), dtype=np.int64)
    labels = schema[VISITS].labels
    numbers = label_numbers(frame[VISITS], labels)
    for number, visits in enumerate(labels):
        total += schema.parts // int(visits) * _count_rows(frame[numbers == number], schema, cells)
    return total


def _count_rows(frame: pd.DataFrame, schema: Schema, cells: int) -> Integers:
    parts = [histogram.count(frame[name]) for name, histogram in _histograms(schema, cells)]
    return np.concatenate(parts).astype(np.int64)


def histogram_max_changed_cells(schema: Schema, cells: int) -> int:
    """Return how many of the counts of `count_cells` one patient can change: public."""
    return sum(histogram.max_changed_cells for _, histogram in _histograms(schema, cells))


def histogram_sizes(schema: Schema, cells: int) -> dict[str, int]:
    """Return how many of the counts of `count_cells` every column has: public."""
    return {name: histogram.length for name, histogram in _histograms(schema, cells)}


def histogram_length(schema: Schema, cells: int) -> int:
    """Return the length of `count_cells`: public."""
    return sum(histogram_sizes(schema, cells).values())


class Encoder:
    """Conformed tables to integer codes and back.

    Args:
        schema: the agreed columns.
        histograms: the sum of the hospitals' noisy histograms, laid out as `count_cells` lays them out.
        binning: how finely the histograms were counted and how finely the columns are cut.

    Attributes:
        sizes: the number of codes of each column, in schema order.
        width: their sum, the width of one one-hot row.
        masses: about how many patients have each code, by column: denoised counts, positive.
        deviations: standard deviation of the noise in these, in patients, by column.
    """

    def __init__(self, schema: Schema, histograms: Integers, binning: Binning) -> None:
        length = histogram_length(schema, binning.cells)
        if len(histograms) != length:
            raise ValueError(f"{len(histograms)} histogram cells; the schema needs {length}")
        self.schema = schema
        self._codes: dict[str, ColumnCode] = {}
        self._deviation = binning.deviation
        start = 0
        for column in schema.each():
            noisy = histograms[start : start + column.histogram(binning.cells).length]
            start += len(noisy)
            self._codes[column.name] = column.code(noisy, binning)
        self.sizes = tuple(code.size for code in self._codes.values())
        self.width = sum(self.sizes)
        self.masses = tuple(code.masses for code in self._codes.values())
        self.deviations = tuple(binning.deviation * code.counts_per_mass**0.5 for code in self._codes.values())

    def parts(self, name: str) -> Parts:
        """Return how the released counts of a column relate to the smallest counted parts of its values."""
        return self._codes[name].parts

    def redrawn(self, rng: np.random.Generator) -> Encoder:
        """Return an encoder of the same codes whose numbers lie within bins as another sample and noise would say."""
        again = copy.copy(self)
        again._codes = {name: code.redrawn(self._deviation, rng) for name, code in self._codes.items()}
        return again

    def encode(self, frame: pd.DataFrame) -> Codes:
        """Return codes of shape (rows, columns), int16, each below the column's size.

        Args:
            frame: a conformed or compact table.
        """
        if not len(frame):
            return np.empty((0, len(self.sizes)), dtype=np.int16)
        return np.stack([code.encode(frame[name]) for name, code in self._codes.items()], axis=1)

    def decode(self, codes: Codes, rng: np.random.Generator, order: Floats | None = None) -> pd.DataFrame:
        """Return a conformed table: numbers on the value grid, drawn inside their bin as the histogram says.

        All visits of a patient, which are rows side by side, get the patient's columns as they are drawn for the first.

        Args:
            codes: shape (rows, columns).
            rng: source of randomness.
            order: a larger number for a larger value among the rows of a bin, shape (rows, columns); None for a random
                order.
        """
        columns = {}
        for index, (name, code) in enumerate(self._codes.items()):
            if order is not None and isinstance(code, GridCode):
                columns[name] = code.decode(codes[:, index], rng, order[:, index])
            else:
                columns[name] = code.decode(codes[:, index], rng)
        frame = pd.DataFrame(columns)
        if not isinstance(self.schema, VisitsSchema):
            return frame
        is_first = codes[:, self.schema.names.index(VISIT)] == 0
        first = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
        for name, is_of_visit in zip(self.schema.names, self.schema.is_of_visit, strict=True):
            if not is_of_visit:
                frame[name] = frame[name].to_numpy()[first]
        return frame

    def code_of(self, name: str, label: str) -> int | None:
        """Return the code of a label of a column; None where it has no code of its own, because it was rolled up."""
        code = int(self._codes[name].encode(pd.Series([label], dtype=object))[0])
        again = self._codes[name].decode(np.array([code], dtype=np.int16), np.random.default_rng(0))
        return code if again[0] == label else None
