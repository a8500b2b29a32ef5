"""The order in which a synthesizer is trained: the fit to the noisy marginals, the rounds, the refinement.

What a round does is up to the caller: with the hospitals of a run, or with one table in an experiment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.arrays import Weights
from common.marginals.measurements import Measurements
from common.run_events.events import Emit, ignore, phase
from common.seeds import seed_for
from common.synthesizers.base import AdversarialSynthesizer, Synthesizer, discriminator_of, mean_of, weights_of

DoRound = Callable[[int, Weights], Weights]
"""Does the round of that number, from 1, with these weights, and returns the weights after it."""

KeepStep = Callable[[str, Callable[[], Weights]], Weights]
"""Takes the step of that name from its checkpoint, or computes and keeps it."""

FIT, ROUNDS, REFINEMENT = "fit", "rounds", "refinement"
"""Names of the phases in the run's events; the fit is a checkpoint too."""


def compute_always(step: str, compute: Callable[[], Weights]) -> Weights:
    """Compute the step: for callers that keep no checkpoints."""
    return compute()


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """The order in which a synthesizer is trained.

    Args:
        synthesizer: synthesizer to train.
        measurements: noisy marginals; None where the study has none, and then there is neither fit nor refinement.
        rounds: rounds after the fit.
        seed: seed of the fit and of the refinement.
        once: how the fit is kept in a checkpoint.
        emit: takes the events of the phases.
    """

    synthesizer: Synthesizer
    measurements: Measurements | None
    rounds: int
    seed: int
    once: KeepStep = compute_always
    emit: Emit = ignore

    def run(self, initial: Weights, do_round: DoRound) -> Weights:
        """Fit, do all rounds, refine against the mean discriminator of the later half of them.

        Args:
            initial: weights to begin with, see `initial_weights`.
            do_round: does one round.

        Returns:
            The trained weights by name, without optimizer state.
        """
        weights, late = self._fit(initial), list[Weights]()
        if self.rounds:
            with phase(self.emit, ROUNDS):
                weights = self._do_rounds(weights, do_round, late)
        return self._refine(weights_of(weights), late)

    def _do_rounds(self, weights: Weights, do_round: DoRound, late: list[Weights]) -> Weights:
        """Do all rounds; the discriminators of the later half go to `late`."""
        for number in range(1, self.rounds + 1):
            weights = do_round(number, weights)
            if number > self.rounds // 2:
                late.append(discriminator_of(weights))
        return weights

    def _fit(self, weights: Weights) -> Weights:
        if self.measurements is None:
            return weights
        seed = seed_for(self.seed, "fit")
        fit = partial(self.synthesizer.fit, weights, self.measurements, seed, rounds=self.rounds)
        with phase(self.emit, FIT) as note:
            note(len(self.measurements.queries))
            return self.once(FIT, fit)

    def _refine(self, weights: Weights, late: list[Weights]) -> Weights:
        if self.measurements is None or not late or not isinstance(self.synthesizer, AdversarialSynthesizer):
            return weights
        seed = seed_for(self.seed, "refine")
        with phase(self.emit, REFINEMENT):
            return self.synthesizer.refine(weights, mean_of(late), self.measurements, seed)


def initial_weights(synthesizer: Synthesizer, seed: int) -> Weights:
    """Return the weights that training starts from; none for a synthesizer that is only fitted."""
    return synthesizer.initial_weights(seed) if isinstance(synthesizer, AdversarialSynthesizer) else {}
