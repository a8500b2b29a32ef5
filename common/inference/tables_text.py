"""Table One as text, CSV and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from common.inference.noisy import Interval
from common.inference.rendering import aligned, csv_text, page
from common.inference.table_one import Figure, TableLine, TableOne

HEADINGS = ("variable", "level", "statistic", "group", "patients", "value", "low", "high", "suppressed")
"""Columns of the CSV file, which has one line for each figure of each group."""

TITLES = {"mean": "mean", "sd": "standard deviation", "q25": "first quartile", "median": "median",
          "q75": "third quartile", "missing": "missing"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrintedLine:
    """One printed line.

    Attributes:
        variable: column that the line is about.
        is_first: whether it is the first line of the variable.
        title: statistic or label.
        cells: a text for each group.
    """

    variable: str
    is_first: bool
    title: str
    cells: tuple[str, ...]


def lines_of(table: TableOne) -> list[PrintedLine]:
    """Return the lines of the table; the first says how many patients there are."""
    sizes = tuple(_size(interval, table.threshold) for interval in table.sizes)
    lines = [PrintedLine("patients", True, "", sizes)]
    for variable, rows in groupby(table.rows, key=lambda row: row.variable):
        for number, row in enumerate(rows):
            texts = tuple(_cell(row, cell, table.threshold) for cell in row.cells)
            lines.append(PrintedLine(variable, number == 0, TITLES.get(row.statistic, row.level), texts))
    return lines


def notes_of(table: TableOne) -> list[str]:
    """Return what stands below the table."""
    return [
        "In parentheses: 95 % intervals of the population that the patients are a sample of. They hold sampling and "
        "the noise that protects the patients; beside numbers of patients, the noise alone. Percentages are of the "
        "patients with a known value.",
        f"Cells of fewer than {table.threshold} patients, by their noisy count, are not shown; that does not "
        "hide them, since they may follow from other cells by subtraction: noise protects the patients. A standard "
        "deviation has no interval. (noise) stands where noise leaves nothing to say.",
        *(f"Note: {note}." for note in table.notes),
    ]


def table_text(table: TableOne) -> str:
    """Return the table as plain text with aligned columns."""
    lines = [PrintedLine("", True, "", tuple(_group(table, number) for number in range(len(table.groups))))]
    lines += lines_of(table)
    rows = [(line.variable if line.is_first else "", line.title, *line.cells) for line in lines]
    return aligned(rows) + "\n" + "\n".join(notes_of(table)) + "\n"


def table_csv(table: TableOne) -> str:
    """Return one line for each figure of each group; a cell that is not shown has no figures."""
    lines: list[list[object]] = []
    for name, interval in zip(table.groups, table.sizes, strict=True):
        is_shown = round(interval.value) >= table.threshold
        figures = [round(interval.value), *_figures(interval, 0), "no"] if is_shown else ["", "", "", "", "yes"]
        lines.append(["", "", "patients", name, *figures])
    for row in table.rows:
        for name, cell in zip(table.groups, row.cells, strict=True):
            key = [row.variable, row.level, row.statistic, name]
            if cell.is_suppressed or not cell.is_counted:
                lines.append([*key, "", "", "", "", "yes" if cell.is_suppressed else "not counted"])
            else:
                lines.append([*key, cell.patients, *_figures(cell.interval, row.decimals + 1), "no"])
    return csv_text(HEADINGS, lines)


def table_html(table: TableOne, title: str, warnings: Sequence[str]) -> str:
    """Return the table as a page that needs nothing but itself.

    Args:
        table: the table.
        title: of the page.
        warnings: of the run.
    """
    groups = [_group(table, number) for number in range(len(table.groups))]
    lines, notes = lines_of(table), notes_of(table)
    template = page("table1.html.jinja")
    return str(template.render(title=title, warnings=list(warnings), groups=groups, lines=lines, notes=notes))


def _group(table: TableOne, number: int) -> str:
    return table.groups[number] if not number or table.by is None else f"{table.by} = {table.groups[number]}"


def _size(interval: Interval, threshold: int) -> str:
    if round(interval.value) < threshold:
        return f"<{threshold}"
    return f"{max(0, interval.value):,.0f} ({max(0, interval.low):,.0f} to {max(0, interval.high):,.0f})"


def _cell(row: TableLine, cell: Figure, threshold: int) -> str:
    if not cell.is_counted:
        return "(not counted)"
    if cell.is_suppressed:
        return f"<{threshold}"
    if row.statistic == "sd":
        return f"{cell.interval.value:,.{row.decimals}f}" if math.isfinite(cell.interval.value) else "(noise)"
    if not cell.interval.is_known:
        return "(noise)"
    if row.statistic in ("percent", "missing"):
        value, low, high = (
            f"{number:,.{row.decimals}f}" for number in (cell.interval.value, cell.interval.low, cell.interval.high)
        )
        return f"{cell.patients:,} ({value} %: {low} to {high})"
    return cell.interval.text(f",.{row.decimals}f")


def _figures(interval: Interval, decimals: int) -> list[str]:
    numbers = (interval.value, interval.low, interval.high)
    return [f"{number:.{decimals}f}" if math.isfinite(number) else "" for number in numbers]
