"""Latent classes of a mixture: which class a patient is put in, and the class tables that follow.

A *decoder* draws a class, then every column by itself as the class says. Its *encoder* is Bayes' rule: the posterior
q(class | codes). A hospital puts each patient in one class, drawn from q, and counts patients by class and code of
every column (the E-step); noisy sums of these counts give the next decoder (the M-step). That is stochastic expectation
maximization (Celeux and Diebolt 1985), and the variational autoencoder (Kingma and Welling 2014) with a discrete latent
and an exact encoder.

*Sensitivity.* Which class a patient is in is a public function of the decoder, of the patient's own codes, and of how
many patients with the same codes come before. Patients with the same codes are interchangeable: c of them are put into
the classes number 1 to c, in whatever order. Adding or removing one patient adds or removes the last of these and
moves no other patient. So it changes one cell of every column's table, by one: the square of the L2 norm is the number
of columns, as for one table a column without classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from common.arrays import Array, Floats, Integers
from common.columns.base import Codes
from common.errors import WireError
from common.marginals.hashing import mixed, row_hashes
from common.marginals.queries import Domain

UNIT = 1024
"""A decoder is sent as logarithms of probabilities in this part of a nat: sums of whole numbers are exact."""

LEAST = -32 * UNIT
"""Least logarithm of a decoder; a code of that probability (e^-32) practically does not occur."""

BLOCK = 4096
"""Rows whose posteriors are computed at once."""

TILT = 1.5
"""Standard deviation of the logits by which the classes of the first decoder prefer one half of a column's values."""

FLOOR, LEAST_PROBABILITY = 1e-3, 1e-5
"""Least probability of a code in a class: this part of its proportion among all patients, and this much."""

FEWEST = 3.0
"""Fewest patients of a class, in standard deviations of a cell's noise: smaller ones are taken to be as large."""

AVERAGED = 4
"""The last one in this many of the rounds gives the class tables that the synthesizer is fitted to, as their mean."""


@dataclass(frozen=True, eq=False)
class ClassTables:
    """What the rounds released about latent classes, as the M-step reads it.

    Args:
        weights: proportion of each class, (classes,); they sum to 1.
        probabilities: of every code in each class, (classes, width); each column's codes sum to 1.
        deviation: standard deviation of the noise in a cell of the counts behind them, in patients.
    """

    weights: Floats
    probabilities: Floats
    deviation: float


def width_of(domain: Domain) -> int:
    """Return the number of codes of all columns."""
    return sum(domain.sizes)


def read_decoders(flat: Array, domain: Domain, classes: int) -> Integers:
    """Return the decoders that a request or a file holds, shape (decoders, classes, 1 + width).

    Args:
        flat: logarithms in units of 1 / `UNIT`: of a class its weight, then the codes of all columns; int64.
        domain: codes of every column.
        classes: number of classes.

    Raises:
        WireError: there is none, it is not whole, or a number is not the logarithm of a probability.
    """
    size = classes * (1 + width_of(domain))
    if not len(flat) or len(flat) % size:
        raise WireError(f"the request does not hold decoders of {classes} classes for all columns")
    if (flat > 0).any() or (flat < LEAST).any():
        raise WireError("a decoder holds a number that is not the logarithm of a probability")
    return flat.reshape(-1, classes, 1 + width_of(domain))


def count_classes(codes: Codes, decoder: Integers, domain: Domain) -> Integers:
    """Return how many rows of each class have each code, int64, (classes * width,).

    One row more adds one to one cell of every column, see the module's text.

    Args:
        codes: rows of codes, (rows, columns).
        decoder: logarithms as in `read_decoders`, (classes, 1 + width).
        domain: codes of every column.
    """
    width, starts = width_of(domain), np.cumsum([0, *domain.sizes])[:-1]
    cells = assigned(codes, decoder, domain)[:, None] * width + starts + codes
    return np.bincount(cells.ravel(), minlength=len(decoder) * width).astype(np.int64)


def assigned(codes: Codes, decoder: Integers, domain: Domain) -> Integers:
    """Return the class that each row is put in, drawn from q(class | codes), shape (rows,); see `count_classes`.

    Args:
        codes: encoded rows, int16, shape (rows, columns).
        decoder: the decoder that the coordinator sent.
        domain: number of codes of each column.
    """
    key = int.from_bytes(hashlib.sha256(np.ascontiguousarray(decoder, dtype="<i8").tobytes()).digest()[:8])
    hashes = mixed(row_hashes(codes.astype(np.int64), key) ^ mixed(_occurrences(codes).astype(np.uint64)))
    points = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53  # uniform in [0, 1)
    starts = 1 + np.cumsum([0, *domain.sizes])[:-1]
    classes = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), BLOCK):
        part = slice(start, start + BLOCK)
        scores = decoder[:, 0] + decoder.T[starts + codes[part]].sum(axis=1)  # log p(class, codes), whole numbers
        posterior = np.exp((scores - scores.max(axis=1, keepdims=True)) / UNIT)
        ends = posterior.cumsum(axis=1)
        classes[part] = (ends <= points[part, None] * ends[:, -1:]).sum(axis=1)
    return np.minimum(classes, len(decoder) - 1)


