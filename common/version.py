"""The version that a relay and a site agent compare: it is read from the code itself, also where Flower unpacked it."""

from __future__ import annotations

VERSION = "0.1.0"
"""Equal to the distribution's. A bundle runs beside another installed version, so package metadata would not tell."""
