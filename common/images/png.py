"""Gray images as PNG files, and many of them on one sheet. Needs no library for images."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from common.images.cells import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"

COMPRESSION = 9
"""Level of zlib; a fixed one gives equal images equal files."""

MOST_PIXELS = 2**24
"""Most pixels of an image that is read."""

GAP = 2
"""Pixels between two images of a sheet."""


def png_of(image: Pixels) -> bytes:
    """Return a gray PNG file of 8 bits a pixel, without any metadata.

    Source: PNG Specification, third edition, W3C 2025: chunks IHDR, IDAT and IEND, filter type 0.
    """
    rows, columns = image.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    lines = np.zeros((rows, columns + 1), dtype=np.uint8)  # each line begins with its filter type, 0
    lines[:, 1:] = image
    content = zlib.compress(lines.tobytes(), COMPRESSION)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def pixels_of_png(content: bytes) -> Pixels | None:
    """Return the image of a file that `png_of` wrote; None for any other content, another PNG file among them."""
    start = len(SIGNATURE)
    if content[:start] != SIGNATURE or content[start + 4 : start + 8] != b"IHDR" or len(content) < start + 25:
        return None
    columns, rows, *form = struct.unpack(">IIBBBBB", content[start + 8 : start + 21])
    if form != [8, 0, 0, 0, 0] or not 0 < rows * columns <= MOST_PIXELS or content[start + 29 : start + 33] != b"IDAT":
        return None
    try:
        lines = zlib.decompressobj().decompress(content[start + 33 :], rows * (columns + 1) + 1)
    except zlib.error:
        return None
    if len(lines) != rows * (columns + 1):
        return None
    table = np.frombuffer(lines, dtype=np.uint8).reshape(rows, columns + 1)
    return None if table[:, 0].any() else table[:, 1:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def sheet_of(lines: Sequence[Pixels], *, zoom: int = 1) -> Pixels:
    """Return one image with a line of images for each entry, all of one size, on white.

    Args:
        lines: each of shape (images, rows, columns).
        zoom: how many times larger every pixel becomes.
    """
    rows, columns = lines[0].shape[1:]
    width = max(len(line) for line in lines)
    sheet = np.full((len(lines) * (rows + GAP) + GAP, width * (columns + GAP) + GAP), 255, dtype=np.uint8)
    for down, line in enumerate(lines):
        for across, image in enumerate(line):
            top, left = GAP + down * (rows + GAP), GAP + across * (columns + GAP)
            sheet[top : top + rows, left : left + columns] = image
    return np.repeat(np.repeat(sheet, zoom, axis=0), zoom, axis=1)
