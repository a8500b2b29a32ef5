"""Image and row of a synthetic patient belong together: a study whose truth is known, in four hospitals, epsilon 3."""

from __future__ import annotations

import pytest

from simulations.experiments.image_rows import real, synthetic
from simulations.image_studies.severity import severity_study, severity_tables

DRIVEN = [(0, 2), (0, 3), (1, 0), (2, 1)]
"""Brightness with severity and lab, the slope across with the class, the slope down with age."""


@pytest.mark.slow
def test_images_stay_with_class_age_severity_and_lab() -> None:
    """Noise weakens each correlation; that of the slope down with age, which only scores in the row keep, most."""
    tables = severity_tables(seed=100)
    truth, drawn = real(tables), synthetic(severity_study(seed=100), tables)
    assert all(abs(truth.images[pair]) > 0.7 for pair in DRIVEN)
    assert all(drawn.images[pair] / truth.images[pair] > 0.4 for pair in DRIVEN)
