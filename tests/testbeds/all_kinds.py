"""Settings of columns of all kinds, missing codes, limits and dates that count from others among them."""

from __future__ import annotations

from typing import Any

COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "id", "kind": "identifier", "pattern": "P-####"},
    {"name": "age", "kind": "numeric", "lower": 18, "upper": 89, "above": "> 89", "missing_codes": ["999", "."]},
    {"name": "crp", "kind": "numeric", "lower": 0.1, "upper": 300, "decimals": 1, "below": "<0.1", "missing": True,
     "missing_codes": ["ND"], "multiples": [10, 1]},
    {"name": "zip", "kind": "categorical", "categories": ["02139", "250", "250.0", "250.00"], "missing": True},
    {"name": "smoker", "kind": "boolean", "true": "1", "false": "0"},
    {"name": "admitted", "kind": "date", "date_format": "%d.%m.%Y", "lower": "01.01.2020", "upper": "31.12.2024",
     "missing": True},
    {"name": "left", "kind": "date", "since": "admitted", "least": 0, "most": 400, "missing": True},
    {"name": "seen", "kind": "datetime", "lower": "2020-01-01 00:00", "upper": "2020-12-31 23:59"},
    {"name": "asked", "kind": "date", "resolution": "months", "date_format": "%Y-%m", "lower": "2020-01",
     "upper": "2024-12", "missing": True},
    {"name": "drugs", "kind": "set", "items": ["aspirin", "statin", "insulin"], "separator": "; ", "missing": True,
     "empty": "none"},
    {"name": "icd", "kind": "code", "codes": ["I10", "I25.0", "I25.1", "J45.9"], "prefixes": [1, 3]},
    {"name": "note", "kind": "text", "template": "{id}: {age} years, takes {drugs}."},
)  # fmt: skip
