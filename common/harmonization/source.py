"""A hospital's table as studies see it: a file, and the mapping that may stand between its columns and theirs.

A site's import and a simulation read through `open_source`, so that both apply a mapping in the same way. The file may
also be a study on OMOP databases: then the table is what the study takes from the declared database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import DataError
from common.harmonization.harmonizing import Unread, harmonized
from common.harmonization.mapping import Mapping, read_mapping
from common.tables.formats import AS_WRITTEN, is_study, read_parts
from common.tables.omop import extraction_of, read_omop
from common.tables.parts import Part
from common.tables.reading import Reading

LISTED_HERE = (
    "the mapping's cells above are listed for this hospital alone. Add what belongs to the study to the mapping and "
    "import again; the rest stays missing"
)
"""What a person reads after the cells that a mapping could not read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table that is read once.

    Attributes:
        path: its file.
        reading: what is declared about the file.
        mapping: what becomes of its columns; None takes them as they are.
        mapping_file: where the mapping is, for messages.
        mapping_sha256: digest of the mapping; empty where there is none.
        unread: what the mapping could not read, once all parts were read.
        found: what is to be known about an OMOP database, once it was read; with counts, for the hospital alone.
    """

    path: Path
    reading: Reading
    mapping: Mapping | None = None
    mapping_file: Path | None = None
    mapping_sha256: str = ""
    unread: Unread = field(default_factory=Unread)
    found: list[str] = field(default_factory=list)

    def parts(self) -> Iterator[Part]:
        """Yield the table part by part, harmonized; at least one part.

        Raises:
            DataError: as `read_parts` does; or the table lacks a column that the mapping reads.
        """
        parts = self._read()
        if self.mapping is None or self.mapping_file is None:
            yield from parts
            return
        try:
            yield from harmonized(parts, self.mapping, self.unread, source=self.mapping_file)
        except DataError as problem:
            where = f"'{self.path}'"
            raise DataError(str(problem) if where in str(problem) else f"cannot use table {where}: {problem}") from None

    def _read(self) -> Iterator[Part]:
        if not is_study(self.path):
            yield from read_parts(self.path, reading=self.reading)
            return
        try:
            yield read_omop(extraction_of(self.path), self.reading, notices=self.found)
        except DataError as problem:
            raise DataError(f"study '{self.path}' cannot be taken from the database: {problem}") from None

    def notices(self) -> list[str]:
        """Return what could not be read, with cells' texts and counts: for the hospital only."""
        return [] if self.mapping is None else self.unread.notices(self.mapping)


def open_source(path: Path, mapping_file: Path | None, *, reading: Reading = AS_WRITTEN) -> Source:
    """Return a hospital's table, with its mapping; nothing of the table is read yet.

    Args:
        path: the table's file.
        mapping_file: file of the mapping; None takes the columns as they are.
        reading: what is declared about the table's file.

    Raises:
        SiteError: the mapping cannot be read or is not valid.
    """
    if mapping_file is None:
        return Source(path, reading)
    mapping, digest = read_mapping(mapping_file)
    return Source(path, reading, mapping, mapping_file, digest)
