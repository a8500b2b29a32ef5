from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.arrays import Integers
from common.columns.base import Codes
from common.errors import StudyError, WireError
from common.ledger.slot import Slot
from common.marginals.queries import Query
from common.marginals.released import NOTHING_ASKED, Asked
from common.marginals.vote_scores import ScoredSet
from common.marginals.votes import MOST_CANDIDATES, count_votes, sizes
from common.planning.phases import COARSE_TRIPLES, PAIRS, TRIPLES, VOTES, PublicRun, Shape, vector_phase
from common.planning.plan import PlannedVector
from common.planning.planner import make_plan
from common.planning.sizing import MOST_VOTED, VOTES_FROM, Outlook, choose_votes
from common.planning.votes import FOR_CANDIDATES, MODEL_ROWS, released_votes
from common.study.study import Study
from tests.testbeds.clinic import clinic_study
from tests.testbeds.marginals import random_codes
from tests.testbeds.voting import ASKED, CANDIDATES, FACTS, draw_uniform, never_drawn, voting_run, voting_study

PHASE = vector_phase(VOTES)

SEEN = 16 * VOTES_FROM
"""The signal-to-noise ratio from which patients of a clinic with four columns vote."""


def binary_study(columns: int) -> Study:
    """A study of columns with two labels each."""
    names = ["outcome", *(f"c{number}" for number in range(columns - 1))]
    columns_of = [{"kind": "categorical", "name": name, "categories": ["no", "yes"]} for name in names]
    return clinic_study(training={"rounds": 0}, schema={"columns": columns_of}, evaluation={"sensitive": []})


def up_to(public: PublicRun, *phases: str) -> PublicRun:
    return replace(public, released=public.released.only(phases))


class TestPlan:
    def test_votes_come_between_pairs_and_triples(self) -> None:
        plan = make_plan(voting_study())
        assert plan.phases == ("histograms", "coarse", PAIRS, VOTES, COARSE_TRIPLES)
        assert plan.vector(VOTES) == PlannedVector.unweighted(VOTES, 1, 4)

    @pytest.mark.parametrize("unit", ["patient", "record"])
    def test_consent_says_what_a_vote_is(self, unit: str) -> None:
        study = voting_study(privacy={"unit": unit})
        plan = make_plan(study)
        sigma = plan.sigma(plan.hospitals[0], VOTES)
        assert PHASE.sentences(study, plan, plan.hospitals[0]) == [
            f"- noisy counts of {unit}s by which of up to 4000 rows that the coordinator made up is most like them: a "
            f"{unit} is in one of them; each count is off by about {sigma:.3g} {unit}s"
        ]

    @pytest.mark.parametrize(
        ("votes", "sets", "groups"),
        [
            (True, "sets of three and four columns", "8 groups each, of four columns in 4 groups each"),
            (False, "triples of columns", "8 groups each"),
        ],
    )
    def test_consent_and_titles_name_sets_of_four(self, votes: bool, sets: str, groups: str) -> None:
        study, phase = voting_study(synthesizer={"votes": votes}), vector_phase(COARSE_TRIPLES)
        plan = make_plan(study)
        (sentence,) = phase.sentences(study, plan, plan.hospitals[0])
        assert sentence.startswith(
            f"- noisy counts of patients by {sets} in {groups}: up to 2 tables, which the coordinator chooses; each "
        )
        assert phase.title_in(plan) == f"{sets} in groups"
        assert Slot("f", "run-1", COARSE_TRIPLES).words(plan) == f"{sets} in groups"
        assert phase.title_in(None) == "sets of columns in groups"

    @pytest.mark.parametrize(
        ("settings", "ratio", "votes"),
        [
            ({}, SEEN, True),
            ({}, SEEN - 1, False),
            ({"votes": True}, 1.0, True),
            ({"votes": False}, SEEN, False),
            ({"triples": 0}, SEEN, False),
            ({"triples": 0, "votes": True}, SEEN, False),
            ({"independent": True, "votes": True}, SEEN, False),
            ({"kind": "marginal-gan"}, SEEN, False),
        ],
        ids=range(8),
    )
    def test_patients_vote_where_it_shows_something(
        self, settings: dict[str, object], ratio: float, votes: bool
    ) -> None:
        study = clinic_study(synthesizer={"kind": "maximum-entropy"}, training={"rounds": 0})
        study = study.amended(synthesizer={"triples": 2, **settings})
        assert choose_votes(study, Outlook(ratio, 16, 64)).is_taken == votes

    @pytest.mark.parametrize(("columns", "votes"), [(3, False), (4, True), (MOST_VOTED, True), (MOST_VOTED + 1, False)])
    def test_number_of_columns_decides_too(self, columns: int, votes: bool) -> None:
        study = binary_study(columns).amended(synthesizer={"kind": "maximum-entropy", "votes": True, "triples": 2})
        assert choose_votes(study, Outlook(1e6, 16, 64)).is_taken == votes

    def test_a_gan_has_no_votes(self) -> None:
        with pytest.raises(StudyError, match="votes"):
            clinic_study(synthesizer={"votes": True})


