from __future__ import annotations

import json
import math

import pytest

from common.errors import StudyError
from common.planning.choice import (
    ADVERSARY_FROM,
    RoundsReason,
    SharedNoise,
    choose,
)
from common.planning.explain import explain
from common.planning.phases import COARSE, COARSE_TRIPLES, HISTOGRAMS, PAIRS, PHASES, TRIPLES, coarse_pairs
from common.planning.plan import ROUNDS, PlannedVector
from common.planning.planner import make_plan
from common.planning.sizing import (
    FINE_FROM,
    MAX_CELLS,
    MIN_CELLS,
    PAIRS_FROM,
    TRIPLES_AGAIN_FROM,
    TableCount,
)
from common.study.study import Study
from tests.testbeds.visits import visits_study
from tests.testbeds.wards import (
    PLAIN,
    open_rounds,
    shared_study,
    synchronous,
    wards,
    with_own_epsilon,
)

SHARED: dict[str, object] = {"noise": "distributed"}

BUDGETS = [0.5, 1.0, 3.0, 10.0]


class TestFineness:
    def test_more_noise_means_fewer_histogram_cells(self) -> None:
        studies = [wards(privacy={"epsilon": budget}, training={"rounds": 0}) for budget in (0.05, 3.0, 8.0)]
        cells = [choose(study).cells for study in studies]
        assert MIN_CELLS == cells[0] < cells[1] < cells[2] <= MAX_CELLS

    def test_more_epsilon_never_gives_fewer_bins_or_pairs(self) -> None:
        choices = [choose(wards(privacy={"epsilon": budget})) for budget in BUDGETS]
        for counts in ([choice.bins for choice in choices], [choice.tables[PAIRS].counted for choice in choices]):
            assert counts == sorted(counts)

    def test_the_noise_of_the_sum_decides(self) -> None:
        # One hospital at a tenth of the epsilon adds about ten times the noise: the sum is as if nine more took part.
        everybody, one_careful = choose(wards()), choose(with_own_epsilon(0.2))
        assert one_careful.signal_to_noise < everybody.signal_to_noise / 4
        assert one_careful.cells < everybody.cells or everybody.cells == MIN_CELLS

    def test_without_noise_the_ratio_is_infinite(self) -> None:
        choice = choose(wards(privacy={"noise": "none"}))
        assert choice.signal_to_noise == math.inf
        assert choice.cells == MAX_CELLS

    def test_a_planned_retry_lowers_the_ratio(self) -> None:
        # Four hospitals, three honest: 4/3 of the central variance; two retries double it.
        ratio = choose(shared_study(4)).signal_to_noise / choose(shared_study(4, retries=2)).signal_to_noise
        assert ratio == pytest.approx(math.sqrt(2))


