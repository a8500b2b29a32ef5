"""Rows as aligned text and as CSV, and pages: what Table One, survival curves and pooled estimates share."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from jinja2 import FileSystemLoader, Template

from common.web.templates import environment

PAGES = Path(__file__).parent / "page"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of texts in columns that are as wide as their longest text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in padded) + "\n"


def csv_text(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return headings and rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return out.getvalue()


def page(name: str) -> Template:
    """Return a template of this package."""
    return environment(FileSystemLoader(PAGES)).get_template(name)
