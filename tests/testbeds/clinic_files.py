"""Tables of the clinic as files, and cells in them that its schema does not allow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests.testbeds.clinic import clinic_table

CANARY = "4711.25"

ONE_EACH = "--one-row-per-patient"
"""What a study about patients needs where the table has no column of patients."""

MISFITS: dict[str, tuple[str, str, str]] = {
    "value out of bounds": ("age", CANARY, "column 'age' is outside [18, 100] in 1 row, clamped"),
    "unlisted category": ("sex", CANARY, "column 'sex' holds unlisted labels in 1 row, counted as the last category"),
    "text in a numeric column": ("age", "canary", "column 'age' holds text that is not a number in 1 row"),
    "missing where not allowed": ("age", "", "column 'age' is missing in 1 row where missing = false"),
}
"""Column, cell and the notice about it."""


def one_table(tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    path = tmp_path / "table.csv"
    spoil(clinic_table(200, 3)).to_csv(path, index=False)
    return path


def with_cell(column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def spoil(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[7, column] = value
        return table

    return spoil
