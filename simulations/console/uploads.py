"""A table that a page sends, as text."""

from __future__ import annotations

import base64
import binascii

from common.errors import StudyError

MOST_TABLE_BYTES = 5_000_000
"""Most bytes of a table that a browser sends; a larger one is named by its path."""


def decode_table(text: str) -> bytes:
    """Return the bytes of a table that a page sent. Raises `StudyError` where they are no base64."""
    try:
        content = base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        raise StudyError("the file did not arrive whole; choose it again") from None
    if len(content) > MOST_TABLE_BYTES:
        raise StudyError(f"the table has more than {MOST_TABLE_BYTES // 10**6} MB; give its path on this machine")
    return content
