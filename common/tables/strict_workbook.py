"""Workbooks in the strict form of ISO/IEC 29500, which Excel offers as "Strict Open XML Spreadsheet".

They hold the same elements as other workbooks under other XML namespaces, which openpyxl does not know.
"""

from __future__ import annotations

import re
import zipfile
from io import BufferedIOBase
from typing import IO, Any, BinaryIO, cast

STRICT, RELATIONSHIPS = b"http://purl.oclc.org/ooxml/", "_rels/.rels"
"""Start of the namespaces of the strict form, and the part of a workbook that shows in which form it is."""

NAMES = {
    b"spreadsheetml/main": b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    b"officeDocument/relationships": b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    b"officeDocument/extendedProperties": b"http://schemas.openxmlformats.org/officeDocument/2006/extended-properties",
    b"drawingml/main": b"http://schemas.openxmlformats.org/drawingml/2006/main",
}
"""Rest of a strict namespace after `STRICT`, and the namespace that other workbooks have in its place."""

_NAME = re.compile(rb"([\"'])" + re.escape(STRICT) + b"(" + b"|".join(map(re.escape, NAMES)) + rb")(?=[/\"'])")
"""A strict namespace where an attribute begins. Text between elements stays as it is, unless it quotes one."""

_LONGEST = max(map(len, NAMES)) + len(STRICT) + 2
"""Most bytes of a match and the byte behind it."""


def is_strict(file: BinaryIO) -> bool:
    """Return whether a file is a workbook in strict form; False for a file that is not an archive."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return RELATIONSHIPS in archive.namelist() and STRICT in archive.read(RELATIONSHIPS)


def load_strict(openpyxl: Any, file: BinaryIO) -> Any:
    """Return what `openpyxl.load_workbook` would return for the same workbook in the usual form, to be read only."""
    reader = openpyxl.reader.excel.ExcelReader(file, read_only=True, data_only=True)
    reader.archive = _UsualNames(file)
    reader.read()
    return reader.wb


class _UsualNames(zipfile.ZipFile):
    """An archive whose parts are read with the usual namespaces in place of the strict ones."""

    def open(self, *arguments: Any, **settings: Any) -> IO[bytes]:
        """Open a part of the workbook."""
        return cast(IO[bytes], _Renamed(super().open(*arguments, **settings)))


class _Renamed(BufferedIOBase):
    """A part of a workbook with the usual namespaces. Blocks may be a little longer or shorter than asked for."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._rest = source, b""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes; b"" at the end only."""
        while True:
            block = self._source.read(-1 if size is None else size)
            content = self._rest + block
            is_last = not block or size is None or size < 0
            renamed = _NAME.sub(lambda found: found[1] + NAMES[found[2]], content)
            kept = 0 if is_last else min(_LONGEST - 1, len(renamed))
            ready, self._rest = renamed[: len(renamed) - kept], renamed[len(renamed) - kept :]
            if ready or is_last:
                return ready

    def close(self) -> None:
        """Close the part."""
        self._source.close()
        super().close()
