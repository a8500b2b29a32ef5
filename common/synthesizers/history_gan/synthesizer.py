"""The GAN of whole histories: a model of visits fitted to noisy tables, tilted by a discriminator of trajectories.

Hospitals train a discriminator D on patients against histories of the model p. Its optimum is the log density ratio,
D(h) = log(density of patients at h / p(h)) (noise-contrastive estimation, Gutmann and Hyvarinen 2010), so that

    q(h | n) proportional to p(h | n) exp(D(h))        n visits

is the patients' density if D is right: an energy-based GAN, whose generator is moved by D alone. How many patients have
n visits stays as the tables say.

    gen.singles, gen.pairs, gen.steps, gen.visits   the model, as in `MaximumEntropyHistories`
    gen.histories                                   histories of its chains, as in `WholeHistories`
    gen.tilt                                        1 where the discriminator tilts the model, else 0
    disc.*                                          the discriminator

All have public sizes, float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from common.arrays import AnyIntegers, Integers, Weights
from common.columns.base import Codes
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain
from common.marginals.whole_histories import ABSENT, WholeHistories
from common.privacy.discriminator import Discriminator
from common.privacy.dpsgd import noisy_gradient
from common.privacy.quantization import ClippedGrid, QuantizationGrid
from common.privacy.synchronous import gradient_of_sum, gradient_share
from common.study.schema import VisitsSchema
from common.study.synthesizers import HistoryGanSettings
from common.synthesizers.base import DISCRIMINATOR, OPTIMIZERS, TrainingRows
from common.synthesizers.gan.synthesizer import BETAS, DISCRIMINATOR_RATE, GENERATOR
from common.synthesizers.gan.weights import dump, dump_optimizer, restore, restore_optimizer
from common.synthesizers.maximum_entropy.files import checked, damaged
from common.synthesizers.maximum_entropy.histories import MaximumEntropyHistories
from common.synthesizers.maximum_entropy.history_chains import HistoryChains
from common.synthesizers.maximum_entropy.history_columns import HistoryColumns
from common.synthesizers.maximum_entropy.history_fit import HistoryFit, histories_of, spread

MODEL = ("singles", "pairs", "steps", "visits")
"""Arrays of the fitted model that are kept as they are."""

CANDIDATES = 8
"""Histories of the model from which one is chosen: by more than this factor, the density of none can grow."""

REFRESHED = 2
"""Sweeps of the chains before a hospital's round, so that its synthetic patients are new ones."""

CHOSEN_TOGETHER = 2000
"""Patients whose candidates are drawn at once, which bounds the memory of their rows of zeros and ones."""