class TestRounds:
    def test_an_adversary_is_paid_for_from_its_ratio_on(self) -> None:
        # One count that spends all has a noise of about 0.5 patients at epsilon 10 and of 1.4 at epsilon 3 (delta
        # 1e-6). Of 80 % of the declared patients: ratios of about 48,000, of 17,000, and of 24,000 with four times the
        # noise.
        rich, poor, spread = (
            choose(study).training
            for study in (open_rounds(10.0, 30_000), open_rounds(3.0, 30_000), open_rounds(10.0, 7_500, hospitals=4))
        )
        assert (rich.rounds, rich.reason) == (15, RoundsReason.SIGNAL)
        assert (poor.rounds, poor.reason) == (0, RoundsReason.NOISE)
        assert (spread.rounds, spread.reason) == (0, RoundsReason.NOISE)

    def test_averaged_rounds_look_at_each_hospitals_own_noise(self) -> None:
        # The sums have 4/3 of the central variance, a ratio of 42,000; weights have four times that, 24,000.
        choice = choose(open_rounds(10.0, 7_500, hospitals=4, privacy=SHARED))
        assert choice.signal_to_noise > ADVERSARY_FROM > choice.training.signal_to_noise
        assert choice.training.signal_to_noise == pytest.approx(choice.signal_to_noise / math.sqrt(3))
        assert choice.training.is_own_noise
        assert choice.training.rounds == 0

    def test_synchronous_rounds_look_at_shared_noise(self) -> None:
        one_step: dict[str, object] = {"steps": 1, "batch": 64}
        choice = choose(open_rounds(10.0, 7_500, hospitals=4, privacy=SHARED, training=one_step))
        assert choice.training.signal_to_noise == choice.signal_to_noise
        assert (choice.training.rounds, choice.training.is_synchronous) == (15, True)

    def test_the_study_decides_where_it_says(self) -> None:
        training = choose(wards()).training
        assert (training.rounds, training.reason) == (2, RoundsReason.STUDY)

    def test_of_whole_histories_are_only_as_many_as_the_study_says(self) -> None:
        study = visits_study(synthesizer={"kind": "history-gan"}, privacy={"noise": "none"})
        asked, unasked = choose(study.amended(training={"rounds": 3})).training, choose(study).training
        assert (asked.rounds, asked.reason, asked.reads_histories) == (3, RoundsReason.STUDY, True)
        assert (unasked.rounds, unasked.reason, unasked.reads_histories) == (0, RoundsReason.PLACEBO, False)

    def test_without_marginals_training_is_all_there_is(self) -> None:
        choice = choose(open_rounds(1.0, 200, synthesizer=PLAIN))
        assert (choice.training.rounds, choice.training.reason) == (15, RoundsReason.ONLY_TRAINING)
        assert choice.proportions == {HISTOGRAMS: pytest.approx(0.15), ROUNDS: pytest.approx(0.85)}

    def test_rounds_of_several_steps_are_not_synchronous(self) -> None:
        training = choose(synchronous(spread=0, training={"rounds": 3, "steps": 20})).training
        assert not training.is_synchronous
        assert not choose(synchronous(spread=0, privacy={"noise": "local"})).training.is_synchronous


