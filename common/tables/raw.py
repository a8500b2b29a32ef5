"""Raw tables: DataFrames whose every cell is a `str`, "" where it is missing; and their checks."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import pandas as pd

from common.columns.cells import each, text_of
from common.errors import DataError


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the raw form of a typed table: 63.0 becomes "63", True "True", missing "", other floats keep every digit.

    Raises:
        DataError: two columns have the same name.
    """
    names = [str(name) for name in frame.columns]
    refuse_repeated(names)
    texts: dict[str, list[str]] = {}
    for name, (_, column) in zip(names, frame.items(), strict=True):
        if column.dtype == object:
            texts[name] = [text_of(value) for value in column]
        else:
            # `tolist` would widen float32, and with it 0.1 to 0.10000000149011612.
            texts[name] = each(column.to_numpy() if column.dtype.kind == "f" else column.tolist(), text_of)
    return pd.DataFrame(texts, index=frame.index, columns=pd.Index(names, dtype=object), dtype=object)


def near_name(name: str, names: Sequence[str]) -> str:
    """Return the remedy for a column that is not there: the name that is most like it, or to choose one.

    Args:
        name: the column that was asked for.
        names: the columns of the table.
    """
    folded = {known.strip().casefold(): known for known in names}
    near = difflib.get_close_matches(name.strip().casefold(), folded, n=1)
    return f"did you mean '{folded[near[0]]}'?" if near else "choose one of its columns"


def refuse_repeated(names: Sequence[str]) -> None:
    """Raise `DataError` if two columns have the same name, or two have none."""
    first: dict[str, int] = {}
    for index, name in enumerate(names, start=1):
        known = first.setdefault(name, index)
        if known == index:
            continue
        if not name:
            raise DataError(
                f"columns {known} and {index} have no name in the header; name or remove them, also where every line "
                "ends in separators"
            )
        raise DataError(  # without a header the name would be a cell, so the text does not hold it
            f"columns {known} and {index} have the same name in the header; rename or remove one, or add the header "
            "where there is none"
        )


def refuse_empty(raw: pd.DataFrame, name: str) -> None:
    """Raise `DataError` if a table has no rows.

    Only checks, simulations and drafts refuse such a table. A hospital that answers does not: whether its last patient
    is in the table must not decide whether it answers.
    """
    if raw.empty:
        raise DataError(f"{name}: the table has no rows; give a table with a header and rows")
