"""Seeds by name, for everything that protects nobody: initial weights, partitions, evaluation."""

from __future__ import annotations

import hashlib
import json


def seed_for(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**32) for what the names say, the same on every machine; numpy, torch and scikit-learn take it.

    It depends on nothing but its arguments, so adding a hospital leaves the others' numbers unchanged.
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:4])


def site_key(seed: int, hospital: str) -> bytes:
    """A simulated or rehearsing hospital's secret for choosing held-out patients: as predictable as its noise."""
    return seed_for(seed, "site-key", hospital).to_bytes(8, "big")
