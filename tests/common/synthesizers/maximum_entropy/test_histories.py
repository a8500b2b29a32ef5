from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from common.arrays import Floats, Weights
from common.errors import StudyError
from common.model import Model
from common.planning.phases import PublicRun, measurements_of
from common.planning.planner import make_plan
from common.study.courses import Course, HistoryRules, owners_of
from common.study.rules import Rule
from common.study.schema import VISITS, VisitsSchema
from common.synthesizers.base import Synthesizer
from common.synthesizers.maximum_entropy.history_chains import HistoryChains, HistoryPotentials
from common.synthesizers.maximum_entropy.history_columns import HistoryColumns
from common.synthesizers.maximum_entropy.history_fit import StartingHistories, histories_of
from common.synthesizers.registry import make_synthesizer
from simulations.experiments.one_hospital import FrameRecords, count_vectors
from tests.testbeds.visits import conformed_visits, invented_visits, visits_study
from tests.testbeds.voting import never_drawn

PATIENTS = 1200


@cache
def fitted() -> tuple[pd.DataFrame, PublicRun, Synthesizer, Weights]:
    study = visits_study(
        privacy={"noise": "none"}, synthesizer={"kind": "maximum-entropy", "chains": 800, "fit_steps": 90}
    )
    frame = conformed_visits(invented_visits(PATIENTS), study)
    public = count_vectors(FrameRecords(frame, study.table), study, make_plan(study), 0, never_drawn)
    synthesizer, measurements = make_synthesizer(study.synthesizer, public.encoder), measurements_of(public)
    assert measurements is not None
    return frame, public, synthesizer, synthesizer.fit({}, measurements, 3, rounds=0)


def decoded(given: dict[int, int] | None = None, rows: int = PATIENTS) -> pd.DataFrame:
    _, public, synthesizer, weights = fitted()
    return public.encoder.decode(synthesizer.sample(weights, rows, 5, given or {}), np.random.default_rng(0))


def transitions(frame: pd.DataFrame) -> Floats:
    starts = frame[frame["visit"] != frame["visits"]]
    later = frame.shift(-1).loc[starts.index]
    return pd.crosstab(starts["stage"], later["stage"], normalize="index").reindex(columns=list("123")).to_numpy()


def test_every_number_of_visits_has_a_history() -> None:
    # Of 64 histories, 60 would have one visit and one each 2 to 5; 43 numbers more occur in hardly any patient.
    rare = np.array([60.0, 1, 1, 1, 1] + [1e-6] * 43)
    counts = histories_of(rare / rare.sum(), rare / rare.sum(), 64)
    assert counts.tolist() == [17] + [1] * 47
    assert histories_of(np.array([0.5, 0.0, 0.5]), np.array([0.9, 0.0, 0.1]), 10).tolist() == [9, 0, 1]


class TestDrawnHistories:
    def test_are_whole(self) -> None:
        drawn = decoded()
        starts = np.flatnonzero(drawn["visit"] == "1")
        assert len(starts) == PATIENTS
        lengths = np.diff(starts, append=len(drawn))
        np.testing.assert_array_equal(drawn["visits"].astype(int).to_numpy()[starts], lengths)
        assert drawn["visit"].astype(int).tolist() == [number + 1 for length in lengths for number in range(length)]

    def test_have_one_value_of_a_column_of_the_patient(self) -> None:
        drawn = decoded()
        patients = (drawn["visit"] == "1").cumsum()
        assert (drawn["sex"].groupby(patients).nunique() == 1).all()

    def test_move_between_states_as_the_counted_ones(self) -> None:
        np.testing.assert_allclose(transitions(decoded()), transitions(fitted()[0]), atol=0.06)

    def test_follow_the_tables_of_visits(self) -> None:
        frame, drawn = fitted()[0], decoded()
        for name in ("visits", "stage", "sex"):
            expected = frame.groupby(name)["visit"].count() / len(frame)
            np.testing.assert_allclose(drawn.groupby(name)["visit"].count() / len(drawn), expected, atol=0.04)
        means = frame.groupby("sex")["weight"].mean()
        np.testing.assert_allclose(drawn.groupby("sex")["weight"].mean(), means, atol=2.5)

    def test_have_no_time_since_a_visit_before_the_first(self) -> None:
        drawn = decoded()
        assert (drawn["since_last_visit"].isna() == (drawn["visit"] == "1")).all()

    def test_are_the_same_for_the_same_seed(self) -> None:
        pd.testing.assert_frame_equal(decoded(), decoded())

    @pytest.mark.parametrize(("column", "code", "name", "label"), [(0, 1, "sex", "m"), (1, 3, "visits", "4")])
    def test_satisfy_a_condition_on_the_patient(self, column: int, code: int, name: str, label: str) -> None:
        assert set(decoded({column: code}, rows=60)[name]) == {label}

    def test_take_no_condition_on_a_visit(self) -> None:
        with pytest.raises(StudyError, match="a column of the visit does not choose patients"):
            decoded({3: 1}, rows=5)


