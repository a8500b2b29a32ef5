"""What others ask about the kind of a column, answered in one place: times of visits, images, plain numbers."""

from __future__ import annotations

from collections.abc import Iterable

from common.columns.base import TableColumn
from common.columns.date import Dated
from common.columns.image import Image
from common.columns.numeric import Numeric


def images_of(columns: Iterable[TableColumn]) -> tuple[Image, ...]:
    """Return the columns of images."""
    return tuple(column for column in columns if isinstance(column, Image))


def plain_numbers(column: TableColumn) -> Numeric | None:
    """Return a column all of whose cells are numbers or missing: no missing codes, and no text beyond its bounds."""
    if not isinstance(column, Numeric) or column.missing_codes or column.below or column.above:
        return None
    return column


def time_of(column: TableColumn | None) -> Dated | Numeric | None:
    """Return a column that can order visits, if it is one."""
    return column if isinstance(column, Dated | Numeric) else None


def is_plain_time(column: TableColumn) -> bool:
    """Return whether every cell of a column is a date that counts from no other, or a number and nothing else."""
    if isinstance(column, Dated):
        return column.since is None
    numbers = plain_numbers(column)
    return numbers is not None and not numbers.multiples
