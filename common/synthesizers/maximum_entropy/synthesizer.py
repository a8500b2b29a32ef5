"""The maximum-entropy model as a synthesizer: fitted to noisy marginals, kept as potentials, sampled by chains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from common.arrays import Weights
from common.columns.base import Codes
from common.errors import StudyError
from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain
from common.marginals.resolutions import Resolution, Resolutions
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.maximum_entropy.chains import Potentials, TriplePotential
from common.synthesizers.maximum_entropy.fit import Fit, fit_model
from common.synthesizers.maximum_entropy.rows import draw_rows

FEWEST_CHAINS, MOST_CHAINS, CHAIN_CODES = 2048, 8192, 120_000
"""Chains if the study does not say: as many as hold this many codes in all, within the two limits."""


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
        columns = len(self._domain.sizes)
        chains = self._settings.chains or min(max(CHAIN_CODES // columns, FEWEST_CHAINS), MOST_CHAINS)
        evidence = Evidence.of(measurements)
        return _to_weights(fit_model(evidence, chains=chains, steps=self._settings.fit_steps, seed=seed), evidence)

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw rows; given columns hold their code exactly, the others follow their conditional distribution."""
        return draw_rows(self._from_weights(weights), rows, seed, given).numpy().astype(np.int16)

    def _from_weights(self, weights: Weights) -> Fit:
        """Return the model that `_to_weights` wrote.

        Raises:
            StudyError: something is not there, or belongs to other columns.
        """
        try:
            resolutions = Resolutions.of(self._domain, [int(groups) for groups in weights["groups"]])
            pairs = [torch.from_numpy(weights[f"pairs.{number}"]) for number in range(len(resolutions.levels))]
            singles = torch.from_numpy(weights["singles"])
            triples = []
            for number, (*columns, groups) in enumerate(weights["triples"].astype(np.int64).tolist()):
                first, second, third = columns
                potential = TriplePotential.zeros((first, second, third), Resolution.of(self._domain, groups))
                potential.values = torch.from_numpy(weights[f"triple.{number}"]).reshape(potential.values.shape)
                triples.append(potential)
            chains = torch.from_numpy(weights["rows"].astype(np.int64)).reshape(-1, len(self._domain.sizes))
            expected = torch.from_numpy(weights["expected.pairs"]), torch.from_numpy(weights["expected.singles"])
        except (KeyError, ValueError, RuntimeError, IndexError):
            raise StudyError("the weights are not those of this study's maximum-entropy model; restore them") from None
        width = sum(self._domain.sizes)
        if singles.shape != (width,) or expected[0].shape != (width, width):
            raise StudyError("the weights are not those of this study's maximum-entropy model; restore them")
        return Fit(Potentials(resolutions, singles, pairs, triples), chains, *expected)


def _to_weights(fit: Fit, evidence: Evidence) -> Weights:
    """Return a model as arrays by name: potentials, and what rows are drawn from."""
    potentials = fit.potentials
    triples = [(*table.columns, table.resolution.groups) for table in evidence.triples]
    arrays = {
        "groups": np.array([level.groups for level in potentials.resolutions.levels]),
        "singles": potentials.singles.numpy(),
        **{f"pairs.{number}": theta.numpy() for number, theta in enumerate(potentials.pairs)},
        "triples": np.array(triples).reshape(-1, 4),
        **{f"triple.{number}": triple.values.numpy() for number, triple in enumerate(potentials.triples)},
        "expected.pairs": fit.pairs.numpy(),
        "expected.singles": fit.singles.numpy(),
        "rows": fit.rows.numpy(),
    }
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
