"""How many tables each phase of a run counts, and how large they can be: from public facts alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from heapq import nlargest
from itertools import accumulate, combinations

from common.columns.base import Column
from common.marginals.queries import NESTED, WIDE, WIDEST, groups_of_set
from common.planning.plan import PlannedVector
from common.study.study import Study

BIN_LEVELS = (8, 16)
"""Numbers of bins of a numeric column that the planner chooses from: each halves the bins of the one before."""

MIN_CELLS, MAX_CELLS = 16, 512
"""Bounds on the histogram cells of a numeric column."""

FINE_FROM = 1000.0
"""Signal-to-noise ratio from which numeric columns have 16 bins, and triples are counted."""

COARSEST = 4
"""Groups per column in the coarse pairs where noise is large."""

PAIRS_FROM = 0.3
"""Average cell of a coarse pair divided by the cell's noise. A wide study below it counts only pairs with the target: a
model of all pairs would follow their noise, and single columns would get worse, too."""

VISIBLE = 1.5
"""Coarse pairs are counted in 8 groups where the average cell then holds this many times its noise."""

COARSE_TRIPLE_GROUPS = 8
"""Groups per column in triples that are counted coarsely first; sets of four have half as many."""

TRIPLES_AGAIN_FROM = 2500.0
"""Signal-to-noise ratio from which triples are counted coarsely first, and the best of them again."""

MOST_TRIPLES = 24
"""Triples that are counted where the study does not say how many."""


@dataclass(frozen=True, slots=True)
class UsualWeights:
    """Usual budget weights of the counted phases, from a signal-to-noise ratio on.

    What a run does not have goes to its other phases in proportion.
    """

    histograms: float
    coarse: float
    pairs: float
    coarse_triples: float = 0.0
    triples: float = 0.0


USUAL_WEIGHTS = {
    TRIPLES_AGAIN_FROM: UsualWeights(0.20, 0.22, 0.38, 0.11, 0.09),
    FINE_FROM: UsualWeights(0.25, 0.27, 0.33, 0.15),
    0.0: UsualWeights(0.25, 0.30, 0.45),
}
"""By the signal-to-noise ratio from which they hold, largest first."""

FEWEST_VOTED, MOST_VOTED = 4, 40
"""Columns. Of fewer there is no set of four; of more, there are over 100,000 sets to score."""

VOTES_FROM = 50.0
"""Signal-to-noise ratio over the squared number of columns from which patients vote. There, a parity of four columns
stands out by about ten standard deviations: the more columns, the fewer patients are near a candidate in all four."""

MAX_VECTOR_CELLS = 500_000
"""Largest number of cells in a vector: a hospital draws exact noise for each, about 20 microseconds a cell."""


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


def counts_pairs(study: Study) -> bool:
    """Return whether pairs of columns are counted together."""
    return study.synthesizer.counts_marginals and not study.synthesizer.independent


def counts_sets(study: Study) -> bool:
    """Return whether sets of three and four columns are counted, where noise allows; the model of visits takes none."""
    return counts_pairs(study) and not study.has_visits


@dataclass(frozen=True, slots=True)
class TableCount:
    """How many of the possible tables of a phase are counted."""

    counted: int
    possible: int


def usual_bins(ratio: float) -> int:
    """Return the bins of a numeric column at this signal-to-noise ratio."""
    return BIN_LEVELS[ratio >= FINE_FROM]


def choose_cells(study: Study, ratio: float, proportion: float | None) -> int:
    """Return the histogram cells of a numeric column.

    As many as keep the average cell above half the noise of a histogram of one level. Too few lose more, where values
    crowd at round numbers, than too many: coarse levels carry those.

    Args:
        study: the study.
        ratio: its signal-to-noise ratio.
        proportion: part of the budget of the histograms; None for a run without.
    """
    if proportion is None:
        return MIN_CELLS
    if not math.isfinite(ratio):
        return MAX_CELLS
    visible = ratio * math.sqrt(proportion / max(1, len(study.table.with_grid)))
    return max(MIN_CELLS, min(int(2 * visible), MAX_CELLS))


def coarse_groups(study: Study, outlook: Outlook) -> int:
    """Return the groups of each column in the coarse pairs: 8 where they stay visible and fit, else 4."""
    pairs, finer = math.comb(len(study.table.names), 2), 2 * COARSEST
    is_visible = outlook.signal_to_noise / finer**2 >= VISIBLE * _coarse_noise(study, TRIPLES_AGAIN_FROM)
    return finer if is_visible and pairs * finer**2 <= MAX_VECTOR_CELLS else COARSEST


def counts_all_pairs(study: Study, outlook: Outlook) -> bool:
    """Return False for a wide, noisy table without visits, of which the study sets no `pairs` and no `triples`."""
    synthesizer, columns = study.synthesizer, len(study.table.names)
    if columns <= WIDE or study.has_visits or synthesizer.pairs is not None or synthesizer.triples is not None:
        return True
    return outlook.signal_to_noise / COARSEST**2 >= PAIRS_FROM * _coarse_noise(study, 0.0)


def _coarse_noise(study: Study, ratio: float) -> float:
    """Return the noise of a cell where all pairs are counted in groups, with the usual weights from this ratio on.

    In units of the noise of one count that spends the whole budget.
    """
    return math.sqrt(math.comb(len(study.table.names), 2) / USUAL_WEIGHTS[ratio].coarse)


def count_coarse(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the tables of pairs in groups: all of them, or those with the target."""
    every = math.comb(len(study.table.names), 2)
    counted = every if counts_all_pairs(study, outlook) else len(study.table.names) - 1
    return TableCount(counted, every) if counts_pairs(study) else None