class TestTables:
    def test_no_more_tables_than_there_are(self) -> None:
        choice = choose(wards(synthesizer={"pairs": 99, "triples": 99}, privacy={"noise": "none"}))
        assert choice.tables == {
            PAIRS: TableCount(3, 3), COARSE_TRIPLES: TableCount(1, 1), TRIPLES: TableCount(1, 1),
        }  # fmt: skip
        # 83 ages in two levels, 171 weights in three, and whether a patient died. Without noise nothing has weights.
        assert choice.vectors == (
            PlannedVector.unweighted(HISTOGRAMS, 6),
            PlannedVector.unweighted(COARSE, 3, 8),
            PlannedVector.unweighted(PAIRS, 3, 16),
            PlannedVector.unweighted(COARSE_TRIPLES, 1, 8),
            PlannedVector.unweighted(TRIPLES, 1, 16),
        )

    def test_phases_without_tables_are_left_out(self) -> None:
        choice = choose(wards(synthesizer={"pairs": 0, "triples": 0}, privacy={"noise": "none"}))
        assert [vector.name for vector in choice.vectors] == [HISTOGRAMS, COARSE]
        assert choice.tables == dict(
            zip((PAIRS, COARSE_TRIPLES, TRIPLES), (TableCount(0, 3), TableCount(0, 1), TableCount(0, 0)), strict=True)
        )

    def test_independent_columns_are_counted_alone(self) -> None:
        choice = choose(wards(synthesizer={"independent": True}, training={"rounds": 0}))
        assert [vector.name for vector in choice.vectors] == [HISTOGRAMS]
        assert choice.proportions == {HISTOGRAMS: 1.0}
        assert choice.tables == {}

    def test_a_wide_noisy_study_counts_pairs_with_the_target(self) -> None:
        # 90 columns have 4,005 pairs: noise of sqrt(4005 / 0.3) = 116 beside a sixteenth of the ratio.
        def study(columns: int, **changed: dict[str, object]) -> Study:
            listed: list[dict[str, object]] = [{"kind": "boolean", "name": f"c{index}"} for index in range(columns - 1)]
            listed.append({"kind": "categorical", "name": "died", "categories": ["no", "yes"]})
            return wards(schema={"columns": listed}, training={"rounds": 0}, **changed)

        noisy, plan = study(90, privacy={"epsilon": 1.0}), make_plan(study(90, privacy={"epsilon": 1.0}))
        choice = choose(noisy)
        assert choice.signal_to_noise / 16 < PAIRS_FROM * 116
        assert [vector.name for vector in choice.vectors] == [HISTOGRAMS, COARSE]
        assert choice.tables[COARSE] == TableCount(89, 4005)
        assert coarse_pairs(noisy, 89) == tuple((column, 89) for column in range(89))
        assert "Only pairs with the target are counted" in " ".join(explain(choice))
        sentences = PHASES[COARSE].sentences(noisy, plan, plan.hospitals[0])
        assert "by the target and each other column in 4 groups each: 89 tables" in sentences[0]
        for usual in (study(90, privacy={"noise": "none"}), study(90, synthesizer={"pairs": 9}), study(80)):
            assert COARSE not in choose(usual).tables
            assert choose(usual).vectors[1].tables == math.comb(len(usual.table.names), 2)

    def test_triples_are_counted_where_noise_is_small(self) -> None:
        # Declared rows give about that ratio at epsilon 1: 1893 patients' worth of signal at 10,000 rows.
        few, some, many = (choose(open_rounds(1.0, rows)) for rows in (4000, 10_000, 30_000))
        assert few.signal_to_noise < FINE_FROM <= some.signal_to_noise < TRIPLES_AGAIN_FROM <= many.signal_to_noise
        assert [vector.name for vector in few.vectors] == [HISTOGRAMS, COARSE, PAIRS]
        assert [vector.name for vector in some.vectors] == [HISTOGRAMS, COARSE, PAIRS, COARSE_TRIPLES]
        assert [vector.name for vector in many.vectors] == [HISTOGRAMS, COARSE, PAIRS, COARSE_TRIPLES, TRIPLES]
        assert [choice.bins for choice in (few, some, many)] == [8, 16, 16]

    def test_coarse_pairs_have_8_groups_where_they_are_visible(self) -> None:
        groups = {
            rows: next(vector.groups for vector in choose(open_rounds(1.0, rows)).vectors if vector.name == COARSE)
            for rows in (1000, 10_000)
        }
        # 64 groups of a pair, three pairs in 0.22 of the budget: visible from 64 x 1.5 x sqrt(3 / 0.22) = 355 on.
        assert groups == {1000: 4, 10_000: 8}

    def test_as_many_pairs_as_fit_a_vector_are_planned(self) -> None:
        # 120 labels squared are 14,400 cells; 34 pairs of them fit half a million, of 780.
        labels = [str(label) for label in range(120)]
        columns = [{"kind": "categorical", "name": f"c{index}", "categories": labels} for index in range(39)]
        columns.append({"kind": "categorical", "name": "died", "categories": ["no", "yes"]})
        study = wards(schema={"columns": columns}, privacy={"noise": "none"})
        # In 16 groups each pair has 256 cells at most, so all of them fit.
        assert choose(study).tables[PAIRS] == TableCount(780, 780)
        wide = choose(study.amended(synthesizer={"bins": 120}))
        assert wide.tables[PAIRS] == TableCount(34, 780)


class TestWeights:
    def test_noise_decides_whether_tables_have_weights(self) -> None:
        noisy, clear = (choose(wards(privacy={"epsilon": budget})) for budget in (0.5, 10.0))
        assert [vector.largest_weight > 1 for vector in noisy.vectors] == [False, True, True]
        assert all(
            vector == PlannedVector.unweighted(vector.name, vector.tables, vector.groups) for vector in clear.vectors
        )

    def test_weighted_plans_have_room_for_their_usual_tables(self) -> None:
        _, coarse, pairs = choose(wards(privacy={"epsilon": 0.5})).vectors
        # Three pairs of weight 72, of which two are centered along "died": 72^2 (1 + 1/2 + 1/2); and any three pairs.
        for vector, needed in ((coarse, 2 * 72**2), (pairs, 3 * 72**2)):
            assert vector.squared_sensitivity == math.ceil(needed * 50 / 49) + 1
            assert vector.largest_weight == 8 * 72
        assert coarse.total_weight == 14  # isqrt(10581 // 50)


