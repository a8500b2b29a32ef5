"""Usual weights of the phases in a budget, where the study sets none."""

from __future__ import annotations

from collections.abc import Callable

from common.planning.sizing import TRIPLES_AGAIN_FROM, USUAL_WEIGHTS
from common.study.study import Study

PLAIN_HISTOGRAM_PART = 0.15
"""Usual part of the histograms in the plain DP-GAN, which counts nothing else."""

VOTES_WEIGHT = 0.05
"""Usual weight of votes beside the counted tables, whose usual weights sum to 1."""

TRANSITIONS_WEIGHT, CROSS_TRANSITIONS_WEIGHT = 0.3, 0.2
"""Usual weights of transitions beside the counted tables, whose usual weights sum to 1."""

CLASSES_WEIGHT = 0.4
"""Usual weight of all rounds of latent classes together, beside the counted tables, whose usual weights sum to 1."""

ROUND_WEIGHT = 0.15
"""Usual weight of rounds beside the counted phases, whose usual weights sum to 1."""


def usual_weight_of(part: str) -> Callable[[Study, float], float]:
    """Return the usual weight of a phase of counted tables, from the study and the signal-to-noise ratio."""

    def weight(study: Study, ratio: float) -> float:
        weights = next(weights for least, weights in USUAL_WEIGHTS.items() if ratio >= least)
        # A study may ask for a phase that its ratio would leave out.
        return float(getattr(weights, part)) or float(getattr(USUAL_WEIGHTS[TRIPLES_AGAIN_FROM], part))

    return weight


def round_weight(study: Study, ratio: float) -> float:
    """Return the weight of DP-SGD; in the plain DP-GAN, everything but the histograms."""
    is_plain = not study.synthesizer.counts_marginals and not study.budget.is_fixed
    beside = usual_weight_of("histograms")(study, ratio)
    return beside * (1 / PLAIN_HISTOGRAM_PART - 1) if is_plain else ROUND_WEIGHT