def _occurrences(codes: Codes) -> Integers:
    """Return of each row how many rows with the same codes come before it, shape (rows,)."""
    if not len(codes):
        return np.empty(0, dtype=np.int64)
    same, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)[1:]
    order = np.argsort(same.ravel(), kind="stable")
    occurrences = np.empty(len(codes), dtype=np.int64)
    occurrences[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return occurrences


def first_decoder(domain: Domain, classes: int, seed: int) -> Integers:
    """Return the decoder of the first round: every column as released, each class tilted to a half of its values.

    Tilts by halves give all columns the same say in the classes, whatever their number of codes.

    Args:
        domain: codes of every column, with their masses.
        classes: number of classes.
        seed: seed of the tilts.
    """
    rng, columns = np.random.default_rng(seed), []
    for proportions in proportions_of(domain):
        is_upper = (np.cumsum(proportions) - proportions / 2 > 0.5).astype(np.int64)
        columns.append(np.log(proportions) + TILT * rng.normal(size=(classes, 2))[:, is_upper])
    tilted = [np.exp(column) / np.exp(column).sum(axis=1, keepdims=True) for column in columns]
    return to_decoder(np.full(classes, 1 / classes), np.concatenate(tilted, axis=1))


def to_decoder(weights: Floats, probabilities: Floats) -> Integers:
    """Return the logarithms of a decoder as in `read_decoders`, (classes, 1 + width), of what `ClassTables` holds."""
    both = np.concatenate([weights[:, None], probabilities], axis=1)
    return np.asarray(np.maximum(np.rint(UNIT * np.log(both)), LEAST), dtype=np.int64)


def proportions_of(domain: Domain) -> list[Floats]:
    """Return the released proportions of every column's codes, all above zero."""
    masses = domain.masses or tuple((1.0,) * size for size in domain.sizes)
    floored = [np.maximum(np.asarray(column) / max(sum(column), 1.0), LEAST_PROBABILITY) for column in masses]
    return [column / column.sum() for column in floored]


def read_tables(counts: Array, deviation: float, domain: Domain) -> ClassTables:
    """Return the class tables that noisy counts say: the M-step, held to the released single columns.

        n_k = patients of class k: the sums of its columns, averaged by inverse noise variance
        q = counts / n_k,    b = the column's proportions among all patients
        e = codes s^2 / n_k^2 + (1 - |b|^2) / n_k,    s = deviation: |q - b|^2 that noise and sampling explain
        p = b + max(0, 1 - e / |q - b|^2) (q - b)     (James and Stein 1961, for each class and column)

    So a class differs from all patients only in columns where its counts exceed their noise.

    Args:
        counts: noisy patients by class and code, (classes, width).
        deviation: standard deviation of their noise.
        domain: codes of every column, with their masses.
    """
    ends, sizes = np.cumsum(domain.sizes), np.array(domain.sizes)
    columns = np.split(counts.astype(np.float64), ends[:-1], axis=1)
    sums = np.stack([column.sum(axis=1) for column in columns], axis=1)
    patients = np.maximum((sums / sizes).sum(axis=1) / (1 / sizes).sum(), max(1.0, FEWEST * deviation))  # n_k
    probabilities = []
    for column, overall in zip(columns, proportions_of(domain), strict=True):
        difference = column / patients[:, None] - overall  # q - b
        explained = len(overall) * (deviation / patients) ** 2 + (1 - (overall**2).sum()) / patients  # e
        kept = np.maximum(0, 1 - explained / np.maximum((difference**2).sum(axis=1), 1e-12))
        floor = FLOOR * overall + LEAST_PROBABILITY
        held = np.maximum(overall + kept[:, None] * difference, floor)
        probabilities.append(held / held.sum(axis=1, keepdims=True))
    return ClassTables(patients / patients.sum(), np.concatenate(probabilities, axis=1), deviation)


def averaged_tables(counts: Integers, deviation: float, domain: Domain) -> ClassTables:
    """Return the class tables of the last rounds: one round in `AVERAGED`, at least one.

    Args:
        counts: noisy counts of every round, (rounds, classes, width).
        deviation: standard deviation of the noise of one round.
        domain: codes of every column, with their masses.
    """
    last = counts[-max(1, len(counts) // AVERAGED) :]
    return read_tables(last.mean(axis=0), deviation / len(last) ** 0.5, domain)
