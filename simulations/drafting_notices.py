"""What a draft says about its columns, in few lines, and the text of the drafted study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from common.columns.cells import count_rows
from common.study.study import Study

SAME = 3
"""Columns from which on one line names all of which the same is true."""

NAMED = 6
"""Columns that such a line names; of the others it gives the number."""

ROWS = re.compile(r"\b(\d+) rows?\b")
"""A count of rows in a notice."""


def in_few_lines(notices: Sequence[tuple[str, str]]) -> list[str]:
    """Return notices with the names of their columns: one line for `SAME` and more that differ in counts of rows only.

    Args:
        notices: names of columns, each with what is said of it.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for column, notice in notices:
        alike.setdefault(ROWS.sub("", notice), []).append((column, notice))
    lines = []
    for group in alike.values():
        if len(group) < SAME:
            lines += [f"column '{column}' {notice}" for column, notice in group]
            continue
        columns = [f"'{column}'" for column, _ in group]
        listed = ", ".join(columns[:NAMED]) + (f" and {len(columns) - NAMED} more" if len(columns) > NAMED else "")
        lines.append(f"each of the columns {listed} {_with_ranges([notice for _, notice in group])}")
    return lines


def notices_of_left_out(left_out: Mapping[str, str]) -> list[str]:
    """Return notices about the columns that are left out, from the reason by column."""
    return in_few_lines([(column, f"is left out: {reason}") for column, reason in left_out.items()])


def _with_ranges(notices: Sequence[str]) -> str:
    """Return notices that differ in counts of rows only as one, with the least and the largest count."""
    counts = [[int(match[1]) for match in ROWS.finditer(notice)] for notice in notices]
    ranges = iter([(min(values), max(values)) for values in zip(*counts, strict=True)])

    def words(match: re.Match[str]) -> str:
        least, most = next(ranges)
        return count_rows(most) if least == most else f"{least} to {most} rows"

    return ROWS.sub(words, notices[0])


def draft_text(study: Study, notices: Sequence[str]) -> str:
    """Return the text of the study file, with a warning and the notices as comments at the top."""
    warning = (
        "DRAFTED FROM RECORDS: bounds, multiples, categories, missing flags come from a table. No epsilon covers",
        "them. Use this file with public or simulated tables only; hospitals refuse a drafted study. For real patients",
        'write the schema from the data dictionary, and only then remove origin = "drafted".',
        "",
        *(f"- {' '.join(notice.split())}" for notice in notices),
    )
    return "".join(f"# {line}".rstrip() + "\n" for line in warning) + "\n" + study.to_toml()
