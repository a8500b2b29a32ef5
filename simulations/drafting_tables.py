"""A draft of a study of a table, of patients or of visits: what the command and the console call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.errors import StudyError
from common.tables.formats import described, has_decimal_comma, read_table
from common.tables.reading import Reading
from simulations.drafting import DraftedStudy, NamedColumns, draft_study
from simulations.drafting_visits import draft_visits


def draft_table(table: Path, reading: Reading, named: NamedColumns, *, name: str) -> DraftedStudy:
    """Read a table and draft a study of it.

    Args:
        table: path of the table.
        reading: what is declared about its file.
        named: what a person says of the columns; with a time, the rows are visits.
        name: name of the study, a slug.

    Raises:
        DataError: the table cannot be read, or has no rows.
        ColumnRefused: a kind does not fit its column, or the target cannot be predicted.
        StudyError: a named column is not in the table or cannot be used, or too little is left for a study.
    """
    if named.time is None and named.most_visits is not None:
        raise StudyError("--most-visits is of a study of visits; add --time, the column that orders them")
    raw = read_table(table, reading)
    if named.time is not None:
        drafted = draft_visits(raw, name, named)
    else:
        drafted = draft_study(raw, name, named, has_decimal_comma=has_decimal_comma(table, reading))
    return replace(drafted, notices=(*described(table, reading), *drafted.notices))
