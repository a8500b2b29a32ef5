"""An agreement as lines for a terminal and the minutes of a meeting."""

from __future__ import annotations

from collections.abc import Iterator

from common.dictionary.agreement import AgreedColumn, Agreement

LISTED = 20
"""Columns that a line names before it says how many more there are."""


def summary(agreement: Agreement) -> str:
    """Return in one sentence how many columns are the same, settled and open."""
    columns = agreement.columns
    undecided = sum(column.is_open for column in columns)
    same = len(agreement.same)
    return (
        f"{len(columns)} columns of {len(agreement.hospitals)} hospitals ({', '.join(agreement.hospitals)}): "
        f"{same} the same, {len(columns) - undecided - same} settled, {undecided} to decide."
    )


def lines_of(agreement: Agreement) -> Iterator[str]:
    """Yield the lines: what to decide, what is settled, what is the same, and what each hospital has to do."""
    yield summary(agreement)
    undecided = [column for column in agreement.columns if column.is_open]
    settled = [column for column in agreement.columns if column.findings and not column.is_open]
    for title, columns in (("TO DECIDE", undecided), ("SETTLED: nobody has to change anything", settled)):
        if columns:
            yield from ("", title)
        for column in columns:
            yield from _column(column)
    if same := [column.name for column in agreement.same]:
        more = f" and {len(same) - LISTED} more" if len(same) > LISTED else ""
        yield from ("", f"THE SAME: {', '.join(same[:LISTED])}{more}")
    for hospital in agreement.hospitals:
        tasks = list(agreement.tasks_of(hospital))
        if tasks:
            yield from ("", f"WHAT '{hospital}' HAS TO DO")
            yield from (f"  {column}: {task}" for column, task in tasks)


def _column(column: AgreedColumn) -> Iterator[str]:
    yield f"  {column.name}" + ("" if column.is_ready else " (not in the study)")
    for finding in column.findings:
        yield f"    {finding.title}: {finding.proposal}"
        yield from (f"      {hospital}: {text}" for hospital, text in finding.declared.items())
