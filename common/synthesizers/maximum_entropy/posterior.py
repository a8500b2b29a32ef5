"""Several tables whose differences show how uncertain the model is: a parametric bootstrap of the noisy marginals.

For valid inference from synthetic rows (Raghunathan, Reiter and Rubin 2003), each table must come from another draw of
the model's parameters, given what was released (Raisa et al. 2023 for noisy marginals). Here, for each table m:

1. n rows are drawn from the model, as if they were the patients: sampling.
2. They are counted in every table that the run released, and fresh noise of the known scale is added: privacy noise.
3. The model is fitted again to these counts, from where it was: parameters of draw m.
4. Rows are drawn independently from that model.

The priors that shrink what noise may explain would also shrink the differences between draws, and pull an odds ratio to
1. So models for inference have one wide prior instead. All of it is post-processing of released sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from common.arrays import Integers
from common.columns.base import Codes
from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import count
from common.seeds import seed_for
from common.synthesizers.maximum_entropy.chains import Chains, column_tables
from common.synthesizers.maximum_entropy.fit import Fit, ModelFitter, step_rates

WIDE = 1.0
"""Prior variance, relative to what independent columns explain, that shrinks no potential to speak of."""

STEPS, STEPS_AGAIN = 200, 60
"""Stochastic Newton steps of the first fit, and of each further one, which starts where the first ended."""

CHAINS = 2048
"""Gibbs chains of each fit."""

SWEEPS = 20
"""Sweeps between rows of the chains and rows that are drawn: several rows may come from one chain."""


@dataclass(frozen=True, slots=True)
class PosteriorSettings:
    """How many tables are drawn.

    Attributes:
        datasets: number of tables.
        rows: of each.
        seed: of everything drawn.
    """

    datasets: int
    rows: int
    seed: int


def posterior_codes(measurements: Measurements, settings: PosteriorSettings) -> Iterator[Codes]:
    """Yield one table of codes for each draw of the parameters, (rows, columns), int16.

    Args:
        measurements: everything that the run released of columns.
        settings: how many tables.
    """
    evidence = _with_wide_priors(Evidence.of(measurements))
    fitter = ModelFitter(evidence, CHAINS, seed_for(settings.seed, "posterior", "fit"))
    fitter.add_sets(STEPS // 2)
    first = fitter.run(step_rates(STEPS))
    patients = max(1, round(measurements.total))
    for number in range(settings.datasets):
        seed = seed_for(settings.seed, "posterior", number)
        again = _counted_again(measurements, _draw(first, patients, seed), seed)
        fit = fitter.restarted(_with_wide_priors(Evidence.of(again)), seed).run(step_rates(STEPS_AGAIN))
        yield _draw(fit, settings.rows, seed_for(seed, "rows"))


def _with_wide_priors(evidence: Evidence) -> Evidence:
    pairs = tuple(replace(level, prior=np.where(np.eye(len(level.prior)), 0.0, WIDE)) for level in evidence.pairs)
    return replace(evidence, pairs=pairs, sets=tuple(replace(table, prior=WIDE) for table in evidence.sets))


def _counted_again(measurements: Measurements, codes: Codes, seed: int) -> Measurements:
    """Return what the run would have released of these rows, with fresh noise.

    Args:
        measurements: what it released.
        codes: rows, (patients, columns).
        seed: of the noise.
    """
    exact, rng = count(codes, measurements.queries, measurements.domain), np.random.default_rng(seed)
    deviations = [
        np.full(measurements.domain.cells([query]), deviation * query.weight)
        for query, deviation in zip(measurements.queries, measurements.deviations, strict=True)
    ]
    noise = rng.standard_normal(len(exact)) * np.concatenate(deviations)
    sums: Integers = exact + np.rint(noise).astype(np.int64)
    return replace(measurements, sums=sums)


def _draw(fit: Fit, rows: int, seed: int) -> Codes:
    """Return independent rows of the model: unlike a release's rows, they are not pulled towards its tables."""
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(fit.rows), (rows,), generator=rng)
    chains = Chains(fit.potentials, fit.rows[chosen], rng)
    tables = column_tables(fit.potentials)
    chains.mix(SWEEPS, range(len(tables)), tables)
    return chains.rows.numpy().astype(np.int16)
