"""Seeds by name, for all randomness that protects no patient: initial weights, partitions, evaluation."""

from __future__ import annotations

import hashlib
import json


def seed_for(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**32) for these names, the same on every machine, for numpy, torch and scikit-learn.

    It depends on nothing but its arguments, so adding a hospital leaves the others' numbers unchanged.
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:4])


def site_key(seed: int, hospital: str) -> bytes:
    """Return a simulated hospital's key for choosing held-out patients; as predictable as the hospital's noise."""
    return seed_for(seed, "site-key", hospital).to_bytes(8, "big")
