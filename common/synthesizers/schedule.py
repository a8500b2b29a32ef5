"""The order in which a synthesizer is trained: the fit to the noisy marginals, the rounds, the refinement.

What a round does is up to the caller: with the hospitals of a run, or with one table in an experiment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.arrays import Weights
from common.marginals.measurements import Measurements
from common.seeds import seed_for
from common.synthesizers.base import AdversarialSynthesizer, Synthesizer, discriminator_of, mean_of, weights_of

DoRound = Callable[[int, Weights], Weights]
"""Does the round of that number, from 1, with these weights, and returns the weights after it."""

KeepStep = Callable[[str, Callable[[], Weights]], Weights]
"""Takes the step of that name from its checkpoint, or computes and keeps it."""

log = logging.getLogger(__name__)


def compute_always(step: str, compute: Callable[[], Weights]) -> Weights:
    """Compute the step: for callers that keep no checkpoints."""
    return compute()


@dataclass(frozen=True, slots=True)
class Training:
    """The order in which a synthesizer is trained.

    Args:
        synthesizer: what is trained.
        measurements: noisy marginals; None where the study has none, and then there is neither fit nor refinement.
        rounds: rounds after the fit.
        seed: of the fit and of the refinement.
        once: how the fit is kept in a checkpoint.
    """

    synthesizer: Synthesizer
    measurements: Measurements | None
    rounds: int
    seed: int
    once: KeepStep = compute_always

    def run(self, initial: Weights, do_round: DoRound) -> Weights:
        """Fit, do all rounds, refine against the mean discriminator of the later half of them.

        Args:
            initial: weights to begin with, see `initial_weights`.
            do_round: does one round.

        Returns:
            The trained weights by name, without optimizer state.
        """
        weights = self._fit(initial)
        late: list[Weights] = []
        for number in range(1, self.rounds + 1):
            weights = do_round(number, weights)
            if number > self.rounds // 2:
                late.append(discriminator_of(weights))
        return self._refine(weights_of(weights), late)

    def _fit(self, weights: Weights) -> Weights:
        if self.measurements is None:
            return weights
        seed = seed_for(self.seed, "fit")
        fitted = self.once("fit", partial(self.synthesizer.fit, weights, self.measurements, seed, rounds=self.rounds))
        log.info("synthesizer fitted to %d tables", len(self.measurements.queries))
        return fitted

    def _refine(self, weights: Weights, late: list[Weights]) -> Weights:
        if self.measurements is None or not late or not isinstance(self.synthesizer, AdversarialSynthesizer):
            return weights
        seed = seed_for(self.seed, "refine")
        refined = self.synthesizer.refine(weights, mean_of(late), self.measurements, seed)
        log.info("generator refined against the discriminators of %d rounds", len(late))
        return refined


def initial_weights(synthesizer: Synthesizer, seed: int) -> Weights:
    """Return the weights that training starts from; none for a synthesizer that is only fitted."""
    return synthesizer.initial_weights(seed) if isinstance(synthesizer, AdversarialSynthesizer) else {}
