"""Best linear unbiased estimates of tables of patients from all noisy sums of a run. Post-processing; costs no epsilon.

Let T be the wanted table, flattened: patients by the parts of one column, or by the groups of several. A released table
q says y_q = H_q T + e_q, where H_q adds up cells (and centers them, where the table was counted centered) and e_q is
noise of known variance v_q per cell. All noise is independent. Generalized least squares gives

    T^ = S sum_q H_q' y_q / v_q,     S = (sum_q H_q' H_q / v_q)^-1,

where S is the covariance of the noise in T^ (Aitken 1936; for noisy histograms, Hay et al. 2010, arXiv 0904.0942).
Nothing is projected or shrunk: T^ may be negative, and is unbiased for the patients who were counted. Which tables were
asked for depends on earlier sums, and so does how numbers are cut: noise of later sums does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.arrays import Floats, Integers
from common.columns.parts import Parts
from common.encoding import histogram_sizes
from common.errors import StudyError
from common.inference.margins import Margins, noise_deviation, released_tables
from common.inference.noisy import NoisyCounts
from common.marginals.queries import FULL, NESTED
from common.planning.phases import HISTOGRAMS, PublicRun

MOST_CELLS = 4096
"""Largest table to estimate: its covariance then takes 128 MiB."""

SHORT = 32
"""Parts of a column whose histogram says how many patients there are; a longer one hides it under its noise."""

CONDITION = 1e-10
"""Smallest eigenvalue, relative to the largest, of the information about a table that the sums tell apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Patients by the groups of some columns, one axis a column.

    Attributes:
        columns: indices of the columns.
        shape: groups of each.
        maps: group of each code, by column.
        counts: patients per cell, flattened, and their noise.
    """

    columns: tuple[int, ...]
    shape: tuple[int, ...]
    maps: tuple[Integers, ...]
    counts: NoisyCounts

    def is_whole(self, axis: int) -> bool:
        """Return whether every code of a column is a group of its own: its groups are then its labels."""
        return len(self.maps[axis]) == self.shape[axis]


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """What a released table says along one column: H' / v and H' H / v, with H the map from groups to its cells."""

    weighted: Floats
    information: Floats


class RunCounts:
    """Estimates of patients from the released sums of one run.

    Args:
        public: the run.

    Raises:
        StudyError: rows are visits, or the run counted no columns.
    """

    def __init__(self, public: PublicRun) -> None:
        if public.study.has_visits:
            raise StudyError("rows of this study are visits, of which patients have several; this is for one row each")
        if HISTOGRAMS not in public.released.vectors:
            raise StudyError("this run released no counts of columns; there is nothing to estimate from")
        self._public, self.domain = public, public.domain
        self._columns: dict[str, NoisyCounts] = {}
        self._histograms: dict[str, NoisyCounts] = {}
        self._parts: dict[str, Parts] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in schema order."""
        return self._public.study.table.names

    def index(self, name: str) -> int:
        """Return the index of a column.

        Raises:
            StudyError: there is no such column.
        """
        if name not in self.names:
            raise StudyError(f"column '{name}' is not in the model; choose one of {', '.join(self.names)}")
        return self.names.index(name)

    def parts(self, name: str) -> Parts:
        """Return the smallest counted parts of a column's values."""
        if name not in self._parts:
            self._parts[name] = self._public.encoder.parts(name)
        return self._parts[name]

    @cached_property
    def patients(self) -> NoisyCounts:
        """The number of all patients, one cell, from everything counted."""
        own = self._by_histograms
        information, right = 1 / own.noise[0, 0], own.counts[0] / own.noise[0, 0]
        for margin in self._margins.of(()):
            information += 1 / margin.variance
            right += float(margin.values) / margin.variance
        return NoisyCounts(np.array([right / information]), np.array([[1 / information]]))

    @cached_property
    def _by_histograms(self) -> NoisyCounts:
        """The number of all patients from the histograms of the shortest columns, which say it independently."""
        sizes = {name: len(self.parts(name).codes) for name in self.names}
        short = [name for name, size in sizes.items() if size <= max(SHORT, min(sizes.values()))]
        estimates = [self._histogram(name).summed(np.ones((1, sizes[name]))) for name in short]
        precisions = np.array([1 / estimate.noise[0, 0] for estimate in estimates])
        mean = precisions @ [estimate.counts[0] for estimate in estimates] / precisions.sum()
        return NoisyCounts(np.array([mean]), np.array([[1 / precisions.sum()]]))

    @cached_property
    def _margins(self) -> Margins:
        return Margins(released_tables(self._public), self.domain, self._by_histograms)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Phases that counted other patients, because hospitals had come or gone: their sums are not used."""
        return self._margins.left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any estimate has to know about this run."""
        return tuple(f"phase '{phase}' counted other patients and is left out" for phase in self.left_out)

    def column(self, name: str) -> NoisyCounts:
        """Return patients by the parts of one column, from its histogram and from the margins of all tables."""
        if name not in self._columns:
            information, right = self._normal_equations(name)
            column, codes = self.index(name), self.parts(name).codes
            for margin in self._margins.of((column,)):
                sums = np.ones((1, len(codes)))
                if margin.kept:
                    groups = self.domain.groups(column, margin.groups)[codes]
                    sums = (np.arange(len(margin.values))[:, None] == groups).astype(np.float64)
                if margin.centered:  # few labels, each of which is a part
                    sums -= sums.mean(0)
                information += sums.T @ sums / margin.variance
                right += sums.T @ margin.values.ravel() / margin.variance
            self._columns[name] = NoisyCounts.solved(information, right)
        return self._columns[name]

    def table(self, names: Sequence[str]) -> Table:
        """Return patients by the groups of several columns, as fine as the sums tell apart.

        Args:
            names: of two columns or three.

        Raises:
            StudyError: no released table holds these columns together, or the table is too large.
        """
        columns = tuple(self.index(name) for name in names)
        if len(set(columns)) < len(columns):
            raise StudyError(f"columns {', '.join(names)}: one is named twice; name different columns")
        for groups in (FULL, *NESTED):
            table = self._solve(columns, groups) if self._margins.has(columns, groups) else None
            if table is not None:
                return table
        together = " x ".join(f"'{name}'" for name in names)
        raise StudyError(
            f"the run released no table of {together}; a run counts the triples of [evaluation] time, target and each "
            "of sensitive where its noise allows triples or [synthesizer] triples asks for them"
        )

    def _histogram(self, name: str) -> NoisyCounts:
        """Return patients by the parts of one column from its histogram alone."""
        if name not in self._histograms:
            self._histograms[name] = NoisyCounts.solved(*self._normal_equations(name))
        return self._histograms[name]

    def _normal_equations(self, name: str) -> tuple[Floats, Floats]:
        """Return H' H / v and H' y / v of a column's histogram."""
        sizes = histogram_sizes(self._public.study.table, self._public.plan.cells)
        start = sum(sizes[other] for other in self.names[: self.index(name)])
        released = self._public.released.counts(HISTOGRAMS)[start : start + sizes[name]].astype(np.float64)
        parts = self.parts(name)
        weighted = parts.sums.T / (parts.collected.sum(1) * noise_deviation(self._public, HISTOGRAMS) ** 2)
        return weighted @ parts.sums, weighted @ (parts.collected @ released)

    def _solve(self, columns: tuple[int, ...], groups: int) -> Table | None:
        """Return the table at this number of groups; None where the sums do not tell its cells apart."""
        maps = tuple(self.domain.groups(column, groups) for column in columns)
        shape = tuple(int(groups_of[-1]) + 1 for groups_of in maps)
        cells = int(np.prod(shape))
        if cells > MOST_CELLS:
            raise StudyError(f"the table of these columns has {cells} cells, more than {MOST_CELLS}; choose others")
        information, right = np.zeros((cells, cells)), np.zeros(cells)
        for axes, values in self._equations(columns, maps):
            information += _product([axis.information for axis in axes])
            right += _along(values, [axis.weighted for axis in axes]).ravel()
        eigenvalues = np.linalg.eigvalsh(information)
        if eigenvalues[0] < CONDITION * eigenvalues[-1]:
            return None
        return Table(columns, shape, maps, NoisyCounts.solved(information, right))

    def _equations(self, columns: tuple[int, ...], maps: Sequence[Integers]) -> Iterator[tuple[list[_Axis], Floats]]:
        """Yield what every released sum says: by axis of the wanted table, and the values of its own cells."""
        sizes = [int(groups[-1]) + 1 for groups in maps]
        summed = [_Axis(np.ones((size, 1)), np.ones((size, size))) for size in sizes]
        for axis, (column, groups) in enumerate(zip(columns, maps, strict=True)):
            name = self.names[column]
            merged = (np.arange(sizes[axis])[:, None] == groups[self.parts(name).codes]).astype(np.float64)
            own = self._histogram(name).summed(merged)
            precision = np.asarray(np.linalg.inv(own.noise), dtype=np.float64)
            axes = [_Axis(precision, precision) if other == axis else summed[other] for other in range(len(columns))]
            yield axes, own.counts.reshape([-1 if other == axis else 1 for other in range(len(columns))])
        for margin in self._margins.of(columns):
            axes = list(summed)
            for position, column in enumerate(margin.kept):
                axis = columns.index(column)
                released_groups = self.domain.groups(column, margin.groups)
                axes[axis] = _axis(maps[axis], released_groups, is_centered=position in margin.centered)
            axes[0] = _Axis(axes[0].weighted / margin.variance, axes[0].information / margin.variance)
            lengths = iter(margin.values.shape)
            yield axes, margin.values.reshape([next(lengths) if column in margin.kept else 1 for column in columns])


def _axis(groups: Integers, released_groups: Integers, *, is_centered: bool) -> _Axis:
    """Return what a released table says along a column.

    Args:
        groups: wanted group of each code.
        released_groups: the released table's group of each code; one of both lies within the other.
        is_centered: whether the table was counted less its mean along the column.
    """
    meets = np.zeros((int(released_groups[-1]) + 1, int(groups[-1]) + 1))
    meets[released_groups, groups] = 1.0
    if is_centered:
        meets -= meets.mean(0)
    elif (meets.sum(1) == 1).all():  # as fine or finer: n released groups are added up, with n times the variance
        merged = meets / meets.sum(0)
        return _Axis(merged.T, np.diag(1 / meets.sum(0)))
    return _Axis(meets.T, meets.T @ meets)


def _product(matrices: Sequence[Floats]) -> Floats:
    """Return the Kronecker product of matrices."""
    product: Floats = np.ones((1, 1))
    for matrix in matrices:
        product = np.asarray(np.kron(product, matrix), dtype=np.float64)
    return product


def _along(values: Floats, matrices: Sequence[Floats]) -> Floats:
    """Return `values` with a matrix applied along each axis."""
    for axis, matrix in enumerate(matrices):
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values
