"""The phase of votes: every patient adds one to the candidate row that is most like them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from common.arrays import Integers
from common.errors import WireError
from common.marginals import votes
from common.marginals.released import Asked
from common.marginals.vote_scores import Votes
from common.planning.phase_types import Draw, Records, Shape, VectorPhase, require_no_decoder
from common.planning.plan import VOTES, Plan, PlannedVector
from common.planning.public_run import PublicRun
from common.planning.sizing import LargestTable, Outlook, choose_votes
from common.study.study import Study

FOR_CANDIDATES, MODEL_ROWS = 8_000, 24_000
"""Rows drawn from the model: candidates are different rows of the first ones, and all others vote for them."""


@dataclass(frozen=True, kw_only=True)
class VotesPhase(VectorPhase):
    """One count for each candidate.

    Sensitivity: whom a patient votes for depends on their own codes only (`common.marginals.votes`), so adding or
    removing one changes one entry by one.
    """

    def planned(self, study: Study, outlook: Outlook) -> PlannedVector | None:
        if not choose_votes(study, outlook).is_taken:
            return None
        return PlannedVector.unweighted(self.name, 1, votes.VOTE_GROUPS)

    def largest(self, study: Study, plan: Plan, planned: PlannedVector) -> list[LargestTable]:
        return [(votes.MOST_CANDIDATES, study.table.names)]

    def ask(self, public: PublicRun, draw: Draw) -> Asked:
        rows = draw(public, MODEL_ROWS)[:FOR_CANDIDATES]
        return Asked(candidates=votes.draw_candidates(rows, public.domain).ravel())

    def shape(self, public: PublicRun, asked: Asked) -> Shape:
        public.planned(self.name)
        if len(asked.columns) or len(asked.weights):
            raise WireError("patients vote for candidates; the request must name no columns")
        require_no_decoder(asked)
        return Shape(len(votes.read_candidates(asked.candidates, public.domain)), 1)

    def answer(self, public: PublicRun, asked: Asked, records: Records) -> Integers:
        candidates = votes.read_candidates(asked.candidates, public.domain)
        return votes.count_votes(records.encoded(public), candidates, public.domain)


def released_votes(public: PublicRun, draw: Draw) -> Votes | None:
    """Return the votes of a run beside those expected of its model before they were counted.

    Args:
        public: the run so far.
        draw: draws rows of the model whose rows the candidates are.

    Returns:
        None for a run without votes.
    """
    released, domain = public.released.vectors.get(VOTES), public.domain
    if released is None:
        return None
    candidates = votes.read_candidates(released.asked.candidates, domain)
    phases = list(public.released.vectors)
    before = replace(public, released=public.released.only(phases[: phases.index(VOTES)]))
    rows = draw(before, MODEL_ROWS)[FOR_CANDIDATES:]
    expected = votes.count_votes(rows, candidates, domain)
    return Votes(candidates, released.counts, public.plan.total_deviation(VOTES), expected)
