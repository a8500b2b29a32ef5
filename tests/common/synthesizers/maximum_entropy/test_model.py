"""The log-linear model against enumeration: what it fits, what its chains draw, and what conditions give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from common.arrays import Floats, Weights
from common.columns.base import Codes
from common.errors import StudyError
from common.marginals.evidence import Evidence
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain, Query, count
from common.study.synthesizers import MaximumEntropySettings
from common.synthesizers.maximum_entropy import blocks
from common.synthesizers.maximum_entropy.files import model_of, weights_of
from common.synthesizers.maximum_entropy.fit import Fit, fit_model
from common.synthesizers.maximum_entropy.rows import draw_rows
from common.synthesizers.maximum_entropy.synthesizer import MaximumEntropy, chains_of
from tests.testbeds.dependence import dependent_rows

SIZES = (3, 4, 2)
PATIENTS = 20_000
NOISE = 1.0


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def measured(codes: Codes, sizes: tuple[int, ...], tables: list[tuple[int, ...]], noise: float) -> Measurements:
    """Return exact counts of single columns and of the tables, declared to carry this noise."""
    domain = Domain(sizes, (False,) * len(sizes))
    queries = (*(Query((column,)) for column in range(len(sizes))), *(Query(table) for table in tables))
    sums = count(codes, queries, domain)
    return Measurements(domain, queries, sums, (noise,) * len(queries))


def table_of(codes: Codes, columns: tuple[int, ...], sizes: tuple[int, ...]) -> Floats:
    shape = [sizes[column] for column in columns]
    cells = np.ravel_multi_index([codes[:, column] for column in columns], shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape) / len(codes)


def probabilities(fit: Fit) -> Floats:
    """Return the model's probability of every row, by enumeration."""
    potentials, theta = fit.potentials, fit.potentials.pairs.double().numpy()
    offsets = potentials.offsets
    logits = np.zeros(potentials.domain.sizes)
    for row in itertools.product(*map(range, potentials.domain.sizes)):
        positions = [int(offsets[column]) + code for column, code in enumerate(row)]
        value = float(potentials.singles[positions].sum())
        value += sum(theta[a, b] for a, b in itertools.combinations(positions, 2))
        for triple in potentials.sets:
            groups = [int(maps[row[column]]) for column, maps in zip(triple.columns, triple.maps, strict=True)]
            value += float(triple.values[tuple(groups)])
        logits[row] = value
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


@pytest.fixture(scope="module")
def fitted() -> tuple[Codes, Fit]:
    codes = dependent_rows(PATIENTS, 0)
    evidence = Evidence.of(measured(codes, SIZES, [(0, 1), (0, 2), (1, 2)], NOISE))
    return codes, fit_model(evidence, chains=4096, steps=150, seed=1)


COINS = (2, 2, 2, 2)


@pytest.fixture(scope="module")
def parity_of_four() -> tuple[Codes, Fit]:
    """Four coins whose sum is even nine times in ten, counted by pairs and all together."""
    rng = np.random.default_rng(6)
    coins = rng.integers(0, 2, (PATIENTS, 3))
    codes = np.column_stack([coins, (coins.sum(1) + (rng.random(PATIENTS) < 0.1)) % 2]).astype(np.int16)
    tables = [*itertools.combinations(range(4), 2), (0, 1, 2, 3)]
    return codes, fit_model(Evidence.of(measured(codes, COINS, tables, NOISE)), chains=2048, steps=120, seed=7)


