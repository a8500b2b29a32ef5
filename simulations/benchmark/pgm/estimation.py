"""The graphical model that fits noisy marginals best (McKenna, Sheldon and Miklau 2019, arXiv 1901.09136)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Floats
from simulations.benchmark.pgm.junction_tree import Clique, JunctionTree, cells
from simulations.benchmark.pgm.model import GraphicalModel, divide, spread, sum_to

GROWTH = 1.1
"""Factor on the step length after every step; a refused step halves it."""

MOST_HALVINGS = 30
CHECKED_EVERY = 20
"""Steps between two looks at whether the loss still falls."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """A noisy marginal.

    Attributes:
        columns: the columns counted.
        counts: noisy rows per cell, one axis per column.
        deviation: standard deviation of the noise in each count.
    """

    columns: Clique
    counts: Floats
    deviation: float


Potentials = dict[Clique, Floats]
"""Logarithms of factors, by measured marginal."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelFit:
    """A model and the potentials from which a next fit can start."""

    model: GraphicalModel
    potentials: Potentials


@dataclass(frozen=True, slots=True)
class Stop:
    """When a fit ends.

    Attributes:
        steps: largest number of steps.
        tolerance: the fit ends when `CHECKED_EVERY` steps lower the loss by less than this fraction of it.
    """

    steps: int
    tolerance: float = 0.0


def fit(
    sizes: Sequence[int],
    measurements: Sequence[Measurement],
    total: float,
    stop: Stop,
    *,
    start: Mapping[Clique, Floats] | None = None,
) -> ModelFit:
    """Return the model of highest entropy among those that come closest to the measurements.

        minimize L(mu) = 1/2 sum of ((mu_r - y_r) / s_r)^2    over marginals mu of a table with `total` rows

    by mirror descent with a line search (Algorithm 1 of the paper), theta_r <- theta_r - a dL/dmu_r, and Nesterov's
    momentum, which starts again where the loss rises (O'Donoghue and Candes 2015, arXiv 1204.3982).

    Args:
        sizes: number of codes of each column.
        measurements: the noisy marginals; several of the same columns are averaged.
        total: number of rows, which is public.
        stop: when the fit ends.
        start: potentials to start from; 0 where it lacks a marginal.
    """
    targets = averaged(measurements)
    problem = _Problem(JunctionTree.of(sizes, targets), targets, total)
    known = start or {}
    theta = {columns: known.get(columns, np.zeros_like(target.counts)) for columns, target in targets.items()}
    leading, momentum = problem.at(theta), 0
    step = min(target.deviation**2 for target in targets.values()) / total
    checked = leading.loss
    for index in range(stop.steps):
        gradient = problem.gradient(leading)
        moved, step = problem.descend(leading, gradient, step)
        momentum += 1
        ahead = momentum / (momentum + 3)
        extrapolated = {key: moved[key] + ahead * (moved[key] - theta[key]) for key in moved}
        theta, before, leading = moved, leading.loss, problem.at(extrapolated)
        if leading.loss > before:  # overshot: start the momentum again
            leading, momentum = problem.at(theta), 0
        step *= GROWTH
        if index % CHECKED_EVERY == CHECKED_EVERY - 1:
            if checked - leading.loss <= stop.tolerance * leading.loss:
                break
            checked = leading.loss
    return ModelFit(leading.model, leading.potentials)


@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """Potentials, and what follows from them."""

    potentials: Potentials
    model: GraphicalModel
    marginals: dict[Clique, Floats]
    loss: float


