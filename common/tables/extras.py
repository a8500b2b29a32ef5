"""Libraries that only some formats need, and the sentence for the reader who does not have them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from common.errors import DataError


def load(module: str, extra: str) -> Any:
    """Return a library of an extra. Raises `DataError` with the command that installs it where it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise DataError(f"this format needs {module}; run `pip install 'fedsynth[{extra}]'`") from None