class TestBudget:
    def test_usual_weights_are_divided_among_the_phases(self) -> None:
        choice = choose(wards(synthesizer={"pairs": 2, "triples": 0}, training={"rounds": 0}))
        assert choice.proportions == {
            HISTOGRAMS: pytest.approx(0.25), COARSE: pytest.approx(0.30), PAIRS: pytest.approx(0.45),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [(4000, (0.25, 0.30, 0.45)), (10_000, (0.25, 0.27, 0.33, 0.15)), (30_000, (0.20, 0.22, 0.38, 0.11, 0.09))],
    )
    def test_usual_weights_depend_on_the_ratio(self, rows: int, expected: tuple[float, ...]) -> None:
        assert tuple(choose(open_rounds(1.0, rows)).proportions.values()) == pytest.approx(expected)

    def test_a_phase_that_the_study_adds_has_a_weight(self) -> None:
        choice = choose(wards(synthesizer={"pairs": 2, "triples": 1}, training={"rounds": 0}))
        # 0.11 beside 0.25 + 0.30 + 0.45.
        assert choice.proportions[COARSE_TRIPLES] == pytest.approx(0.11 / 1.11)

    def test_weights_of_the_study_come_first(self) -> None:
        weights: dict[str, object] = {"histograms": 1, "coarse": 2, "pairs": 1}
        choice = choose(wards(budget=weights, synthesizer={"pairs": 2, "triples": 0}, training={"rounds": 0}))
        assert choice.proportions == {HISTOGRAMS: 0.25, COARSE: 0.5, PAIRS: 0.25}

    @pytest.mark.parametrize("key", ["histograms", "coarse", "pairs", "coarse_triples", "adversary"])
    def test_a_phase_without_a_weight_is_refused_by_name(self, key: str) -> None:
        settings: dict[str, object] = {"pairs": 1, "triples": 1}
        with pytest.raises(StudyError, match=rf"\[budget\] {key} = 0 leaves no budget"):
            choose(wards(budget={key: 0}, synthesizer=settings, training={"rounds": 1}))

    def test_a_phase_that_does_not_run_needs_no_weight(self) -> None:
        weights: dict[str, object] = {"adversary": 0, "triples": 0, "coarse_triples": 0}
        choice = choose(wards(budget=weights, synthesizer={"triples": 0}, training={"rounds": 0}))
        assert set(choice.proportions) == {HISTOGRAMS, COARSE, PAIRS}

    def test_without_noise_no_weight_is_needed(self) -> None:
        nothing: dict[str, object] = dict.fromkeys(
            ["histograms", "coarse", "pairs", "coarse_triples", "triples", "adversary"], 0
        )
        choice = choose(wards(budget=nothing, privacy={"noise": "none"}))
        assert set(choice.proportions.values()) == {0.0}


class TestFields:
    def test_shared_noise_names_its_price(self) -> None:
        choice = choose(shared_study(4, dropouts=1, retries=1))
        assert choice.shared_noise == SharedNoise(hospitals=4, honest=2, dropouts=1, colluders=1, retries=1)
        assert choice.shared_noise.price == 2.0
        assert choose(wards()).shared_noise is None

    def test_own_epsilons_are_those_that_hospitals_set(self) -> None:
        assert choose(with_own_epsilon(0.5)).own_epsilons == {"south": 0.5}
        assert choose(with_own_epsilon(0.5, privacy={"noise": "none"})).own_epsilons is None
        assert choose(wards()).own_epsilons is None

    def test_fields_are_strict_json(self) -> None:
        for study in (wards(), wards(privacy={"noise": "none"}), shared_study(4)):
            fields = json.loads(json.dumps(choose(study).to_fields(), allow_nan=False))
            assert fields["training"]["rounds"] == study.training.rounds
        ratio = json.loads(json.dumps(choose(wards(privacy={"noise": "none"})).to_fields()))["signal_to_noise"]
        assert ratio is None
