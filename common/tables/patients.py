"""Patients behind rows: the first row of each patient, keyed digests of patients, and the held-out patients.

No function here lets one patient's rows affect those of another.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from common.arrays import Floats
from common.columns.cells import is_missing
from common.errors import DataError
from common.study.schema import Schema
from common.tables.conforming import conform, format_read

Digests = npt.NDArray[np.uint64]
"""The first 128 bits of an HMAC-SHA256 for every row: shape (rows, 2)."""


def identifiers(columns: Iterable[str], cells: Iterable[str], patient_column: str) -> list[str]:
    """Return the patient identifier of every row, without surrounding blanks.

    Args:
        columns: names of the table's columns.
        cells: the patient column's cells; read only where the column is in the table.
        patient_column: column that identifies the patient.

    Raises:
        DataError: the patient column is not in the table.
    """
    if patient_column not in columns:
        raise DataError(f"patient column '{patient_column}' is not in the table; add it, or name another column")
    return [cell.strip() for cell in cells]


def first_rows(raw: pd.DataFrame, patient_column: str | None) -> pd.DataFrame:
    """Return the first row of each patient in file order; a row without an identifier belongs to no patient.

    Without a patient column every row is a patient.

    Raises:
        DataError: the patient column is not in the table.
    """
    if patient_column is None:
        return raw
    first: dict[str, int] = {}
    for row, patient in enumerate(_identifiers(raw, patient_column)):
        if not is_missing(patient):
            first.setdefault(patient, row)
    return raw.iloc[list(first.values())].reset_index(drop=True)


def first_of_each(digests: Digests) -> npt.NDArray[np.bool_]:
    """Return whether a row is its patient's first: shape (rows,), from digests of shape (rows, 2)."""
    # The sort is stable: among a patient's rows the first stays in front.
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    first = np.zeros(len(order), dtype=np.bool_)
    first[order[is_new]] = True
    return first


def patient_keys(raw: pd.DataFrame, schema: Schema, patient_column: str | None) -> list[str]:
    """Return a text that identifies each row's patient: the identifier, or else the row's conformed content.

    Without identifiers, identical rows are therefore all held out or all kept.

    Args:
        raw: a raw table.
        schema: the agreed columns.
        patient_column: column that identifies the patient; None where every row is a patient.

    Raises:
        DataError: the patient column is not in the table.
    """
    if patient_column is not None:
        return _identifiers(raw, patient_column)
    return row_keys(conform(raw, schema), schema)


def row_keys(conformed: pd.DataFrame, schema: Schema) -> list[str]:
    """Return each row of a conformed table as one text.

    It fails for no table, so that no record decides whether a request is answered: a failure comes before the charge,
    and would tell the coordinator about the records at no cost.
    """
    content = format_read(conformed, schema)
    return [repr(row) for row in zip(*(content[name] for name in schema.read_names), strict=True)]


def _identifiers(raw: pd.DataFrame, patient_column: str) -> list[str]:
    return identifiers(raw.columns, raw.get(patient_column, ()), patient_column)


def keyed_digests(key: bytes, identities: Iterable[str]) -> Digests:
    """Return the first 128 bits of an HMAC-SHA256 for every identity. No two identities share one."""
    digests = (hmac.digest(key, identity.encode("utf-8", "surrogatepass"), "sha256")[:16] for identity in identities)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64).reshape(-1, 2)


def fraction_of(digests: Digests) -> Floats:
    """Return a number in [0, 1) for every digest: its first 53 bits."""
    # A double holds 53 bits; all 64 could round up to 1.
    return np.asarray((digests[:, 0] >> np.uint64(11)) / 2.0**53, dtype=np.float64)


def are_held_out(digests: Digests, fraction: float) -> npt.NDArray[np.bool_]:
    """Return whether each patient is held out, where this fraction of patients is: shape (patients,)."""
    return np.asarray(fraction_of(digests) < fraction, dtype=np.bool_)


def keyed_fraction(key: bytes, identities: Iterable[str]) -> Floats:
    """Return a number in [0, 1) for every identity, which cannot be predicted without the key."""
    return fraction_of(keyed_digests(key, identities))


def split_holdout(
    raw: pd.DataFrame, schema: Schema, *, key: bytes, fraction: float, patient_column: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training rows and the held-out rows; a patient's side depends only on the key and that patient.

    Args:
        raw: a raw table, one row per patient.
        schema: the agreed columns.
        key: the hospital's secret.
        fraction: fraction of patients that are held out, in [0, 1).
        patient_column: column that identifies the patient; None where every row is a patient.
    """
    held_out = are_held_out(keyed_digests(key, patient_keys(raw, schema, patient_column)), fraction)
    return raw[~held_out].reset_index(drop=True), raw[held_out].reset_index(drop=True)
