"""The version that a relay and a site agent compare, as a constant in the code, also when Flower unpacked the code."""

from __future__ import annotations

VERSION = "0.1.0"
"""Equal to the distribution's version. Package metadata may differ: a bundle can run beside another version."""
