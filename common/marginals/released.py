"""Everything counted that a run released, summed over hospitals: what an encoder and the measurements are made of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from common.arrays import Array
from common.encoding import Encoder
from common.errors import WireError
from common.marginals.measurements import Measurements, PhaseTables
from common.marginals.queries import Domain, Query, chosen_queries, coarse_queries, single_queries
from common.marginals.selection import choose_pairs, choose_triples
from common.planning.plan import COARSE, HISTOGRAMS, PAIRS, SINGLES, TRIPLES, Plan, VectorPhase
from common.study.study import Study


def _nothing() -> Array:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class ReleasedMarginals:
    """Sums of noisy counts, all int64 vectors.

    Args:
        histograms: fine cells of the numeric columns.
        pairs, triples: columns of the tables that were chosen, flattened.
        sums: the tables of all marginal phases, in the plan's order.
    """

    histograms: Array
    pairs: Array = field(default_factory=_nothing)
    triples: Array = field(default_factory=_nothing)
    sums: Array = field(default_factory=_nothing)

    def with_phase(self, phase: str, columns: Array, counts: Array) -> ReleasedMarginals:
        """The same with one more phase at the end."""
        return replace(
            self,
            pairs=columns if phase == PAIRS else self.pairs,
            triples=columns if phase == TRIPLES else self.triples,
            sums=np.concatenate([self.sums, counts]),
        )

    def encoder(self, study: Study, plan: Plan) -> Encoder:
        """The encoder that these histograms define."""
        return Encoder(study.table, self.histograms, plan.binning)

    def measurements(self, plan: Plan, domain: Domain) -> Measurements | None:
        """All measurements of a complete run, or None for a plan without them."""
        return assemble(plan, domain, self.pairs, self.triples, self.sums)

    def coarse_measurements(self, plan: Plan, domain: Domain) -> Measurements:
        """The coarse phase alone, which later phases are chosen by."""
        first = replace(plan, vectors=tuple(phase for phase in plan.vectors if phase.name in (HISTOGRAMS, COARSE)))
        groups = first.vectors[-1].groups
        length = domain.cells(coarse_queries(len(domain.sizes), groups))
        measurements = assemble(first, domain, self.pairs, self.triples, self.sums[:length])
        assert measurements is not None, "the coarse phase comes before the phases it decides"
        return measurements

    def choose(self, phase: VectorPhase, study: Study, plan: Plan, domain: Domain) -> tuple[Query, ...]:
        """Which tables to ask for in a phase: from the schema at first, then from the noisy coarse tables."""
        names = study.table.names
        target = names.index(study.evaluation.target)
        if phase.name == PAIRS:
            always = [target, *(names.index(name) for name in study.evaluation.sensitive)]
            return choose_pairs(self.coarse_measurements(plan, domain), always, phase.max_changed_cells)
        if phase.name == TRIPLES:
            return choose_triples(self.coarse_measurements(plan, domain), target, phase.max_changed_cells, phase.groups)
        return requested(phase.name, phase.groups, _nothing(), len(names))

    def arrays(self) -> dict[str, Array]:
        """By name, for a file."""
        return {"histograms": self.histograms, "pairs": self.pairs, "triples": self.triples, "sums": self.sums}


def requested(phase: str, groups: int, columns: Array, width: int) -> tuple[Query, ...]:
    """Return the tables of a phase: coarse ones follow from the number of columns, others are named; each comes once.

    Args:
        phase: name of the phase.
        groups: groups of codes in each column.
        columns: of the tables, one after the other; two each for pairs, three for triples.
        width: number of columns in the schema.

    Raises:
        WireError: columns that are not in the schema or do not make whole tables, or a phase without tables.
    """
    if phase == SINGLES:
        return single_queries(width)
    if phase == COARSE:
        return coarse_queries(width, groups)
    arity = {PAIRS: 2, TRIPLES: 3}.get(phase)
    if arity is None:
        raise WireError(f"the phase '{phase}' has no tables")
    return chosen_queries(columns, arity=arity, groups=groups, width=width)


def assemble(plan: Plan, domain: Domain, pairs: Array, triples: Array, sums: Array) -> Measurements | None:
    """Return the measurements of a run from what was released, or None for a plan without them.

    Args:
        plan: the plan of the run.
        domain: how many codes each column has.
        pairs: columns of the pairs that were chosen, flattened; empty where the plan has none.
        triples: columns of the triples that were chosen, flattened; empty where the plan has none.
        sums: tables of all marginal phases in the plan's order, flattened, int64.

    Raises:
        WireError: the columns are no tables of the plan, or the sums are not as long as the tables.
    """
    chosen = {PAIRS: pairs, TRIPLES: triples}
    phases = []
    for phase in plan.vectors:
        if phase.name == HISTOGRAMS:
            continue
        queries = requested(phase.name, phase.groups, chosen.get(phase.name, sums[:0]), len(domain.sizes))
        if len(queries) > phase.max_changed_cells:
            raise WireError(f"more tables of the phase '{phase.name}' than planned")
        phases.append(PhaseTables(phase.name, queries, plan.total_deviation(phase.name)))
    return Measurements.of_phases(domain, phases, sums) if phases else None
