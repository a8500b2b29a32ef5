from __future__ import annotations

import numpy as np
import pytest

from common.marginals.pair_priors import Unexplained, mixture_priors
from common.marginals.queries import Domain
from common.marginals.resolutions import Resolutions


class TestUnexplained:
    """Factors of two columns of unequal codes, cut in halves and in codes."""

    DOMAIN = Domain((2, 4), (False, False), masses=((0.92, 0.08), (0.1, 0.4, 0.3, 0.2)))
    SINGLE = np.array([0.92, 0.08, 0.1, 0.4, 0.3, 0.2])
    PAIR = slice(0, 2), slice(2, 6)

    def test_signal_is_what_margins_and_halves_leave(self) -> None:
        """Potentials of variance 1 / P, without what only margins and halves hold: variances over draws are g."""
        resolutions = Resolutions.of(self.DOMAIN, [2])
        factors = Unexplained.of(resolutions.full, self.SINGLE, resolutions.refinements[0])
        first, second = (self.SINGLE[span] for span in self.PAIR)
        halves = resolutions.levels[0].maps[1]
        half = np.bincount(halves, second)
        potentials = np.random.default_rng(6).normal(size=(20_000, 2, 4)) / np.sqrt(np.outer(first, second))
        mean_in_half = np.stack([potentials[:, :, halves == number] @ second[halves == number] for number in (0, 1)])
        within = potentials - np.moveaxis(mean_in_half / half[:, None, None], 0, -1)[:, :, halves]
        without_margins = within - np.einsum("nab,a->nb", within, first)[:, None]
        variances = (np.outer(first, second) * without_margins).var(0)
        assert factors.signal()[self.PAIR] == pytest.approx(variances, rel=0.05)

    def test_freedom_is_what_margins_and_halves_leave(self) -> None:
        resolutions = Resolutions.of(self.DOMAIN, [2])
        factors = Unexplained.of(resolutions.full, self.SINGLE, resolutions.refinements[0])
        degrees = (2 - 1) * (4 - 1)
        coarse = (2 - 1) * (2 - 1)
        assert factors.freedom()[self.PAIR].sum() == pytest.approx(degrees - coarse)
        assert factors.without_coarser().freedom()[self.PAIR].sum() == pytest.approx(degrees)

    def test_columns_that_are_not_refined_leave_nothing(self) -> None:
        domain = Domain((2, 2), (False, False))
        resolutions = Resolutions.of(domain, [2])
        factors = Unexplained.of(resolutions.full, np.full(4, 0.5), resolutions.refinements[0])
        assert not factors.signal().any()
        assert not factors.freedom().any()


class TestMixturePriors:
    def estimated(self, truth: np.ndarray, seed: int) -> np.ndarray:
        """Return tau of tables with nine degrees of freedom, a noise of 1 and this true tau."""
        degrees = np.full(len(truth), 9.0)
        squares = (truth + 1.0) * np.random.default_rng(seed).chisquare(9, len(truth)) / 9
        return mixture_priors(squares, np.ones(len(truth)), np.ones(len(truth)), degrees)

    def test_few_strong_tables_do_not_widen_other_priors(self) -> None:
        truth = np.where(np.arange(300) < 15, 20.0, 0.0)
        tau = self.estimated(truth, 7)
        assert tau[15:].max() < 0.3
        assert (tau / (tau + 1))[:15] == pytest.approx(20 / 21, rel=0.05)

    def test_tables_alike_have_one_prior(self) -> None:
        tau = self.estimated(np.full(400, 2.0), 8)
        assert tau == pytest.approx(2.0, rel=0.35)

    def test_without_noise_a_table_says_its_own(self) -> None:
        squares = np.array([1.0, 4.0, 0.25])
        tau = mixture_priors(squares, np.zeros(3), np.ones(3), np.full(3, 100.0))
        assert tau == pytest.approx(squares, rel=0.3)

    def test_no_tables_have_no_priors(self) -> None:
        none = np.empty(0)
        assert not len(mixture_priors(none, none, none, none))
