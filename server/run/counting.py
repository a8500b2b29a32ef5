"""The counted phases of a run: request every hospital's noisy counts, sum them, store the sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from common.arrays import Array, Integers
from common.marginals.released import Asked
from common.planning.capacity import NOISE_REACH, most_counted
from common.planning.phases import Draw, PublicRun, VectorPhase, vector_phase
from common.planning.plan import EVALUATION, Plan
from common.protocol.messages import CountsReply, CountsRequest
from common.run_events.events import Emit, ignore, phase
from common.run_events.exclusions import Exclusion, Fault
from common.secagg.terms import most_rows
from common.study.study import Study
from common.synthesizers.model_rows import ModelRows
from server.run.agreed_run import AgreedRun
from server.run.checkpoints import ASKED, NUMBERED
from server.run.members import Members
from server.secagg.masked_sums import MaskedSums, Once

AddUp = Callable[[CountsRequest, int], Integers]
"""Asks the hospitals for a vector of that length and returns the sum of their answers."""


@dataclass(frozen=True, slots=True)
class Counting:
    """Collects the noisy marginals of one run.

    Args:
        agreed: the study and its plan.
        members: the hospitals to ask.
        once: takes a step from its checkpoint, or computes and keeps it.
        masked: sums under masks where the hospitals share the noise; None elsewhere.
        emit: takes the events of the phases.
    """

    agreed: AgreedRun
    members: Members
    once: Once
    masked: MaskedSums | None
    emit: Emit = ignore

    def run(self) -> PublicRun:
        """Return the run with the noisy counts of all phases before training."""
        return collect_marginals(self.agreed, self.add_up, self.once, emit=self.emit)

    def evaluate(self, public: PublicRun, draw: Draw) -> PublicRun:
        """Return the run with the noisy counts of held-out patients, where the plan has them.

        Args:
            public: the run with the counts of all other phases.
            draw: draws rows of the final model.
        """
        if public.plan.vector(EVALUATION) is None:
            return public
        return Collecting(self.agreed, self.add_up, self.once, self.emit).vector(EVALUATION, public, draw)

    def add_up(self, request: CountsRequest, length: int) -> Integers:
        """Return the sum of the hospitals' vectors, under masks where they share the noise.

        Args:
            request: asks for a vector of counts.
            length: number of its cells.
        """
        study, plan = self.agreed.study, self.agreed.plan
        if self.masked is not None:
            most = most_counted(study, plan, request.phase)
            return self.masked.sum(request, request.phase, self.members.names, length=length, most=most)
        fault = partial(fault_of_counts, study, plan, length)
        vectors = [reply.counts for reply in self.members.collect(request, CountsReply, fault).values()]
        return np.asarray(np.sum(vectors, axis=0), dtype=np.int64)


def collect_marginals(agreed: AgreedRun, add_up: AddUp, once: Once, *, emit: Emit = ignore) -> PublicRun:
    """Ask for every vector that the model is fitted to, in order; released sums decide what the next phases ask for.

    Args:
        agreed: the study, its plan and the run's id.
        add_up: asks for a vector and adds up the answers.
        once: takes a step from its checkpoint, or computes and keeps it.
        emit: takes the events of the run.

    Returns:
        The run with the sums of these vectors.
    """
    public, draw = PublicRun(agreed.study, agreed.plan), ModelRows()
    collecting = Collecting(agreed, add_up, once, emit)
    for planned in agreed.plan.vectors:
        if planned.name != EVALUATION:
            public = collecting.vector(planned.name, public, draw)
    return public


@dataclass(frozen=True, slots=True)
class Collecting:
    """Asks for one vector after the other; the arguments are those of `collect_marginals`."""

    agreed: AgreedRun
    add_up: AddUp
    once: Once
    emit: Emit = ignore

    def vector(self, name: str, public: PublicRun, draw: Draw) -> PublicRun:
        """Return the run with the sums of one more phase.

        Args:
            name: name of the phase.
            public: the run so far.
            draw: draws rows of a model fitted to it.
        """
        vector = vector_phase(name)
        with phase(self.emit, vector.name) as note:
            for number in public.planned(name).round_numbers():
                public, tables = self._release(vector, number, public, draw)
            note(tables)
        return public

    def _release(self, vector: VectorPhase, number: int, public: PublicRun, draw: Draw) -> tuple[PublicRun, int]:
        """Return the run with the sums of one release, and how many tables of columns it holds.

        Args:
            vector: the phase.
            number: number of its round; 0 where it is released once.
            public: the run so far.
            draw: draws rows of a model fitted to it.
        """
        step = NUMBERED.format(vector.name, number) if number else vector.name
        chosen = self.once(f"{ASKED}/{step}", partial(_choose, vector, public, draw))
        asked = Asked(**chosen)
        length = vector.shape(public, asked).length
        released = public.released.only(vector.needs).arrays()
        request = CountsRequest(self.agreed.run_id, vector.name, released, **chosen, round=number)
        counted = self.once(step, partial(_sum_alone, self.add_up, request, length))
        return public.after(vector.name, counted["sum"], asked), len(vector.queries(public, asked))


def _choose(vector: VectorPhase, public: PublicRun, draw: Draw) -> dict[str, Array]:
    """Return what to ask for. It is kept: what was answered is of these, whatever would be chosen today."""
    asked = vector.ask(public, draw)
    return {field.name: getattr(asked, field.name) for field in fields(Asked)}


def _sum_alone(add_up: AddUp, request: CountsRequest, length: int) -> dict[str, Array]:
    return {"sum": add_up(request, length)}


def fault_of_counts(study: Study, plan: Plan, length: int, reply: CountsReply) -> Fault | None:
    """Return what is wrong with a hospital's counts, or None.

    Args:
        study: the study with its hospitals.
        plan: its plan, with the noise of each hospital.
        length: number of cells that were requested.
        reply: the reply of one hospital.
    """
    if reply.counts.shape != (length,) or reply.counts.dtype != np.int64:
        return Fault(Exclusion.COUNTS_SHAPE)
    hospital_plan = plan.of(reply.hospital)
    if study.hospital(reply.hospital) is None or hospital_plan is None:
        return Fault(Exclusion.OUTSIDE_STUDY)
    weights = (plan.largest_change(vector) for vector in plan.vectors)
    most = max(weights) * most_rows(study, reply.hospital) + NOISE_REACH * max(hospital_plan.sigmas)
    is_possible = -most < reply.counts.min() <= reply.counts.max() < most
    return None if is_possible else Fault(Exclusion.COUNTS_IMPOSSIBLE)