class _Problem:
    """The loss as a function of the potentials."""

    def __init__(self, tree: JunctionTree, targets: Mapping[Clique, Measurement], total: float) -> None:
        self._tree, self._targets, self._total = tree, targets, total
        self._supersets = supersets(tree.sizes, targets)
        self._hosts = {key: _host(tree, key) for key, superset in self._supersets.items() if superset is None}

    def at(self, potentials: Potentials) -> _Point:
        model = calibrated(self._tree, self._gathered(potentials), self._hosts, self._total)
        marginals: dict[Clique, Floats] = {}
        for key, superset in self._supersets.items():
            if superset is None:
                host = self._hosts[key]
                marginals[key] = sum_to(model.beliefs[host], self._tree.cliques[host], key)
            else:
                marginals[key] = sum_to(marginals[superset], superset, key)
        misses = (
            float((((marginals[key] - target.counts) / target.deviation) ** 2).sum())
            for key, target in self._targets.items()
        )
        return _Point(potentials, model, marginals, 0.5 * sum(misses))

    def _gathered(self, potentials: Potentials) -> Potentials:
        """Add the potential of every marginal to that of its superset: few are left to add to large cliques."""
        gathered = dict(potentials)
        for key, superset in reversed(self._supersets.items()):
            if superset is not None:
                gathered[superset] = gathered[superset] + spread(gathered.pop(key), key, superset)
        return gathered

    def gradient(self, point: _Point) -> Potentials:
        """Return dL/dmu of every measured marginal."""
        return {
            key: (point.marginals[key] - target.counts) / target.deviation**2 for key, target in self._targets.items()
        }

    def descend(self, point: _Point, gradient: Potentials, step: float) -> tuple[Potentials, float]:
        """Return the potentials after one step, halved until the loss falls by half of what the slope promises."""
        for _ in range(MOST_HALVINGS):
            tried = {key: point.potentials[key] - step * gradient[key] for key in gradient}
            after = self.at(tried)
            promised = sum(
                float((gradient[key] * (point.marginals[key] - after.marginals[key])).sum()) for key in gradient
            )
            if point.loss - after.loss >= 0.5 * promised:
                break
            step /= 2
        return tried, step


def averaged(measurements: Sequence[Measurement]) -> dict[Clique, Measurement]:
    """Return one measurement per marginal: repeated ones are averaged with inverse-variance weights."""
    combined: dict[Clique, Measurement] = {}
    for new in measurements:
        old = combined.get(new.columns)
        if old is None:
            combined[new.columns] = new
            continue
        weight = old.deviation**-2 / (old.deviation**-2 + new.deviation**-2)
        counts = weight * old.counts + (1 - weight) * new.counts
        combined[new.columns] = Measurement(new.columns, counts, (old.deviation**-2 + new.deviation**-2) ** -0.5)
    return combined


def supersets(sizes: Sequence[int], marginals: Iterable[Clique]) -> dict[Clique, Clique | None]:
    """Return the smallest measured superset of every marginal, or None; a superset comes before its subsets."""
    largest_first = sorted(marginals, key=lambda columns: (-cells(sizes, columns), -len(columns)))
    return {
        columns: next((other for other in largest_first[index - 1 :: -1] if set(columns) < set(other)), None)
        if index
        else None
        for index, columns in enumerate(largest_first)
    }


def calibrated(
    tree: JunctionTree, potentials: Mapping[Clique, Floats], hosts: Mapping[Clique, int], total: float
) -> GraphicalModel:
    """Return the model with these potentials, by belief propagation: once up the tree and once down.

    Args:
        tree: junction tree of all measured marginals.
        potentials: logarithms of factors, by marginal.
        hosts: clique of the tree that takes each potential.
        total: number of rows of the model's tables.
    """
    logs = [np.zeros([tree.sizes[column] for column in clique]) for clique in tree.cliques]
    for columns, potential in potentials.items():
        host = hosts[columns]
        logs[host] += spread(potential, columns, tree.cliques[host])
    beliefs = [np.exp(log - log.max()) for log in logs]
    upward: list[Floats] = [np.ones(())] * len(beliefs)
    for index in range(len(beliefs) - 1, 0, -1):
        parent, separator = tree.parents[index], tree.separators[index]
        message = sum_to(beliefs[index], tree.cliques[index], separator)
        upward[index] = message / message.max()
        beliefs[parent] *= spread(upward[index], separator, tree.cliques[parent])
    beliefs[0] *= total / beliefs[0].sum()
    for index in range(1, len(beliefs)):
        parent, separator = tree.parents[index], tree.separators[index]
        message = sum_to(beliefs[parent], tree.cliques[parent], separator)
        ratio = divide(message, sum_to(beliefs[index], tree.cliques[index], separator))
        beliefs[index] *= spread(ratio, separator, tree.cliques[index])
    return GraphicalModel(tree, tuple(beliefs))


def _host(tree: JunctionTree, columns: Clique) -> int:
    host = tree.host(columns)
    assert host is not None, "a junction tree contains every marginal that it was made from"
    return host