class TestFit:
    def test_pairs_of_the_model_equal_the_tables(self, fitted: tuple[Codes, Fit]) -> None:
        codes, fit = fitted
        model = probabilities(fit)
        for pair in ((0, 1), (0, 2), (1, 2)):
            (other,) = set(range(3)) - set(pair)
            assert np.abs(model.sum(other) - table_of(codes, pair, SIZES)).sum() / 2 < 0.01

    def test_expected_tables_are_those_of_the_potentials(self, fitted: tuple[Codes, Fit]) -> None:
        _, fit = fitted
        first, second = fit.potentials.span(0), fit.potentials.span(1)
        assert np.abs(fit.pairs[first, second].numpy() - probabilities(fit).sum(2)).sum() / 2 < 0.01

    def test_independence_is_held_where_a_third_column_binds(self) -> None:
        """Two independent causes of one illness: without a potential of their own, the illness binds them."""
        causes = np.array(list(itertools.product(range(2), repeat=2)) * (PATIENTS // 4))
        illness = (causes.sum(1) + np.random.default_rng(8).normal(0, 0.3, PATIENTS) > 0.5).astype(int)
        codes = np.column_stack([causes, illness]).astype(np.int16)
        evidence = Evidence.of(measured(codes, (2, 2, 2), list(itertools.combinations(range(3), 2)), NOISE))
        assert evidence.pairs[0].prior[0, 1] == 0
        model = probabilities(fit_model(evidence, chains=2048, steps=150, seed=9))
        assert np.abs(model.sum(2) - 0.25).sum() / 2 < 0.02

    def test_same_seed_gives_same_bytes(self) -> None:
        evidence = Evidence.of(measured(dependent_rows(500, 2), SIZES, [(0, 1)], NOISE))
        runs = [fit_model(evidence, chains=64, steps=10, seed=3) for _ in range(2)]
        assert torch.equal(runs[0].rows, runs[1].rows)
        assert torch.equal(runs[0].potentials.pairs, runs[1].potentials.pairs)

    def test_triple_finds_parity(self) -> None:
        """Three coins whose sum is even: no pair shows it, the table of all three does."""
        rng = np.random.default_rng(4)
        coins = rng.integers(0, 2, (PATIENTS, 2))
        codes = np.column_stack([coins, coins.sum(1) % 2]).astype(np.int16)
        pairs = list(itertools.combinations(range(3), 2))
        evidence = Evidence.of(measured(codes, (2, 2, 2), [*pairs, (0, 1, 2)], NOISE))
        model = probabilities(fit_model(evidence, chains=2048, steps=150, seed=5))
        assert (
            np.abs(model - table_of(codes, (0, 1, 2), (2, 2, 2))).sum() / 2 < 0.1
        )  # single-site chains mix badly here; without the triple: 0.5

    def test_set_of_four_finds_what_no_triple_shows(self, parity_of_four: tuple[Codes, Fit]) -> None:
        codes, fit = parity_of_four
        assert [held.columns for held in fit.potentials.sets] == [(0, 1, 2, 3)]
        model = probabilities(fit)
        # Without the set, half of the rows of either parity are lacking: 0.4.
        assert np.abs(model - table_of(codes, (0, 1, 2, 3), COINS)).sum() / 2 < 0.03


@pytest.mark.parametrize(("columns", "chains"), [(10, 3072), (37, 2048), (85, 2048), (171, 1024), (3000, 1024)])
def test_wide_tables_have_fewer_chains(columns: int, chains: int) -> None:
    assert chains_of(columns) == chains


class TestRows:
    def test_conditions_hold_within_a_set_of_four(self, parity_of_four: tuple[Codes, Fit]) -> None:
        """Given one coin, the parity of the three others is the opposite, one time in ten not."""
        drawn = draw_rows(parity_of_four[1], 4000, 3, {1: 1}).numpy()
        assert (drawn[:, 1] == 1).all()
        assert (drawn[:, [0, 2, 3]].sum(1) % 2).mean() == pytest.approx(0.9, abs=0.03)

    def test_rows_follow_the_model(self, fitted: tuple[Codes, Fit]) -> None:
        _, fit = fitted
        codes = draw_rows(fit, 2000, 9, {}).numpy()
        model = probabilities(fit)
        assert np.abs(table_of(codes, (0, 1), SIZES) - model.sum(2)).sum() / 2 < 0.02  # independent draws: about 0.03

    def test_conditions_hold_exactly_and_the_rest_follows(self, fitted: tuple[Codes, Fit]) -> None:
        _, fit = fitted
        codes = draw_rows(fit, 20_000, 10, {2: 1}).numpy()
        assert (codes[:, 2] == 1).all()
        conditional = probabilities(fit)[:, :, 1]
        conditional = conditional / conditional.sum()
        assert np.abs(table_of(codes, (0, 1), SIZES) - conditional).sum() / 2 < 0.02

    @pytest.mark.parametrize("rows", [0, 1, 5000])
    def test_rows_are_as_many_as_asked(self, fitted: tuple[Codes, Fit], rows: int) -> None:
        _, fit = fitted
        codes = draw_rows(fit, rows, 11, {}).numpy()
        assert codes.shape == (rows, 3)
        assert ((codes >= 0) & (codes < np.array(SIZES))).all()

    def test_rows_are_the_same_for_blocks_of_one_column(
        self, fitted: tuple[Codes, Fit], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        together = draw_rows(fitted[1], 300, 13, {})
        monkeypatch.setattr(blocks, "BLOCK_CODES", 1)
        assert torch.equal(draw_rows(fitted[1], 300, 13, {}), together)

    def test_drawing_leaves_the_model_as_it_was(self, fitted: tuple[Codes, Fit]) -> None:
        _, fit = fitted
        before = fit.rows.clone()
        assert torch.equal(draw_rows(fit, 300, 12, {}), draw_rows(fit, 300, 12, {}))
        assert torch.equal(fit.rows, before)


@pytest.fixture(scope="module")
def weights() -> Weights:
    measurements = measured(dependent_rows(500, 13), SIZES, [(0, 1), (0, 2), (1, 2), (0, 1, 2)], NOISE)
    return weights_of(fit_model(Evidence.of(measurements), chains=128, steps=10, seed=1))


class TestWeights:
    DOMAIN = Domain(SIZES, (False,) * 3)

    def test_model_survives_as_arrays(self, weights: Weights) -> None:
        restored = model_of(weights, self.DOMAIN)
        assert restored.potentials.sets[0].columns == (0, 1, 2)
        assert restored.potentials.sets[0].values.abs().sum() > 0
        again = weights_of(restored)
        assert again.keys() == weights.keys()
        assert all((again[name] == array).all() and array.dtype == np.float32 for name, array in weights.items())

    def test_set_of_four_survives_as_arrays(self, parity_of_four: tuple[Codes, Fit]) -> None:
        stored = weights_of(parity_of_four[1])
        assert stored["sets"].tolist() == [[0, 1, 2, 3, 0]]
        restored = model_of(stored, Domain(COINS, (False,) * 4))
        assert torch.equal(restored.potentials.sets[0].values, parity_of_four[1].potentials.sets[0].values)

    @pytest.mark.parametrize("name", ["singles", "pairs", "sets", "set.0", "expected.pairs", "rows"])
    def test_missing_array_is_refused(self, weights: Weights, name: str) -> None:
        with pytest.raises(StudyError, match=f"has no '{name}'"):
            model_of({key: array for key, array in weights.items() if key != name}, self.DOMAIN)

    def test_extra_array_is_refused(self, weights: Weights) -> None:
        with pytest.raises(StudyError, match="has arrays that no"):
            model_of({**weights, "set.1": weights["set.0"]}, self.DOMAIN)

    @pytest.mark.parametrize("name", ["singles", "pairs", "set.0", "expected.singles"])
    def test_numbers_that_are_not_finite_are_refused(self, weights: Weights, name: str) -> None:
        damaged = weights[name].copy()
        damaged.flat[0] = np.nan
        with pytest.raises(StudyError, match=f"'{name}' is not of these columns, or damaged"):
            model_of({**weights, name: damaged}, self.DOMAIN)

    @pytest.mark.parametrize(
        ("name", "array", "problem"),
        [
            ("rows", [[0.5, 0, 0]], "does not hold whole numbers"),
            ("rows", [[0, 4, 0]], "codes that the columns do not have"),
            ("rows", [[0, -1, 0]], "codes that the columns do not have"),
            ("rows", np.empty((0, 3)), "codes that the columns do not have"),
            ("sets", [[0, 2, 1, -1, 0]], "columns or groups that the study does not have"),
            ("sets", [[0, 1, 3, -1, 0]], "columns or groups that the study does not have"),
            ("sets", [[0, 1, 2, -1, 1]], "columns or groups that the study does not have"),
            ("sets", [[0, 1, -1, -1, 0]], "columns or groups that the study does not have"),
            ("sets", [[0, 1, -1, 2, 0]], "columns or groups that the study does not have"),
            ("sets", [[0, 1, 2, 2, 0]], "columns or groups that the study does not have"),
            ("sets", [[-2, 0, 1, 2, 0]], "columns or groups that the study does not have"),
            ("singles", np.zeros(8), "'singles' is not of these columns"),
            ("expected.singles", -np.ones(9), "negative"),
        ],
    )
    def test_damaged_array_is_refused(self, weights: Weights, name: str, array: object, problem: str) -> None:
        with pytest.raises(StudyError, match=problem):
            model_of({**weights, name: np.array(array, dtype=np.float32)}, self.DOMAIN)

    def test_weights_of_other_columns_are_refused(self, weights: Weights) -> None:
        model = MaximumEntropy(MaximumEntropySettings(), Domain((2, 2), (False, False)))
        with pytest.raises(StudyError, match="restore it"):
            model.sample(weights, 5, 0, {})