class TestRules:
    def test_hold_in_every_drawn_history(self) -> None:
        _, public, _, weights = fitted()
        courses = (Course(column="stage", never="decreases"), Course(column="stage", ends_with="3"))
        rule = Rule(left="weight", relation="<=", right="day")
        study = public.study.model_copy(update={"courses": courses, "rules": (rule,)})
        model = Model(study, public.plan, public.released, weights)
        drawn = model.sample(200, 3)
        rules = HistoryRules(study.rules, study.courses, study.declared)
        assert not rules.broken(drawn).any()
        assert min(model.rule_violations(200, 3).values()) > 0
        assert (drawn["visit"] == "1").sum() == 200
        assert (
            drawn["visits"].tolist() == drawn.groupby(owners_of(drawn))["visit"].transform("size").astype(str).tolist()
        )
        pd.testing.assert_frame_equal(model.sample(200, 3), drawn)


class TestWeights:
    @pytest.mark.parametrize("name", ["singles", "pairs", "steps", "visits", "rows"])
    def test_that_are_missing_are_refused(self, name: str) -> None:
        _, _, synthesizer, weights = fitted()
        with pytest.raises(StudyError, match="the file of the maximum-entropy model has"):
            synthesizer.sample({key: value for key, value in weights.items() if key != name}, 5, 0, {})

    def test_of_a_history_without_its_end_are_refused(self) -> None:
        _, _, synthesizer, weights = fitted()
        several = np.flatnonzero(weights["rows"][:, 1] > 0)[-1]
        cut = weights | {"rows": np.delete(weights["rows"], several, axis=0)}
        with pytest.raises(StudyError, match="histories that are not whole"):
            synthesizer.sample(cut, 5, 0, {})

    def test_without_a_number_of_visits_asked_for_are_refused(self) -> None:
        _, public, synthesizer, weights = fitted()
        rows = weights["rows"]
        visits = public.study.table.names.index(VISITS)
        few = weights | {"rows": rows[rows[:, visits] < rows[:, visits].max()]}
        with pytest.raises(StudyError, match="no history of the model has the given number of visits"):
            synthesizer.sample(few, 5, 0, {visits: int(rows[:, visits].max())})


class TestChains:
    def test_expect_tables_that_can_be_worked_out_by_hand(self) -> None:
        _, public, _, _ = fitted()
        schema = public.study.table
        assert isinstance(schema, VisitsSchema)
        columns = HistoryColumns.of(schema, public.domain)
        singles = torch.ones(columns.offsets[-1])
        codes, steps = columns.offsets[-1], columns.step_offsets[-1]
        flat = HistoryPotentials(torch.zeros(codes), torch.zeros(codes, codes), torch.zeros(steps, steps))
        histories = StartingHistories.of(singles, columns, 40, 1)
        chains = HistoryChains(columns, histories.rows, torch.Generator().manual_seed(1), histories.weights)
        sweep = chains.sweep(flat)
        # Each patient weighs one in every table: singles of a column, pairs of two, and steps of two sum to 1.
        start, end = columns.offsets[3:5]
        assert float(sweep.singles[start:end].sum()) == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(sweep.singles[start:end], 1 / 3, atol=1e-5)  # of the three stages
        np.testing.assert_allclose(sweep.pairs[: columns.offsets[1], start:end].sum(), 1.0, atol=1e-4)
        np.testing.assert_allclose(sweep.steps[:3, :3].sum(), 1.0, atol=1e-4)
        np.testing.assert_allclose(sweep.singles[columns.offsets[1] : columns.offsets[2]], 0.25, atol=1e-5)

    def test_of_patients_with_one_visit_are_drawn(self) -> None:
        schema, domain = fitted()[1].study.table, fitted()[1].domain
        assert isinstance(schema, VisitsSchema)
        columns = HistoryColumns.of(schema, domain)
        codes, steps = columns.offsets[-1], columns.step_offsets[-1]
        flat = HistoryPotentials(torch.zeros(codes), torch.zeros(codes, codes), torch.zeros(steps, steps))
        rows = torch.zeros(5, len(domain.sizes)).long()
        rows[:, columns.visits] = 0
        chains = HistoryChains(columns, rows, torch.Generator().manual_seed(1))
        chains.mix(1, columns.free, flat)
        assert chains.rows.shape == rows.shape