def count_pairs(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the pairs that may be counted again: as many as the study says, or as fit a vector at their largest."""
    if not counts_pairs(study) or not counts_all_pairs(study, outlook):
        return None
    every = math.comb(len(study.table.names), 2)
    if study.synthesizer.pairs is not None:
        return TableCount(min(study.synthesizer.pairs, every), every)
    codes = ((column.max_codes(outlook.bins), column) for column in study.table.each())
    most = max(outlook.bins, *NESTED)  # groups into which long lists of labels are merged
    sizes = sorted((merged_codes(size, column, most) for size, column in codes), reverse=True)
    largest = sorted((math.prod(pair) for pair in combinations(sizes, 2)), reverse=True)
    fitting = sum(1 for total in accumulate(largest) if total <= MAX_VECTOR_CELLS)
    return TableCount(min(every, fitting), every)


def count_triples(study: Study, outlook: Outlook) -> TableCount | None:
    """Return the triples to count, and after votes sets of four, where the signal-to-noise ratio allows them."""
    if not counts_sets(study):
        return None
    possible = math.comb(len(study.table.names), 3)
    if choose_votes(study, outlook).is_taken:
        possible += math.comb(len(study.table.names), WIDEST)
    if study.synthesizer.triples is not None:
        return TableCount(min(study.synthesizer.triples, possible), possible)
    is_visible = outlook.signal_to_noise >= FINE_FROM and counts_all_pairs(study, outlook)
    return TableCount(min(MOST_TRIPLES, possible) if is_visible else 0, possible)


def count_triples_again(study: Study, outlook: Outlook) -> TableCount | None:
    """Return how many of the triples may be counted again, where the signal-to-noise ratio allows that."""
    coarse = count_triples(study, outlook)
    if coarse is None or outlook.signal_to_noise < TRIPLES_AGAIN_FROM:
        return None
    return TableCount(coarse.counted, coarse.counted)


class VotesReason(StrEnum):
    """Why patients vote, or do not."""

    STUDY = "study"
    """The study says so."""
    VISIBLE = "visible"
    """The signal-to-noise ratio reaches that at which votes show a dependence of four columns."""
    NOISE = "noise"
    """It does not."""
    NO_SETS = "no-sets"
    """No sets of columns are counted that votes could choose, or there are too few columns or too many."""


@dataclass(frozen=True, slots=True)
class VotesChoice:
    """Whether patients vote.

    Attributes:
        is_taken: whether they do.
        reason: why.
        needed: the signal-to-noise ratio from which they do where nothing else decides.
    """

    is_taken: bool
    reason: VotesReason
    needed: float


def choose_votes(study: Study, outlook: Outlook) -> VotesChoice:
    """Return whether patients vote: as the study says, or where votes show what tables of two columns do not."""
    is_asked, columns, ratio = study.synthesizer.takes_votes, len(study.table.names), outlook.signal_to_noise
    needed, triples = VOTES_FROM * columns**2, study.synthesizer.triples
    has_sets = counts_sets(study) and triples != 0 and (triples is not None or ratio >= FINE_FROM)
    if not has_sets or not FEWEST_VOTED <= columns <= MOST_VOTED:
        return VotesChoice(False, VotesReason.NO_SETS, needed)
    if is_asked is not None:
        return VotesChoice(is_asked, VotesReason.STUDY, needed)
    return VotesChoice(ratio >= needed, VotesReason.VISIBLE if ratio >= needed else VotesReason.NOISE, needed)


def merged_codes(codes: int, column: Column, groups: int) -> int:
    """Return how many groups at most the codes of a column are merged into; missing is one of its own.

    Args:
        codes: codes of the column, missing included.
        column: the column.
        groups: largest number of groups of its values.
    """
    return min(codes, groups + column.missing) if groups else codes


def largest_tables(study: Study, bins: int, planned: PlannedVector, *, arity: int) -> list[LargestTable]:
    """Return the largest tables that a vector could hold, as many as it counts, whichever the coordinator chooses.

    Args:
        bins: upper bound on the codes of a numeric column.
        arity: columns of a table.
    """
    groups = groups_of_set(arity, planned.groups)
    codes = ((column.max_codes(bins), column) for column in study.table.each())
    merged = sorted(((merged_codes(size, column, groups), column.name) for size, column in codes), reverse=True)
    # A table with a column further down the list has `planned.tables` larger ones before it.
    several = combinations(merged[: planned.tables + arity - 1], arity)
    tables = ((math.prod(size for size, _ in table), tuple(name for _, name in table)) for table in several)
    return nlargest(planned.tables, tables)
