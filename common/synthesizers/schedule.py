"""How long a synthesizer is fitted, and what follows the fit."""

from __future__ import annotations

from common.marginals.measurements import Measurements
from common.study.sections import FIT_STEPS

PRECISE = 600.0
"""From this ratio of patients to the noise of a coarse count on, twice as many steps pay. See docs/synthesizer.md."""


def fit_steps(measurements: Measurements, rounds: int, wanted: int) -> int:
    """Return how many steps the fit takes: twice the default where they pay and nothing else trains the generator.

    From released tables alone, so post-processing.

    Args:
        measurements: what the generator is fitted to.
        rounds: adversarial rounds after the fit.
        wanted: steps that the study asks for.
    """
    has_several = any(len(query.columns) > 1 for query in measurements.queries)
    is_precise = PRECISE * measurements.noise <= 1
    return 2 * wanted if wanted == FIT_STEPS and is_precise and has_several and not rounds else wanted
