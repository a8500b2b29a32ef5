"""The maximum-entropy model as a synthesizer: fitted to noisy marginals, kept as potentials, sampled by chains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.arrays import Floats, Weights
from common.columns.base import Codes
from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.maximum_entropy.files import model_of, weights_of
from common.synthesizers.maximum_entropy.fit import fit_model
from common.synthesizers.maximum_entropy.potentials import are_few
from common.synthesizers.maximum_entropy.rows import draw_rows
from common.synthesizers.maximum_entropy.within import order_within

USUAL_CHAINS, MOST_CHAINS, CHAIN_CODES = 2048, 3072, 40_000
"""Chains if the study does not say: as many as hold this many codes in all, within the two limits."""

FEWEST_CHAINS, MOST_CHAIN_CODES = 1024, 175_000
"""A wide table has fewer than the usual chains: they hold at most this many codes, but are not fewer than the first."""

FEW_CHAINS, FEW_STEPS = 256, 32
"""Most chains and most steps of the fit for a wide table with fewer counted pairs than columns. Pairs with one target
form no cycle, so few sweeps are enough."""


class MaximumEntropy:
    """The distribution of largest entropy that explains the noisy marginals, as far as they exceed their noise.

    Args:
        settings: the study's settings of the synthesizer.
        domain: codes of every column.
    """

    def __init__(self, settings: MaximumEntropySettings, domain: Domain) -> None:
        self._settings, self._domain = settings, domain

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return the potentials, the expected tables and the rows of the chains; post-processing."""
        evidence, steps = Evidence.of(measurements), self._settings.fit_steps
        usual = chains_of(len(self._domain.sizes))
        if are_few(evidence.counted_pairs, len(evidence.sets), self._domain):
            usual, steps = min(usual, FEW_CHAINS), min(steps, FEW_STEPS)
        return weights_of(fit_model(evidence, chains=self._settings.chains or usual, steps=steps, seed=seed))

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows; given columns hold their code exactly, the others follow their conditional distribution."""
        return draw_rows(model_of(weights, self._domain), rows, seed, given).numpy().astype(np.int16)

    def order_within(self, weights: Weights, codes: Codes, seed: int) -> Floats:
        """Return where the numbers of drawn rows lie within their codes, given the other columns."""
        return order_within(model_of(weights, self._domain), codes, seed)


def chains_of(columns: int) -> int:
    """Return the number of chains of a table with that many columns, where the study names none."""
    usual = min(max(CHAIN_CODES // columns, USUAL_CHAINS), MOST_CHAINS)
    return min(usual, max(MOST_CHAIN_CODES // columns, FEWEST_CHAINS))
