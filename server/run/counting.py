"""The counted phases of a run: every hospital's noisy counts are asked for, summed and kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from common.arrays import Array, Integers
from common.encoding import histogram_length
from common.marginals.queries import Domain
from common.marginals.released import ReleasedMarginals
from common.planning.capacity import most_counted
from common.planning.plan import HISTOGRAMS, PAIRS, TRIPLES
from common.protocol.messages import (
    HistogramsReply,
    HistogramsRequest,
    MarginalsReply,
    MarginalsRequest,
)
from common.run_events.events import Emit, ignore, phase
from common.run_events.exclusions import Exclusion, Fault
from server.run.agreement import Agreement
from server.run.checkpoints import Once
from server.run.members import Members
from server.secagg.masked_sums import MaskedSums


@dataclass(frozen=True, slots=True)
class Counting:
    """Collects the noisy marginals of one run.

    Args:
        agreement: the study and its plan.
        members: the hospitals to ask.
        once: takes a step from its checkpoint, or computes and keeps it.
        masked: sums under masks where the hospitals share the noise; None elsewhere.
        emit: takes the events of the phases.
    """

    agreement: Agreement
    members: Members
    once: Once
    masked: MaskedSums | None
    emit: Emit = ignore

    def run(self) -> ReleasedMarginals:
        """Return the noisy counts of all phases."""
        return self.marginals(self.histograms())

    def histograms(self) -> Array:
        """Return the sum of the hospitals' noisy histograms, int64; zeros where no column is numeric."""
        study, plan = self.agreement.study, self.agreement.plan
        length = histogram_length(study.table, plan.cells)
        if plan.vector(HISTOGRAMS) is None:
            return np.zeros(length, dtype=np.int64)
        request = HistogramsRequest(self.agreement.run_id)
        with phase(self.emit, HISTOGRAMS):
            return self.once(HISTOGRAMS, partial(self._counted, request, length))["sum"]

    def marginals(self, histograms: Array) -> ReleasedMarginals:
        """Return the noisy tables of every phase of the plan; the coarse ones decide which follow."""
        study, plan = self.agreement.study, self.agreement.plan
        released = ReleasedMarginals(histograms)
        domain = Domain.of(released.encoder(study, plan))
        for vector in plan.vectors:
            if vector.name == HISTOGRAMS:
                continue
            chosen = released.choose(vector, study, plan, domain)
            columns = np.array([column for query in chosen for column in query.columns], dtype=np.int64)
            asked = columns if vector.name in (PAIRS, TRIPLES) else columns[:0]
            request = MarginalsRequest(self.agreement.run_id, vector.name, histograms, asked)
            with phase(self.emit, vector.name) as note:
                counted = self.once(vector.name, partial(self._counted, request, domain.cells(chosen)))
                note(len(chosen))
            released = released.with_phase(vector.name, asked, counted["sum"])
        return released

    def _counted(self, request: HistogramsRequest | MarginalsRequest, length: int) -> dict[str, Array]:
        return {"sum": self._sum(request, length)}

    def _sum(self, request: HistogramsRequest | MarginalsRequest, length: int) -> Integers:
        """Return the sum of the hospitals' vectors, of `length` cells; under masks where they share the noise."""
        study, plan = self.agreement.study, self.agreement.plan
        if self.masked is not None:
            name = request.phase if isinstance(request, MarginalsRequest) else HISTOGRAMS
            most = most_counted(study, plan, name)
            return self.masked.sum(request, name, self.members.names, length=length, most=most)

        def fault(reply: HistogramsReply | MarginalsReply) -> Fault | None:
            if reply.counts.shape != (length,) or reply.counts.dtype != np.int64:
                return Fault(Exclusion.COUNTS_SHAPE)
            facts, mine = study.hospital(reply.hospital), plan.of(reply.hospital)
            if facts is None or mine is None:
                return Fault(Exclusion.OUTSIDE_STUDY)
            most = 2 * facts.declared_rows + 20 * max(mine.sigmas)
            is_possible = -most < reply.counts.min() <= reply.counts.max() < most
            return None if is_possible else Fault(Exclusion.COUNTS_IMPOSSIBLE)

        if isinstance(request, HistogramsRequest):
            vectors = [reply.counts for reply in self.members.collect(request, HistogramsReply, fault).values()]
        else:
            vectors = [reply.counts for reply in self.members.collect(request, MarginalsReply, fault).values()]
        return np.asarray(np.sum(vectors, axis=0), dtype=np.int64)
