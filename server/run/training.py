"""One round of training with the hospitals of a run; `common.synthesizers.schedule` gives the order of steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from common.arrays import Array, Weights
from common.marginals.measurements import Measurements
from common.marginals.released import ReleasedMarginals
from common.planning.phases import ROUNDS, PublicRun, measurements_of, training_phase
from common.privacy.quantization import ClippedGrid
from common.protocol.messages import GradientRequest, RoundReply, RoundRequest
from common.run_events.events import RoundFinished
from common.run_events.exclusions import Exclusion, Fault
from common.seeds import seed_for
from common.synthesizers.base import AdversarialSynthesizer, Synthesizer, discriminator_of
from common.synthesizers.registry import make_synthesizer
from common.synthesizers.schedule import TrainingSchedule, initial_weights
from server.aggregation import aggregate
from server.run.agreed_run import AgreedRun
from server.run.checkpoints import ROUND
from server.run.members import Members
from server.secagg.masked_sums import MaskedSums, Once


def train(agreed: AgreedRun, members: Members, once: Once, masked: MaskedSums | None, public: PublicRun) -> Weights:
    """Train with the hospitals of a run and return the weights of both networks, by name.

    Args:
        agreed: the study and its plan.
        members: the hospitals to ask.
        once: takes a step from its checkpoint, or computes and keeps it.
        masked: sums under masks, for synchronous steps; None where hospitals train by themselves.
        public: the run with its noisy marginals.
    """
    study, plan = agreed.study, agreed.plan
    measurements = measurements_of(public)
    synthesizer = make_synthesizer(study.synthesizer, public.encoder)
    released = public.released.only(training_phase().needs(plan))
    rounds = FederatedRounds(agreed, members, once, released, synthesizer, measurements, masked)
    initial = initial_weights(synthesizer, seed_for(study.seed, "initial-weights"))
    schedule = TrainingSchedule(synthesizer, measurements, plan.rounds, study.seed, once, members.emit)
    return schedule.run(initial, rounds.do)


@dataclass(frozen=True, slots=True)
class FederatedRounds:
    """One round with the hospitals of a run: each trains by itself, or all take one synchronous step."""

    agreed: AgreedRun
    members: Members
    once: Once
    released: ReleasedMarginals
    synthesizer: Synthesizer
    measurements: Measurements | None
    masked: MaskedSums | None

    def do(self, number: int, weights: Weights) -> Weights:
        """Do one round and return the weights after it, with the optimizers' state where steps are synchronous.

        Args:
            number: number of the round, from 1.
            weights: weights before the round.
        """
        study, quantization = self.agreed.study, self.agreed.plan.quantization
        if quantization is None:
            return self.once(ROUND.format(number), partial(self._local_round, number, weights))
        total = self.once(ROUND.format(number), partial(self._gradient_sum, number, weights))["sum"]
        assert isinstance(self.synthesizer, AdversarialSynthesizer), "the planner gives no other kind rounds"
        seed = seed_for(study.seed, "step", number)
        clipped = ClippedGrid(study.privacy.clip, quantization)
        return self.synthesizer.step(weights, total, self.measurements, clipped, seed)

    def _gradient_sum(self, number: int, state: Weights) -> dict[str, Array]:
        """Return the sum of the gradients of one step. Networks and optimizers follow from it, so it alone is kept."""
        assert self.masked is not None, "a plan with a quantization grid masks its vectors"
        discriminator, plan = discriminator_of(state), self.agreed.plan
        request = GradientRequest(self.agreed.run_id, number, self.released.arrays(), discriminator)
        length = sum(value.size for value in discriminator.values())
        most = plan.furthest_gradient
        total = self.masked.sum(request, ROUNDS, self.members.names, length=length, most=most)
        self._finish(number, len(self.members.by_node))
        return {"sum": total}

    def _local_round(self, number: int, weights: Weights) -> Weights:
        """Return the aggregate of the weights that the hospitals trained by themselves."""

        def fault(reply: RoundReply) -> Fault | None:
            if reply.weights.keys() != weights.keys():
                return Fault(Exclusion.WEIGHTS_NAMES)
            for name, value in reply.weights.items():
                if value.shape != weights[name].shape:
                    return Fault(Exclusion.WEIGHTS_SHAPE)
                if not np.isfinite(value).all():
                    return Fault(Exclusion.WEIGHTS_NOT_FINITE)
            return None

        study = self.agreed.study
        request = RoundRequest(self.agreed.run_id, number, self.released.arrays(), weights)
        replies = self.members.collect(request, RoundReply, fault)
        updates = {hospital: reply.weights for hospital, reply in replies.items()}
        rows = {facts.name: study.training_rows(facts) for facts in study.hospitals}
        combined = aggregate(study.federation.aggregation, updates, rows)
        self._finish(number, len(updates))
        return combined

    def _finish(self, number: int, hospitals: int) -> None:
        rounds = self.agreed.plan.rounds
        self.members.emit(RoundFinished(round=number, rounds=rounds, hospitals=hospitals))
