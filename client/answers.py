"""How a hospital answers: one entry for each kind of request that reads records.

Before anything is charged, the site computes by itself which sums a request may carry, what the answer costs and what
shape the reply has. A request that does not match the approved plan is refused and costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from client.gate import NO_RECEIPT
from common.arrays import Integers, Weights
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Slot
from common.marginals.released import Asked
from common.marginals.whole_histories import discriminator_width
from common.planning.phases import (
    ROUNDS,
    PublicRun,
    Records,
    measurements_of,
    read_public,
    training_phase,
    vector_phase,
)
from common.planning.plan import HospitalPlan, Plan
from common.privacy.events import Event
from common.privacy.mechanisms import NoiseSource, release_counts
from common.privacy.quantization import layer_shapes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    GradientRequest,
    Message,
    RoundReply,
    RoundRequest,
)
from common.secagg.terms import most_rows
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.base import TrainingRows

AnyRequest = CountsRequest | RoundRequest | GradientRequest


class AcceptedRun:
    """One accepted run: study, approved plan, and the records once they are needed.

    Args:
        hospital_plan: the part of the plan that concerns this hospital.
        open_records: reads and prepares the records for a study.
    """

    def __init__(
        self, study: Study, plan: Plan, hospital_plan: HospitalPlan, open_records: Callable[[Study], Records]
    ) -> None:
        self.study, self.plan, self.hospital_plan = study, plan, hospital_plan
        self._open_records = open_records

    @cached_property
    def records(self) -> Records:
        """Return the records. They are opened after the charge for an answer, and never just to repeat a stored one."""
        return self._open_records(self.study)

    def slot(self, request: AnyRequest, attempt: int = 0) -> Slot:
        """Return the ledger's slot for the answer; `attempt` is 0 for a reply without a mask."""
        return Slot(self.plan.fingerprint, request.run_id, *phase_and_round(request), attempt)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the site computes about an answer before it is charged.

    Args:
        public: the run, with the sums that the request carries.
        event: the release that the answer is charged as.
        length: number of cells of the vector; None for weights.
        weights: names and shapes of the weights; None for a vector.
    """

    public: PublicRun
    event: Event
    length: int | None = None
    weights: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Answering:
    """How one kind of request is answered.

    Args:
        is_masked: returns whether this plan masks the answer.
        expect: returns cost and shape of the answer, from study, plan and request alone.
            Raises `PolicyRefusal` or `WireError` for a request that the plan does not contain.
        compute: returns the answer, with its noise.
        reply: returns the answer as a reply without its receipt.
    """

    is_masked: Callable[[Plan], bool]
    expect: Callable[[AcceptedRun, Any], Expected]
    compute: Callable[[AcceptedRun, Any, PublicRun, NoiseSource], Any]
    reply: Callable[[str, Any], Message]


def phase_and_round(request: AnyRequest) -> tuple[str, int]:
    """Return the phase and the round that a request belongs to; the round is 0 in a phase that is answered once."""
    return (request.phase if isinstance(request, CountsRequest) else ROUNDS), request.round


def _expect_counts(run: AcceptedRun, request: CountsRequest) -> Expected:
    """Return cost and shape of a vector of counts. All privacy parameters come from the approved plan."""
    phase = vector_phase(request.phase)
    public = read_public(run.study, run.plan, request.released, phase.needs)
    shape, planned = phase.shape(public, _asked(request)), public.planned(phase.name)
    if request.round not in planned.round_numbers():
        raise PolicyRefusal(Reason.PLAN_MISMATCH)
    if shape.squared_sensitivity > planned.squared_sensitivity or shape.largest_weight > planned.largest_weight:
        raise PolicyRefusal(Reason.PLAN_MISMATCH)
    return Expected(public, run.plan.vector_event(run.hospital_plan, phase.name), length=shape.length)


def _asked(request: CountsRequest) -> Asked:
    return Asked(request.columns, request.weights, request.candidates, request.decoder)


def _count(run: AcceptedRun, request: CountsRequest, public: PublicRun, noise: NoiseSource) -> Integers:
    counts = vector_phase(request.phase).answer(public, _asked(request), run.records)
    largest = run.plan.largest_change(public.planned(request.phase))
    largest *= most_rows(run.study, run.hospital_plan.hospital)
    if run.plan.honest_hospitals:
        counts = _capped(counts, largest)
    return release_counts(counts, run.plan.sigma(run.hospital_plan, request.phase), noise)


def _capped(counts: Integers, largest: int) -> Integers:
    """Cut counts so that their sum stays within the range of masked integers, see `common.secagg.terms`.

    Cutting brings no two numbers further apart: one patient still changes each count by no more than before.
    """
    return np.clip(counts, -largest, largest)


def _round_event(run: AcceptedRun, number: int, *, is_synchronous: bool) -> Event:
    """Return what a round costs. Raise `PolicyRefusal` for a round that the plan does not contain."""
    if is_synchronous != (run.plan.quantization is not None) or not 1 <= number <= run.plan.rounds:
        raise PolicyRefusal(Reason.PLAN_MISMATCH)
    return run.plan.round_event(run.hospital_plan)


def _expect_weights(run: AcceptedRun, request: RoundRequest) -> Expected:
    from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

    event = _round_event(run, request.round, is_synchronous=False)
    public = read_public(run.study, run.plan, request.released, training_phase().needs(run.plan))
    weights = make_adversarial(run.study.synthesizer, public.encoder).initial_weights(0)
    shapes = {name: value.shape for name, value in weights.items()}
    if {name: value.shape for name, value in request.weights.items()} != shapes:
        raise PolicyRefusal(Reason.PLAN_MISMATCH)
    return Expected(public, event, weights=shapes)


def _train(run: AcceptedRun, request: RoundRequest, public: PublicRun, noise: NoiseSource) -> Weights:
    from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

    rows, measurements = TrainingRows(run.records.encoded(public), run.hospital_plan, noise), measurements_of(public)
    synthesizer = make_adversarial(run.study.synthesizer, public.encoder)
    seed = seed_for(run.study.seed, "train", run.hospital_plan.hospital, request.round)
    return synthesizer.train(request.weights, rows, measurements, seed)


def _expect_gradient(run: AcceptedRun, request: GradientRequest) -> Expected:
    event = _round_event(run, request.round, is_synchronous=True)
    public = read_public(run.study, run.plan, request.released, training_phase().needs(run.plan))
    shapes = layer_shapes(discriminator_width(run.study.table, public.encoder.sizes), run.study.adversarial.hidden)
    if {name: value.shape for name, value in request.weights.items()} != shapes:
        raise PolicyRefusal(Reason.PLAN_MISMATCH)
    return Expected(public, event, length=sum(map(math.prod, shapes.values())))


def _gradient(run: AcceptedRun, request: GradientRequest, public: PublicRun, noise: NoiseSource) -> Integers:
    from common.synthesizers.registry import make_adversarial  # torch: only where a hospital trains

    rows = TrainingRows(run.records.encoded(public), run.hospital_plan, noise)
    synthesizer = make_adversarial(run.study.synthesizer, public.encoder)
    assert run.plan.quantization, "`_round_event` refused"
    return synthesizer.gradient(request.weights, rows, run.plan.quantization)


def _counts_reply(hospital: str, counts: Integers) -> CountsReply:
    return CountsReply(hospital, counts, *NO_RECEIPT)


def _round_reply(hospital: str, weights: Weights) -> RoundReply:
    return RoundReply(hospital, weights, *NO_RECEIPT)


def _never(hospital: str, gradient: Integers) -> Message:
    raise AssertionError("a gradient sum leaves under masks only")


ANSWERS: dict[type[Message], Answering] = {
    # One hospital's share of shared noise protects no patient, so such counts leave under masks only.
    CountsRequest: Answering(lambda plan: bool(plan.honest_hospitals), _expect_counts, _count, _counts_reply),
    RoundRequest: Answering(lambda plan: False, _expect_weights, _train, _round_reply),
    GradientRequest: Answering(lambda plan: True, _expect_gradient, _gradient, _never),
}
"""Every kind of request that is answered from records, and how it is answered."""
