from __future__ import annotations

import numpy as np
import pytest

from common.arrays import Array
from common.errors import WireError
from common.marginals.queries import coarse_queries, single_queries
from common.planning.phases import (
    COARSE,
    HISTOGRAMS,
    PAIRS,
    PHASES,
    ROUNDS,
    SINGLES,
    TRIPLES,
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
from tests.testbeds.released import NOTHING, made_up_run

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
CHOSEN = {PAIRS: np.array([3, 0, 1, 3]), TRIPLES: np.array([0, 1, 3])}


def agreed(**sections: dict[str, object]) -> tuple[Study, Plan]:
    synthesizer = {"pairs": 2, "triples": 1} | sections.pop("synthesizer", {})
    study = clinic_study(synthesizer=synthesizer, **sections).with_hospitals(FACTS)
    return study, make_plan(study)


def complete() -> PublicRun:
    return made_up_run(*agreed(), CHOSEN)


class TestPhases:
    def test_names_are_words_that_messages_and_files_may_carry(self) -> None:
        assert all(name == phase.name and name.isalpha() and name.islower() for name, phase in PHASES.items())
        assert len({phase.title for phase in PHASES.values()}) == len(PHASES)

    def test_phases_come_in_the_order_of_a_run(self) -> None:
        plan = agreed(training={"rounds": 2})[1]
        assert [phase.name for phase in phases_of(plan)] == [HISTOGRAMS, COARSE, PAIRS, TRIPLES, ROUNDS]
        assert list(PHASES) == [HISTOGRAMS, COARSE, SINGLES, PAIRS, TRIPLES, ROUNDS]

    def test_every_phase_says_what_leaves(self) -> None:
        study, plan = agreed(training={"rounds": 2}, budget={"singles": 0.1})
        assert plan.phases == tuple(PHASES)
        for phase in phases_of(plan):
            first = phase.sentences(study, plan, plan.hospitals[0])[0]
            assert first.startswith("- ")
            assert "{" not in first

    @pytest.mark.parametrize("name", [ROUNDS, "records", ""])
    def test_only_vector_phases_are_vectors(self, name: str) -> None:
        with pytest.raises(WireError, match="there is no vector phase"):
            vector_phase(name)

    def test_training_needs_all_sums_but_gradients_the_encoding_alone(self) -> None:
        plan = agreed(training={"rounds": 2})[1]
        assert training_phase().needs(plan) == (HISTOGRAMS, COARSE, PAIRS, TRIPLES)
        shared = agreed(training={"rounds": 2, "steps": 1}, privacy={"noise": "distributed"})[1]
        assert shared.quantization is not None
        assert training_phase().needs(shared) == (HISTOGRAMS,)


class TestTables:
    def test_coarse_and_single_tables_follow_from_the_schema(self) -> None:
        public = made_up_run(*agreed(budget={"singles": 0.1}), CHOSEN)
        assert vector_phase(COARSE).queries(public, NOTHING) == coarse_queries(4, 4)
        assert vector_phase(SINGLES).queries(public, NOTHING) == single_queries(4)
        assert len(vector_phase(COARSE).ask(public)) == 0

    @pytest.mark.parametrize("name", [HISTOGRAMS, COARSE, SINGLES])
    def test_columns_of_a_phase_without_choice_are_refused(self, name: str) -> None:
        public = made_up_run(*agreed(budget={"singles": 0.1}), CHOSEN)
        with pytest.raises(WireError, match="must name no columns"):
            vector_phase(name).shape(public, np.array([0, 1]))

    @pytest.mark.parametrize(("name", "columns", "groups"), [(PAIRS, 2, 0), (TRIPLES, 3, 6)])
    def test_tables_have_the_columns_of_their_phase(self, name: str, columns: int, groups: int) -> None:
        (query,) = vector_phase(name).queries(complete(), np.arange(columns))
        assert query.columns == tuple(range(columns))
        assert query.groups == groups

    def test_histograms_have_no_tables(self) -> None:
        assert vector_phase(HISTOGRAMS).queries(complete(), NOTHING) == ()

    @pytest.mark.parametrize("name", [SINGLES, TRIPLES])
    def test_a_phase_outside_the_plan_has_no_shape(self, name: str) -> None:
        public = made_up_run(*agreed(synthesizer={"triples": 0}), CHOSEN)
        with pytest.raises(WireError, match="the plan has no vector"):
            vector_phase(name).shape(public, NOTHING)

    def test_the_coordinator_asks_for_as_many_tables_as_planned(self) -> None:
        public = complete()
        for planned in public.plan.vectors[2:]:
            phase = vector_phase(planned.name)
            assert phase.shape(public, phase.ask(public)).max_changed_cells == planned.max_changed_cells

    def test_shapes_never_exceed_what_the_planner_allowed_for(self) -> None:
        public = complete()
        for planned in public.plan.vectors:
            shape = vector_phase(planned.name).shape(public, CHOSEN.get(planned.name, NOTHING))
            assert shape.max_changed_cells == planned.max_changed_cells


class TestMeasurements:
    def test_tables_follow_the_plan_with_the_noise_of_all_hospitals(self) -> None:
        public = complete()
        measurements = measurements_of(public)
        assert measurements is not None
        chosen = [vector_phase(name).queries(public, columns) for name, columns in CHOSEN.items()]
        assert measurements.queries == (*coarse_queries(4, 4), *chosen[0], *chosen[1])
        deviations = {name: public.plan.total_deviation(name) for name in (COARSE, PAIRS, TRIPLES)}
        assert measurements.deviations == (
            *[deviations[COARSE]] * 10, *[deviations[PAIRS]] * 2, deviations[TRIPLES],
        )  # fmt: skip
        released = public.released
        sums = [released.counts(name) for name in (COARSE, PAIRS, TRIPLES)]
        np.testing.assert_array_equal(measurements.sums, np.concatenate(sums))

    def test_a_plan_without_marginals_gives_none(self) -> None:
        study, plan = agreed(synthesizer={"marginal_weight": 0.0}, training={"rounds": 1})
        assert plan.phases == (HISTOGRAMS, ROUNDS)
        assert measurements_of(made_up_run(study, plan)) is None

    def test_single_columns_need_no_choice(self) -> None:
        measurements = measurements_of(made_up_run(*agreed(synthesizer={"coarse_pairs": False})))
        assert measurements is not None
        assert measurements.queries == single_queries(4)


class TestReadPublic:
    def test_what_a_run_released_is_read_back(self) -> None:
        public = complete()
        again = read_public(public.study, public.plan, public.released.arrays(), PHASES)
        assert tuple(again.released.vectors) == (HISTOGRAMS, COARSE, PAIRS, TRIPLES)
        assert again.encoding_key == public.encoding_key
        assert again.domain == public.domain

    def test_more_tables_than_planned_are_refused(self) -> None:
        public = complete()
        more = np.array([0, 1, 0, 2, 0, 3])
        length = vector_phase(PAIRS).shape(public, more).length
        arrays = public.released.arrays() | {PAIRS: np.zeros(length, dtype=np.int64), f"{PAIRS}.columns": more}
        with pytest.raises(WireError, match="more tables of the phase 'pairs' than planned"):
            read_public(public.study, public.plan, arrays, PHASES)

    @pytest.mark.parametrize(
        ("name", "columns", "cut"),
        [
            (PAIRS, [0, 1], 0), (PAIRS, [0, 1, 0, 1], 0), (PAIRS, [3, 0, 1, 3], 1), (PAIRS, [0, 9, 1, 2], 0),
            (PAIRS, [0, 1, 2], 0), (TRIPLES, [0, 1, 1], 0), (HISTOGRAMS, [], 1), (COARSE, [], 1), (COARSE, [0, 1], 0),
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