class TestAsk:
    def test_candidates_are_rows_of_the_model(self) -> None:
        public = up_to(voting_run(), "histograms", "coarse", PAIRS)
        asked = PHASE.ask(public, draw_uniform)
        candidates = asked.candidates.reshape(-1, 4)
        most = int(np.prod(sizes(public.domain)))
        assert len(candidates) == min(MOST_CANDIDATES, most)
        assert len(np.unique(candidates, axis=0)) == len(candidates)
        assert not len(asked.columns)
        assert not len(asked.weights)
        assert PHASE.shape(public, asked) == Shape(len(candidates), 1)

    def test_rows_that_expect_votes_are_no_candidates(self) -> None:
        """What votes are expected of must not be what was chosen: its own rows are too near."""
        public, drawn = voting_run(), []

        def draw(public: PublicRun, rows: int) -> Codes:
            drawn.append(rows)
            return draw_uniform(public, rows)

        votes = released_votes(public, draw)
        assert votes is not None
        assert drawn == [MODEL_ROWS]
        others = draw_uniform(public, MODEL_ROWS)[FOR_CANDIDATES:]
        assert votes.expected.tolist() == count_votes(others, CANDIDATES, public.domain).tolist()
        assert votes.sigma == public.plan.total_deviation(VOTES)

    def test_a_run_without_votes_draws_no_rows(self) -> None:
        assert released_votes(up_to(voting_run(), "histograms"), never_drawn) is None


class TestShape:
    @pytest.mark.parametrize(
        "asked",
        [
            NOTHING_ASKED,
            Asked(candidates=CANDIDATES.ravel()[1:]),
            Asked(candidates=np.zeros(4 * (MOST_CANDIDATES + 1), dtype=np.int64)),
            Asked(candidates=np.array([0, 0, 2, 0])),
            Asked(candidates=np.array([0, 0, 0, -1])),
            Asked(np.array([0, 1]), candidates=CANDIDATES.ravel()),
            Asked(weights=np.array([72]), candidates=CANDIDATES.ravel()),
        ],
        ids=range(7),
    )
    def test_other_candidates_are_refused(self, asked: Asked) -> None:
        with pytest.raises(WireError):
            PHASE.shape(voting_run(), asked)

    @pytest.mark.parametrize("name", ["histograms", "coarse", PAIRS, COARSE_TRIPLES])
    def test_candidates_of_other_phases_are_refused(self, name: str) -> None:
        asked = replace(ASKED.get(name, NOTHING_ASKED), candidates=CANDIDATES.ravel())
        with pytest.raises(WireError, match="patients do not vote in this phase"):
            vector_phase(name).shape(voting_run(), asked)

    def test_a_plan_without_votes_has_none(self) -> None:
        study = voting_study(synthesizer={"votes": False})
        public = replace(voting_run(), plan=make_plan(study))
        with pytest.raises(WireError, match="the plan has no vector 'votes'"):
            PHASE.shape(public, ASKED[VOTES])


