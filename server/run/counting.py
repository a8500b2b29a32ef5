"""The counted phases of a run: every hospital's noisy counts are asked for, summed and kept."""

from __future__ import annotations

import logging
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
from server.run.agreement import Agreement
from server.run.checkpoints import Once
from server.run.members import Members
from server.secagg.masked_sums import MaskedSums

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counting:
    """Collects the noisy marginals of one run.

    Args:
        agreement: the study and its plan.
        members: the hospitals to ask.
        once: takes a step from its checkpoint, or computes and keeps it.
        masked: sums under masks where the hospitals share the noise; None elsewhere.
    """

    agreement: Agreement
    members: Members
    once: Once
    masked: MaskedSums | None

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
        return self.once(HISTOGRAMS, partial(self._counted, request, length))["sum"]

    def marginals(self, histograms: Array) -> ReleasedMarginals:
        """Return the noisy tables of every phase of the plan; the coarse ones decide which follow."""
        study, plan = self.agreement.study, self.agreement.plan
        released = ReleasedMarginals(histograms)
        domain = Domain.of(released.encoder(study, plan))
        for phase in plan.vectors:
            if phase.name == HISTOGRAMS:
                continue
            chosen = released.choose(phase, study, plan, domain)
            columns = np.array([column for query in chosen for column in query.columns], dtype=np.int64)
            asked = columns if phase.name in (PAIRS, TRIPLES) else columns[:0]
            request = MarginalsRequest(self.agreement.run_id, phase.name, histograms, asked)
            counted = self.once(phase.name, partial(self._counted, request, domain.cells(chosen)))
            released = released.with_phase(phase.name, asked, counted["sum"])
            log.info("measurements: %d %s tables", len(chosen), phase.name)
        return released

    def _counted(self, request: HistogramsRequest | MarginalsRequest, length: int) -> dict[str, Array]:
        return {"sum": self._sum(request, length)}

    def _sum(self, request: HistogramsRequest | MarginalsRequest, length: int) -> Integers:
        """Return the sum of the hospitals' vectors, of `length` cells; under masks where they share the noise."""
        study, plan = self.agreement.study, self.agreement.plan
        if self.masked is not None:
            phase = request.phase if isinstance(request, MarginalsRequest) else HISTOGRAMS
            most = most_counted(study, plan, phase)
            return self.masked.sum(request, phase, self.members.names, length=length, most=most)

        def fault(reply: HistogramsReply | MarginalsReply) -> str | None:
            if reply.counts.shape != (length,) or reply.counts.dtype != np.int64:
                return "counts of another shape or type"
            facts, mine = study.hospital(reply.hospital), plan.of(reply.hospital)
            if facts is None or mine is None:
                return "counts of a hospital outside the study"
            most = 2 * facts.declared_rows + 20 * max(mine.sigmas)
            return None if -most < reply.counts.min() <= reply.counts.max() < most else "impossible counts"

        if isinstance(request, HistogramsRequest):
            vectors = [reply.counts for reply in self.members.collect(request, HistogramsReply, fault).values()]
        else:
            vectors = [reply.counts for reply in self.members.collect(request, MarginalsReply, fault).values()]
        return np.asarray(np.sum(vectors, axis=0), dtype=np.int64)
