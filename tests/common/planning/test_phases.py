from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from common.arrays import Array
from common.errors import WireError
from common.marginals.queries import Query, pair_queries, single_queries
from common.marginals.released import NOTHING_ASKED, Asked
from common.planning.phases import (
    CLASSES,
    COARSE,
    COARSE_TRIPLES,
    CROSS_TRANSITIONS,
    EVALUATION,
    HISTOGRAMS,
    IMAGE_MEANS,
    IMAGE_MOMENTS,
    PAIRS,
    PHASES,
    ROUNDS,
    TRANSITIONS,
    TRIPLES,
    VOTES,
    PublicRun,
    VectorPhase,
    measurements_of,
    phases_of,
    read_public,
    training_phase,
    vector_phase,
)
from common.planning.plan import Plan
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.images import images_study
from tests.testbeds.released import made_up_run
from tests.testbeds.visits import visits_study
from tests.testbeds.voting import never_drawn

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
CHOSEN = {
    PAIRS: Asked(np.array([0, 3, 1, 3]), np.array([72, 74])),
    COARSE_TRIPLES: Asked(np.array([0, 1, 3]), np.array([66])),
}
WITHOUT_NOISE: dict[str, object] = {"noise": "none"}
FINE = {PAIRS: Asked(np.array([0, 3, 1, 3])), **dict.fromkeys((COARSE_TRIPLES, TRIPLES), Asked(np.array([0, 1, 3])))}


def agreed(**sections: dict[str, object]) -> tuple[Study, Plan]:
    synthesizer = {"pairs": 2, "triples": 1} | sections.pop("synthesizer", {})
    study = clinic_study(synthesizer=synthesizer, **sections).with_hospitals(FACTS)
    return study, make_plan(study)


def complete() -> PublicRun:
    return made_up_run(*agreed(), CHOSEN)


class TestPhases:
    def test_names_are_words_that_messages_and_files_may_carry(self) -> None:
        assert all(name == phase.name and re.fullmatch("[a-z-]{1,32}", name) for name, phase in PHASES.items())
        assert len({phase.title for phase in PHASES.values()}) == len(PHASES)

    def test_phases_come_in_the_order_of_a_run(self) -> None:
        plan = agreed(training={"rounds": 2})[1]
        assert [phase.name for phase in phases_of(plan)] == [HISTOGRAMS, COARSE, PAIRS, COARSE_TRIPLES, ROUNDS]
        vectors = [HISTOGRAMS, COARSE, PAIRS, VOTES, COARSE_TRIPLES, TRIPLES, TRANSITIONS, CROSS_TRANSITIONS]
        vectors += [IMAGE_MEANS, IMAGE_MOMENTS, CLASSES]
        assert list(PHASES) == [*vectors, ROUNDS, EVALUATION]

    def test_every_phase_says_what_leaves(self) -> None:
        study, plan = agreed(training={"rounds": 2}, privacy=WITHOUT_NOISE, evaluation={"private": True})
        of_visits, of_images = (TRANSITIONS, CROSS_TRANSITIONS), (IMAGE_MEANS, IMAGE_MOMENTS)
        others = (VOTES, CLASSES, *of_visits, *of_images)  # a GAN has neither votes nor classes
        assert plan.phases == tuple(name for name in PHASES if name not in others)
        visits = visits_study()
        assert set(of_visits) < set(make_plan(visits).phases)
        planned = [(study, plan, phase) for phase in phases_of(plan)]
        planned += [(visits, make_plan(visits), PHASES[name]) for name in of_visits]
        planned += [(images_study(), make_plan(images_study()), PHASES[name]) for name in of_images]
        for study, plan, phase in planned:
            first = phase.sentences(study, plan, plan.hospitals[0])[0]
            assert first.startswith("- ")
            assert "{" not in first

    def test_sentence_gives_the_noise_of_a_usual_table(self) -> None:
        study, plan = agreed()
        north, planned = plan.hospitals[0], plan.vector(PAIRS)
        assert planned is not None
        assert planned.has_weights
        (told,) = vector_phase(PAIRS).sentences(study, plan, north)
        # Both tables of the same weight w would spend 2 w^2 of the squared sensitivity; the noise is sigma / w.
        off = plan.sigma(north, PAIRS) / (planned.squared_sensitivity / 2) ** 0.5
        assert (
            f"in 16 groups each: up to 2 tables, which the coordinator chooses; each count is off by about {off:.3g} "
            in told
        )
        assert told.endswith("more precisely and others less, and for the number of patients")
        (plain,) = vector_phase(PAIRS).sentences(*agreed(privacy=WITHOUT_NOISE), north)
        assert "may ask for some more precisely" not in plain

    @pytest.mark.parametrize("name", [ROUNDS, "records", ""])
    def test_only_vector_phases_are_vectors(self, name: str) -> None:
        with pytest.raises(WireError, match="there is no vector phase"):
            vector_phase(name)

    def test_training_needs_all_sums_gradients_the_encoding_alone(self) -> None:
        plan = agreed(training={"rounds": 2})[1]
        assert training_phase().needs(plan) == (HISTOGRAMS, COARSE, PAIRS, COARSE_TRIPLES)
        shared = agreed(training={"rounds": 2, "steps": 1}, privacy={"noise": "distributed"})[1]
        assert shared.quantization is not None
        assert training_phase().needs(shared) == (HISTOGRAMS,)


