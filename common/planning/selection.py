"""Which tables to count next and how precisely, from what was released so far: post-processing of noisy sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from common.arrays import Floats
from common.marginals import allocation
from common.marginals.allocation import NextCount
from common.marginals.evidence import Evidence
from common.marginals.queries import FULL, Query, groups_of_set
from common.planning.plan import PlannedVector
from common.planning.weights import weigh
from common.study.study import Study

PAIR_FAVOR, TRIPLE_FAVOR = 2.0, 3.0
"""Factor on the errors of pairs and triples with the target: synthetic data will be used to predict it."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """What the tables of a vector are chosen by.

    Args:
        evidence: everything released so far.
        target: column that synthetic data will be used to predict.
        planned: the vector: how many tables, in how many groups, with which weights.
        precision: what the vector has to share out: the sum over tables of the inverse noise variance of a cell's
            proportion, times what centering keeps of the table's squared sensitivity.
        voted: sets of three and four columns in which votes contradict the model, the clearest first.
        declared: triples that the study's evaluation needs, in increasing order of columns each; they come first.
    """

    evidence: Evidence
    target: int
    planned: PlannedVector
    precision: float
    voted: tuple[tuple[int, ...], ...] = ()
    declared: tuple[tuple[int, ...], ...] = ()

    @property
    def groups(self) -> int:
        """The resolution of the tables to count, or all codes where the evidence has no other as fine."""
        known = [level.groups for level in self.evidence.resolutions.levels]
        return self.planned.groups if self.planned.groups in known else FULL

    def next_count(self, favor: float) -> NextCount:
        """Return the count to come, with this factor on the errors of tables that hold the target."""
        return NextCount(self.precision, self.target, favor, self.groups)


def choose_pairs(choosing: Choosing) -> tuple[Query, ...]:
    """Return the pairs to count again, weighted by what each is worth."""
    pairs = list(combinations(range(len(choosing.evidence.resolutions.domain.sizes)), 2))
    return _weighed(
        choosing, pairs, allocation.pair_precisions(choosing.evidence, pairs, choosing.next_count(PAIR_FAVOR))
    )


def survival_triples(study: Study) -> tuple[tuple[int, ...], ...]:
    """Return the columns of time, event and each sensitive column: survival by group needs them counted together."""
    if study.evaluation.time is None:
        return ()
    index = study.table.names.index
    event, time = index(study.evaluation.target), index(study.evaluation.time)
    groups = [index(name) for name in study.evaluation.sensitive]
    return tuple(tuple(sorted((time, event, group))) for group in groups if group not in (time, event))


def choose_triples(choosing: Choosing) -> tuple[Query, ...]:
    """Return the sets to count in groups, all equally precisely.

    Those of time, event and a sensitive column come first, then those that votes showed; triples of columns that depend
    on each other fill the rest.
    """
    most = choosing.planned.tables
    triples = allocation.choose_triples(choosing.evidence, target=choosing.target, most=most)
    sets = list(dict.fromkeys((*choosing.declared, *choosing.voted, *triples)))[:most]
    return _weighed(choosing, sorted(sets), np.ones(len(sets)))


def choose_triples_again(choosing: Choosing) -> tuple[Query, ...]:
    """Return those of the counted sets to count again that differ from what their pairs explain, weighted."""
    sets = [table.columns for table in choosing.evidence.sets]
    return _weighed(
        choosing, sets, allocation.set_precisions(choosing.evidence, sets, choosing.next_count(TRIPLE_FAVOR))
    )


def _weighed(choosing: Choosing, tables: Sequence[tuple[int, ...]], precisions: Floats) -> tuple[Query, ...]:
    queries = [Query(table, groups_of_set(len(table), choosing.planned.groups)) for table in tables]
    return weigh(queries, precisions, choosing.planned, choosing.evidence.resolutions.domain)
