"""How many tables each phase of a run counts, and how large they can be: from public facts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import combinations

from common.planning.plan import PlannedVector
from common.study.study import Study

COARSE_GROUPS, TRIPLE_GROUPS = 4, 6
"""Groups per column in the coarse pairs and in the triples."""

SINGLES_FROM = 25
"""Single columns are counted again, in a vector of their own, from this number of categorical columns on.

Within coarse pairs, a single column carries the noise of d (d + 1) / 2 tables for d columns; in its own vector, of d
tables. The bins of a numeric column hold about equally many patients by its histogram, so a second count adds little.
"""

VISIBLE = 1.5
"""Pairs are counted in full while the average cell holds this many times its noise."""

TRIPLES_FROM = 2000.0
"""Triples are counted from this signal-to-noise ratio on; below, pairs need the budget more."""

MOST_TRIPLES = 20
"""Most triples that a run counts where the study gives no number."""

LARGEST_RATIO = 1e9
"""Stands for an infinite signal-to-noise ratio, of a study without noise."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The public figures of a run before its vectors are planned.

    Args:
        signal_to_noise: patients over the noise of one count that spends the whole budget; infinite without noise.
        bins: upper bound on the codes of a numeric column, missing not counted.
        cells: upper bound on the histogram cells of a numeric column.
    """

    signal_to_noise: float
    bins: int
    cells: int


LargestTable = tuple[int, tuple[str, ...]]
"""Cells, and the names of the columns."""


def counts_coarse_pairs(study: Study) -> bool:
    """Return whether every two columns are counted together in groups."""
    return study.synthesizer.counts_marginals and study.synthesizer.coarse_pairs


@dataclass(frozen=True, slots=True)
class TableCount:
    """How many of the possible tables of a phase are counted."""

    counted: int
    possible: int


def count_coarse(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the tables of all single columns and of all pairs in groups."""
    columns = len(study.table.columns)
    every = columns + math.comb(columns, 2)
    return TableCount(every, every) if counts_coarse_pairs(study) else None


def count_singles(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the tables of single columns: in place of the coarse pairs, or beside them."""
    columns = len(study.table.columns)
    if not study.synthesizer.counts_marginals:
        return None
    if counts_coarse_pairs(study):
        is_wide = columns - len(study.table.with_histogram) >= SINGLES_FROM
        is_wanted = is_wide if study.budget.singles is None else study.budget.singles > 0
        if not is_wanted:
            return None
    return TableCount(columns, columns)


def count_pairs(study: Study, outlook: Outlook, *, proportion: float) -> TableCount | None:
    """Return the pairs to count in full: those that must be, and as many more as stay visible.

    Args:
        study: study that declares the columns.
        outlook: the signal-to-noise ratio and the codes of a numeric column.
        proportion: part of the budget of histograms, coarse pairs and pairs that pairs usually get.
    """
    if not counts_coarse_pairs(study):
        return None
    columns = len(study.table.columns)
    every = math.comb(columns, 2)
    if study.synthesizer.pairs is not None:
        return TableCount(min(study.synthesizer.pairs, every), every)
    named = len({study.evaluation.target, *study.evaluation.sensitive})
    always = every - math.comb(columns - named, 2)
    ratio = min(outlook.signal_to_noise, LARGEST_RATIO)
    visible = (ratio * math.sqrt(proportion) / (VISIBLE * outlook.bins**2)) ** 2
    return TableCount(int(min(every, max(always, visible))), every)


def count_triples(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the triples with the target to count, where the signal-to-noise ratio allows them."""
    if not counts_coarse_pairs(study):
        return None
    possible = math.comb(len(study.table.columns) - 1, 2)
    if study.synthesizer.triples is not None:
        return TableCount(min(study.synthesizer.triples, possible), possible)
    is_short = 0 < len(study.table[study.evaluation.target].labels) <= TRIPLE_GROUPS
    is_visible = outlook.signal_to_noise >= TRIPLES_FROM
    return TableCount(min(MOST_TRIPLES, possible) if is_short and is_visible else 0, possible)


def largest_tables(
    study: Study, bins: int, planned: PlannedVector, *, arity: int, has_singles: bool
) -> list[LargestTable]:
    """Return the largest tables that a vector could hold, as many as it counts, whichever the coordinator chooses.

    Args:
        bins: upper bound on the codes of a numeric column.
        arity: columns of a table.
        has_singles: whether every column by itself comes first.
    """
    codes = [(column.max_codes(bins), column.name) for column in study.table.each()]
    singles: Sequence[LargestTable] = [(size, (name,)) for size, name in codes] if has_singles else []
    wanted = planned.max_changed_cells - len(singles)
    merged = sorted(((min(size, planned.groups or size), name) for size, name in codes), reverse=True)
    # A table with a column further down the list has `wanted` larger ones before it.
    several = combinations(merged[: wanted + arity - 1], arity)
    tables = ((math.prod(size for size, _ in table), tuple(name for _, name in table)) for table in several)
    return [*singles, *nlargest(wanted, tables)]
