"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fedsynth", deadline=None)  # machines differ; slowness is not a property
settings.load_profile("fedsynth")
