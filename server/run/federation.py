"""A run at the coordinator: enroll, count, train, evaluate. Quorum and deadline keep any hospital from stalling it.

Every step is checkpointed. A run that was interrupted continues from its last step: the requests that were under way
are sent again, byte for byte, and hospitals answer those they know from their stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.arrays import Array, Weights
from common.columns.base import Codes
from common.marginals.released import ReleasedMarginals
from common.model import Model, release_seed
from common.planning.phases import PublicRun
from common.secagg.terms import Terms
from server.run.agreed_run import AgreedRun, Resources
from server.run.counting import Counting
from server.run.enrollment import enroll
from server.run.members import Members
from server.run.training import train
from server.secagg.masked_sums import PART, MaskedSums


@dataclass(frozen=True, slots=True, eq=False)
class RunOutcome:
    """What a run leaves: the noisy marginals, the final weights, and the hospitals that took part to the end."""

    released: ReleasedMarginals
    weights: Weights
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Federation:
    """One run, from enrollment to the trained weights.

    Args:
        agreed: the study, its plan and the run's id.
        resources: transport, checkpoints and receipts.
    """

    agreed: AgreedRun
    resources: Resources

    def run(self) -> RunOutcome:
        """Enroll the hospitals, count, train, evaluate.

        Raises:
            PolicyRefusal: too few hospitals are left after their policies refused.
            FederationError: fewer than `min_hospitals` gave a usable answer in some exchange.
        """
        members = enroll(self.agreed, self.resources)
        masked = self.masked_sums(members)
        counting = self.counting(members, masked)
        public = counting.run()
        weights = train(self.agreed, members, self.once, masked, public)
        public = counting.evaluate(public, partial(synthetic_codes, weights))
        return RunOutcome(public.released, weights, members.names)

    def counting(self, members: Members, masked: MaskedSums | None) -> Counting:
        """Return the counted phases of this run."""
        return Counting(self.agreed, members, self.once, masked, self.resources.emit)

    def masked_sums(self, members: Members) -> MaskedSums | None:
        """Return the masked sums of this run, which share its retries; None where nothing is masked."""
        agreed = self.agreed
        if not agreed.plan.honest_hospitals:
            return None
        terms = Terms.of(agreed.study, agreed.identities)
        once = partial(self.once, parts="")
        return MaskedSums(
            agreed.run_id,
            agreed.study.fingerprint,
            terms,
            agreed.plan.retries,
            members.usable,
            once,
            self.resources.checkpoints,
            self.resources.emit,
        )

    def once(self, step: str, compute: Callable[[], dict[str, Array]], *, parts: str = PART) -> dict[str, Array]:
        """Return a step of this run, from its checkpoint where there is one.

        Args:
            step: name of the step.
            compute: computes it.
            parts: prefix of the checkpoints that are deleted once this step is stored.
        """
        return self.resources.checkpoints.once(step, compute, parts=parts)


def synthetic_codes(weights: Weights, public: PublicRun, rows: int) -> Codes:
    """Return the codes of the run's synthetic table, as it is released with that many rows.

    Args:
        weights: weights of the trained synthesizer.
        public: the run with the counts that it was trained on.
        rows: number of rows.
    """
    model = Model(public.study, public.plan, public.released, weights)
    return public.encoder.encode(model.sample(rows, release_seed(public.study)))
