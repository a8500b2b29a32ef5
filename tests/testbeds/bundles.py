"""App bundles as Flower packs them."""

from __future__ import annotations

import warnings

from flwr.cli.build import build_fab_from_files


def packed(**files: str) -> bytes:
    """Flower's archive of these files, by path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Flower's use of pathspec
        return build_fab_from_files({name: text.encode() for name, text in files.items()})[0]