class TestSetsOfFour:
    def test_are_tables_in_half_as_many_groups(self) -> None:
        public = voting_run()
        _, triple, four = vector_phase(COARSE_TRIPLES).queries(public, ASKED[COARSE_TRIPLES])
        assert triple == Query((0, 1, 3), 8, weight=66, is_centered=True)
        assert four == Query((0, 1, 2, 3), 4, weight=60, is_centered=True)

    def test_without_votes_are_refused(self) -> None:
        study = voting_study(synthesizer={"votes": False})
        public = replace(voting_run(), plan=make_plan(study))
        with pytest.raises(WireError):
            vector_phase(COARSE_TRIPLES).shape(public, ASKED[COARSE_TRIPLES])

    def test_are_asked_for_where_votes_show_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = (ScoredSet((0, 1, 2, 3), 9.0),)
        monkeypatch.setattr("common.planning.phases.choose_sets", lambda votes, most: found)
        public = up_to(voting_run(), "histograms", "coarse", PAIRS, VOTES)
        asked = vector_phase(COARSE_TRIPLES).ask(public, draw_uniform)
        tables = asked.columns.reshape(-1, 4).tolist()
        assert len(tables) == 2
        assert [0, 1, 2, 3] in tables
        shape = vector_phase(COARSE_TRIPLES).shape(public, asked)
        assert shape.squared_sensitivity <= public.planned(COARSE_TRIPLES).squared_sensitivity

    def test_can_be_counted_again(self) -> None:
        study = voting_study(privacy={"noise": "none"})
        plan = make_plan(study)
        assert plan.phases[-1] == TRIPLES
        again = vector_phase(TRIPLES).queries(
            replace(voting_run(), study=study, plan=plan), Asked(np.array([0, 1, 2, 3, 0, 1, 3, -1]))
        )
        assert [(query.columns, query.groups) for query in again] == [((0, 1, 2, 3), 8), ((0, 1, 3), 16)]

    def test_their_cells_are_planned_for(self) -> None:
        public = voting_run()
        planned = public.planned(COARSE_TRIPLES)
        largest = vector_phase(COARSE_TRIPLES).largest(public.study, public.plan, planned)
        cells = public.domain.cells([Query((0, 1, 2, 3), 4), Query((0, 1, 3), 8)])
        assert sum(size for size, _ in largest) >= cells

    @pytest.mark.parametrize(
        ("settings", "largest"),
        [
            ({"kind": "maximum-entropy", "votes": True}, [16, 16]),  # 2^4 cells
            ({"kind": "maximum-entropy"}, [8, 8]),
            ({"kind": "marginal-gan"}, [8, 8]),
        ],
        ids=range(3),
    )
    def test_are_planned_for_only_where_patients_vote(self, settings: dict[str, object], largest: list[int]) -> None:
        study = binary_study(5).amended(synthesizer={"pairs": 2, "triples": 2, **settings}).with_hospitals(FACTS)
        plan = make_plan(study)
        planned = plan.vector(COARSE_TRIPLES)
        assert planned is not None
        tables = vector_phase(COARSE_TRIPLES).largest(study, plan, planned)
        assert [cells for cells, _ in tables] == largest


class Rows:
    """Records that are codes already."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes

    def histograms(self, cells: int) -> Integers:
        raise AssertionError("votes need no histograms")

    def encoded(self, public: PublicRun) -> Codes:
        return self.codes

    def held_out(self, public: PublicRun) -> Codes:
        raise AssertionError("held-out patients do not vote")


@pytest.mark.parametrize("position", [0, 57, 100])
def test_one_patient_changes_one_count_of_votes(position: int) -> None:
    public = voting_run()
    codes = random_codes(100, public.domain)
    before = PHASE.answer(public, ASKED[VOTES], Rows(codes))
    for patient in random_codes(20, public.domain, seed=3):
        after = PHASE.answer(public, ASKED[VOTES], Rows(np.insert(codes, position, patient, axis=0)))
        assert sorted((after - before).tolist()) == [*[0] * (len(CANDIDATES) - 1), 1]


def test_votes_are_no_measurements() -> None:
    study: Study = voting_study()
    assert vector_phase(VOTES).queries(voting_run(), ASKED[VOTES]) == ()
    assert study.synthesizer.takes_votes