class TestTables:
    def test_coarse_tables_follow_from_the_schema(self) -> None:
        plain = made_up_run(*agreed(privacy=WITHOUT_NOISE), FINE)
        assert vector_phase(COARSE).queries(plain, NOTHING_ASKED) == pair_queries(4, 8)
        public = complete()
        total, *pairs = vector_phase(COARSE).queries(public, NOTHING_ASKED)
        assert total == Query((), weight=public.planned(COARSE).total_weight)
        assert pairs == [replace(query, weight=72, is_centered=True) for query in pair_queries(4, 4)]
        assert vector_phase(COARSE).ask(public, never_drawn) is NOTHING_ASKED

    @pytest.mark.parametrize(
        "asked", [Asked(np.array([0, 1])), Asked(weights=np.array([72]))], ids=["columns", "weights"]
    )
    @pytest.mark.parametrize("name", [HISTOGRAMS, COARSE])
    def test_columns_of_a_phase_without_choice_are_refused(self, name: str, asked: Asked) -> None:
        with pytest.raises(WireError, match="must name no columns"):
            vector_phase(name).shape(complete(), asked)

    @pytest.mark.parametrize(("name", "columns", "groups"), [(PAIRS, 2, 16), (COARSE_TRIPLES, 3, 8), (TRIPLES, 3, 16)])
    def test_tables_have_the_columns_of_their_phase(self, name: str, columns: int, groups: int) -> None:
        public = made_up_run(*agreed(privacy=WITHOUT_NOISE), FINE)
        assert vector_phase(name).queries(public, Asked(np.arange(columns))) == (Query(tuple(range(columns)), groups),)

    @pytest.mark.parametrize(("name", "columns"), [(PAIRS, [0, 1]), (COARSE_TRIPLES, [0, 1, 2])])
    def test_asked_weights_come_with_the_number_of_patients(self, name: str, columns: list[int]) -> None:
        public = complete()
        total, table = vector_phase(name).queries(public, Asked(np.array(columns), np.array([96])))
        assert total == Query((), weight=public.planned(name).total_weight)
        assert table == Query(tuple(columns), public.planned(name).groups, weight=96, is_centered=True)

    def test_weights_where_none_are_planned_are_refused(self) -> None:
        public = made_up_run(*agreed(privacy=WITHOUT_NOISE), FINE)
        with pytest.raises(WireError, match="the tables of this phase have no weights"):
            vector_phase(PAIRS).shape(public, Asked(np.array([0, 1]), np.array([72])))

    def test_missing_weights_are_refused(self) -> None:
        with pytest.raises(WireError, match="one weight for each table"):
            vector_phase(PAIRS).shape(complete(), Asked(np.array([0, 1])))

    @pytest.mark.parametrize("name", [PAIRS, COARSE_TRIPLES])
    def test_more_tables_than_planned_have_no_shape(self, name: str) -> None:
        tables = {PAIRS: [0, 1, 0, 2, 0, 3], COARSE_TRIPLES: [0, 1, 2, 0, 1, 3]}[name]
        light = np.full(len(tables) // (2 + (name != PAIRS)), 12)  # little enough to fit the squared sensitivity
        with pytest.raises(WireError, match="names more tables than planned"):
            vector_phase(name).shape(complete(), Asked(np.array(tables), light))

    def test_histograms_have_no_tables(self) -> None:
        assert vector_phase(HISTOGRAMS).queries(complete(), NOTHING_ASKED) == ()

    @pytest.mark.parametrize("name", [COARSE_TRIPLES, TRIPLES])
    def test_a_phase_outside_the_plan_has_no_shape(self, name: str) -> None:
        public = made_up_run(*agreed(synthesizer={"triples": 0}), CHOSEN)
        with pytest.raises(WireError, match="the plan has no vector"):
            vector_phase(name).shape(public, NOTHING_ASKED)

    @pytest.mark.parametrize("privacy", [{}, WITHOUT_NOISE], ids=["weights", "none"])
    def test_what_the_coordinator_asks_for_is_as_planned(self, privacy: dict[str, object]) -> None:
        public = made_up_run(*agreed(privacy=privacy), FINE if privacy else CHOSEN)
        for planned in public.plan.vectors:
            phase = vector_phase(planned.name)
            asked = phase.ask(public, never_drawn)
            shape = phase.shape(public, asked)
            assert shape.squared_sensitivity <= planned.squared_sensitivity
            assert shape.largest_weight <= planned.largest_weight
            has_choice = planned.name not in (HISTOGRAMS, COARSE)
            assert len(asked.columns) == has_choice * sum(len(query.columns) for query in phase.queries(public, asked))
            assert len(asked.weights) == (len(phase.queries(public, asked)) - 1 if has_choice and not privacy else 0)

    def test_fixed_tables_never_exceed_what_is_planned(self) -> None:
        for public in (complete(), made_up_run(*agreed(privacy=WITHOUT_NOISE), FINE)):
            for name in (HISTOGRAMS, COARSE):
                planned, shape = public.planned(name), vector_phase(name).shape(public, NOTHING_ASKED)
                assert 0.97 * planned.squared_sensitivity <= shape.squared_sensitivity <= planned.squared_sensitivity
                assert shape.largest_weight <= planned.largest_weight


class TestMeasurements:
    def test_tables_follow_the_plan_with_the_noise_of_all_hospitals(self) -> None:
        public = complete()
        measurements = measurements_of(public)
        assert measurements is not None
        counted = {
            name: vector_phase(name).queries(public, CHOSEN.get(name, NOTHING_ASKED))
            for name in (COARSE, PAIRS, COARSE_TRIPLES)
        }
        assert measurements.queries == (
            *single_queries(4),
            *(query for queries in counted.values() for query in queries),
        )
        assert measurements.deviations == (
            *public.encoder.deviations,
            *(
                public.plan.total_deviation(name) / query.weight
                for name, queries in counted.items()
                for query in queries
            ),
        )
        assert measurements.phases == (
            *[HISTOGRAMS] * 4,
            *(name for name, queries in counted.items() for _ in queries),
        )
        sums = [public.released.counts(name) for name in counted]
        singles = measurements.domain.cells(single_queries(4))
        np.testing.assert_array_equal(measurements.sums[singles:], np.concatenate(sums))
        np.testing.assert_allclose(measurements.sums[:singles], np.concatenate(public.encoder.masses), atol=0.5)

    def test_a_plan_without_marginals_gives_none(self) -> None:
        study, plan = agreed(synthesizer={"marginal_weight": 0.0}, training={"rounds": 1})
        assert plan.phases == (HISTOGRAMS, ROUNDS)
        assert measurements_of(made_up_run(study, plan)) is None

    def test_single_columns_need_no_choice(self) -> None:
        measurements = measurements_of(made_up_run(*agreed(synthesizer={"independent": True})))
        assert measurements is not None
        assert measurements.queries == single_queries(4)


class TestReadPublic:
    def test_what_a_run_released_is_read_back(self) -> None:
        public = complete()
        again = read_public(public.study, public.plan, public.released.arrays(), PHASES)
        assert tuple(again.released.vectors) == (HISTOGRAMS, COARSE, PAIRS, COARSE_TRIPLES)
        assert again.encoding_key == public.encoding_key
        assert again.domain == public.domain

    def test_more_tables_than_planned_are_refused(self) -> None:
        public = complete()
        # 14^2 + 96^2 + 50^2 / 2 = 10662 of 10581.
        heavier = Asked(np.array([0, 1, 0, 2]), np.array([96, 50]))
        length = vector_phase(PAIRS).shape(public, heavier).length
        arrays = public.released.arrays() | heavier.arrays(PAIRS) | {PAIRS: np.zeros(length, dtype=np.int64)}
        with pytest.raises(WireError, match="more tables of the phase 'pairs' than planned"):
            read_public(public.study, public.plan, arrays, PHASES)

    @pytest.mark.parametrize(
        ("name", "columns", "cut"),
        [
            (PAIRS, [0, 1], 0), (PAIRS, [0, 1, 0, 1], 0), (PAIRS, [0, 3, 1, 3], 1), (PAIRS, [3, 0, 1, 3], 0),
            (PAIRS, [0, 9, 1, 2], 0), (PAIRS, [0, 1, 2], 0), (COARSE_TRIPLES, [0, 1, 1], 0), (HISTOGRAMS, [], 1),
            (COARSE, [], 1), (COARSE, [0, 1], 0),
        ],
    )  # fmt: skip
    def test_sums_that_do_not_fit_their_tables_are_refused(self, name: str, columns: list[int], cut: int) -> None:
        public = complete()
        arrays: dict[str, Array] = public.released.arrays()
        arrays[name] = arrays[name][: len(arrays[name]) - cut]
        arrays[f"{name}.columns"] = np.array(columns, dtype=np.int64)
        with pytest.raises(WireError):
            read_public(public.study, public.plan, arrays, PHASES)

    def test_the_sums_of_phases_that_are_not_needed_are_refused(self) -> None:
        public = complete()
        needs = vector_phase(PAIRS).needs
        assert needs == (HISTOGRAMS,)
        with pytest.raises(WireError, match="not expected here"):
            read_public(public.study, public.plan, public.released.arrays(), needs)

    def test_every_vector_phase_is_answered_from_earlier_phases(self) -> None:
        names = list(PHASES)
        for phase in PHASES.values():
            if isinstance(phase, VectorPhase):
                assert all(names.index(need) < names.index(phase.name) for need in phase.needs)