class HistoryGan:
    """A model of histories and a discriminator of whole trajectories, trained by DP-SGD.

    The methods are described in `common.synthesizers.base`. *Privacy.* The unit is the patient with all visits, and
    neighboring tables differ by adding or removing one patient. The discriminator reads one row per patient
    (`WholeHistories`), so batches are Poisson samples of patients, and what a patient adds to a step, over all kept
    visits together, is clipped to `plan.clip` by `common.privacy.dpsgd`. Steps are charged as those of flat tables.

    Args:
        settings: the study's settings of the synthesizer.
        schema: the modeled columns.
        domain: codes of every column.
    """

    def __init__(self, settings: HistoryGanSettings, schema: VisitsSchema, domain: Domain) -> None:
        self._settings, self._domain = settings, domain
        self._columns = HistoryColumns.of(schema, domain)
        self._layout = WholeHistories.of(schema, domain.sizes)
        self._model = MaximumEntropyHistories(settings.model, schema, domain)

    def patients(self, codes: Codes) -> Codes:
        """Return what batches are drawn of: one row per patient, with all visits (`WholeHistories.rows`)."""
        return self._layout.rows(codes)

    def initial_weights(self, seed: int) -> Weights:
        """Return weights that depend on the seed and the sizes only; they hold no model yet."""
        layout, codes, steps = self._layout, self._columns.offsets[-1], self._columns.step_offsets[-1]
        shapes = {
            "singles": (codes,),
            "pairs": (codes, codes),
            "steps": (steps, steps),
            "visits": (layout.most_visits,),
            "histories": (self._settings.histories, len(layout.columns)),
            "tilt": (1,),
        }
        empty = {GENERATOR + name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
        return empty | dump(self._discriminator(seed), DISCRIMINATOR)

    def fit(self, weights: Weights, measurements: Measurements, seed: int, *, rounds: int) -> Weights:
        """Return weights with the model fitted to the measurements; the discriminator does not tilt it."""
        fitted = self._model.fit({}, measurements, seed, rounds=rounds)
        model = self._model.model_of(fitted)
        counts = histories_of(model.visits, model.visits, self._settings.histories)
        visits = np.repeat(np.arange(len(counts)), counts)
        histories = self._layout.rows(self._model.draw(model, visits, torch.Generator().manual_seed(seed), {}))
        kept = {name: fitted[name] for name in MODEL}
        arrays = kept | {"histories": histories.astype(np.float32), "tilt": np.zeros(1, dtype=np.float32)}
        return weights | {GENERATOR + name: array for name, array in arrays.items()}

    def train(self, weights: Weights, rows: TrainingRows, measurements: Measurements | None, seed: int) -> Weights:
        """Do one round at one hospital: `rows.plan.steps` steps of DP-SGD, each over a Poisson batch of patients."""
        discriminator = self._load(weights)
        optimizer = Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS)
        patients, rng = replace(rows, codes=self.patients(rows.codes)), torch.Generator().manual_seed(seed)
        histories, plan = self._fresh_histories(weights, rng), rows.plan
        for _ in range(plan.steps):
            real = self._one_hot(patients.poisson_batch())
            gradient = noisy_gradient(
                discriminator, real, self._fake(histories, plan.batch, rng), plan.step, rows.noise
            )
            _move(discriminator, optimizer, gradient)
        return weights | dump(discriminator, DISCRIMINATOR)

    def gradient(self, weights: Weights, rows: TrainingRows, quantization: QuantizationGrid) -> Integers:
        """Return one hospital's rounded gradient of a synchronous step, with its share of the noise."""
        real = self._one_hot(replace(rows, codes=self.patients(rows.codes)).poisson_batch())
        clipped, share = ClippedGrid(rows.plan.clip, quantization), rows.noise.named("share")
        return gradient_share(self._load(weights), real, clipped, batch=rows.plan.batch, noise=share)

    def step(
        self, state: Weights, total: Integers, measurements: Measurements | None, clipped: ClippedGrid, seed: int
    ) -> Weights:
        """Do one synchronous step at the server, from the sum of the hospitals' gradients."""
        discriminator, prefix = self._load(state), OPTIMIZERS[1]
        optimizer = Adam(discriminator.parameters(), DISCRIMINATOR_RATE, betas=BETAS)
        restore_optimizer(optimizer, prefix, state)
        rng = torch.Generator().manual_seed(seed)
        fake = self._fake(self._histories(state), clipped.grid.batch, rng)
        gradient = gradient_of_sum(discriminator, total, fake, clipped)
        _move(discriminator, optimizer, gradient)
        return state | dump(discriminator, DISCRIMINATOR) | dump_optimizer(optimizer, prefix)

    def refine(self, weights: Weights, ensemble: Weights, measurements: Measurements, seed: int) -> Weights:
        """Return weights in which the ensemble's mean discriminator tilts the model."""
        return weights | ensemble | {GENERATOR + "tilt": np.ones(1, dtype=np.float32)}

    def sample(self, weights: Weights, rows: int, seed: int, given: Mapping[int, int]) -> Codes:
        """Draw the histories of `rows` patients, whose visits are rows side by side.

        A tilted history is one of `CANDIDATES` with as many visits: those with the largest D plus Gumbel noise are
        kept, a draw without replacement in proportion to exp(D) (Kool et al. 2019, arXiv 1903.06059).

        Args:
            weights: of a fitted model.
            rows: number of patients; visits are more.
            seed: seed of the draws.
            given: code by index of a column of the patient.

        Raises:
            StudyError: a given column is one of the visit, or the weights are damaged.
        """
        model, rng = self._fitted(weights), torch.Generator().manual_seed(seed)
        fixed = given.get(self._layout.visits)
        visits = spread(model.visits, rows) if fixed is None else np.full(rows, fixed)
        if not weights[GENERATOR + "tilt"].any():
            return self._model.draw(model, visits, rng, given)
        discriminator = self._load(weights)
        visits = visits[torch.randperm(rows, generator=rng).numpy()]
        drawn = [np.empty((0, len(self._domain.sizes)), dtype=np.int16)]
        for start in range(0, rows, CHOSEN_TOGETHER):
            part = visits[start : start + CHOSEN_TOGETHER]
            candidates = self._layout.rows(self._model.draw(model, np.repeat(part, CANDIDATES), rng, given))
            drawn.append(self._layout.visits_of(self._chosen(candidates, part, discriminator, rng)))
        return np.concatenate(drawn)

    @torch.no_grad()
    def _chosen(self, candidates: Codes, visits: Integers, discriminator: Discriminator, rng: torch.Generator) -> Codes:
        """Return as many candidates of each number of visits as asked for.

        Args:
            candidates: rows of histories.
            visits: code of the number of visits of each patient.
            discriminator: D.
            rng: of the choice.
        """
        scores = discriminator(self._one_hot(candidates)).numpy()
        uniform = torch.rand(len(candidates), generator=rng).clamp_(1e-9, 1 - 1e-7)
        order = np.argsort(-(scores - np.log(-np.log(uniform.numpy()))), kind="stable")
        lengths, chosen = self._layout.lengths(candidates)[order] - 1, list[Integers]()
        for code, count in zip(*np.unique(visits, return_counts=True), strict=True):
            chosen.append(order[lengths == code][:count])
        return candidates[np.sort(np.concatenate(chosen))]

    def _fitted(self, weights: Weights) -> HistoryFit:
        """Return the model of the weights, or raise `StudyError` for arrays that hold none."""
        rows = self._layout.visits_of(self._histories(weights)).astype(np.float32)
        held = {name: weights[GENERATOR + name] for name in MODEL if GENERATOR + name in weights}
        return self._model.model_of(held | {"rows": rows})

    def _histories(self, weights: Weights) -> Codes:
        """Return the rows of the chains' histories; means over hospitals of equal codes may be off in their last bits.

        Raises:
            StudyError: they are damaged.
        """
        shape = self._settings.histories, len(self._layout.columns)
        rows = checked(weights, GENERATOR + "histories", shape).numpy().round()
        if (rows < ABSENT).any() or (rows > np.iinfo(np.int16).max).any():
            raise damaged("'gen.histories' holds numbers that are no codes")
        codes = rows.astype(np.int16)
        lengths = self._layout.lengths(codes)
        if (lengths < 1).any() or (lengths > self._layout.most_visits).any():
            raise damaged("'gen.histories' holds histories that are not whole")
        return codes

    def _fresh_histories(self, weights: Weights, rng: torch.Generator) -> Codes:
        """Return histories of the model, one from each of its chains."""
        model = self._fitted(weights)
        chains = HistoryChains(self._columns, model.rows, rng)
        chains.mix(REFRESHED, self._columns.free, model.potentials)
        return self._layout.rows(chains.rows.numpy().astype(np.int16))

    def _fake(self, histories: AnyIntegers, rows: int, rng: torch.Generator) -> Tensor:
        """Draw rows of zeros and ones from these histories, with replacement."""
        return self._one_hot(histories[torch.randint(len(histories), (rows,), generator=rng).numpy()])

    def _one_hot(self, rows: AnyIntegers) -> Tensor:
        """Return histories as zeros and ones, float32 (rows, width); visits that a patient does not have are zeros."""
        codes = torch.from_numpy(rows.astype(np.int64))
        filled = torch.zeros(len(rows), self._layout.width + 1)  # the last column takes the absent ones
        return filled.scatter_(1, torch.where(codes == ABSENT, self._layout.width, codes + self._starts), 1.0)[:, :-1]

    @cached_property
    def _starts(self) -> Tensor:
        """Where the codes of each place begin."""
        sizes = [self._domain.sizes[column] for column in self._layout.columns]
        return torch.tensor([0, *sizes]).cumsum(0)[:-1]

    def _discriminator(self, seed: int) -> Discriminator:
        return Discriminator(self._layout.width, self._settings.hidden, torch.Generator().manual_seed(seed))

    def _load(self, weights: Weights) -> Discriminator:
        discriminator = self._discriminator(0)
        restore(discriminator, DISCRIMINATOR, weights)
        return discriminator


def _move(discriminator: Discriminator, optimizer: Adam, gradient: list[Tensor]) -> None:
    """Take one step of the optimizer along a noisy gradient."""
    for parameter, part in zip(discriminator.parameters(), gradient, strict=True):
        parameter.grad = part
    optimizer.step()
