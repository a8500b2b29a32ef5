import json
from dataclasses import replace

import pytest

from common.evaluation.report.html import RunSummary
from common.evaluation.report.visits import render_visits, visit_charts
from common.evaluation.statistics.rounds_effect import effect_of
from common.evaluation.visits.analysis import VisitAnalysis
from common.evaluation.visits.evidence import SHOWN_PATIENTS, VisitEvidence, assess_visits
from common.evaluation.visits.measures import VISIT_MEASURES
from tests.testbeds.histories import LAYOUT, STICKY, chain

RUN = RunSummary(
    fingerprint="0" * 64, simulation=True, noise="local", drafted=False, epsilon=3.0, hospitals=(), seconds=75.0,
    peak_memory_mib=512.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def evidence() -> VisitEvidence:
    return assess_visits(VisitAnalysis.of(chain(800), chain(100, seed=1), chain(500, seed=2), LAYOUT))


class TestEvidence:
    def test_every_measure_has_a_value(self, evidence: VisitEvidence) -> None:
        assert evidence.measures.keys() == VISIT_MEASURES.keys()
        assert None not in evidence.measures.values()

    def test_map_shows_the_transition_matrix(self, evidence: VisitEvidence) -> None:
        states = next(one for one in evidence.transitions if one.column == "state")
        order = [states.labels.index(label) for label in "abc"]
        for row, expected in zip(order, STICKY, strict=True):
            assert [states.real[row][column] for column in order] == pytest.approx(expected.tolist(), abs=0.05)
            assert sum(states.synthetic[row]) == pytest.approx(1, abs=1e-3)

    def test_fractions_sum_to_one(self, evidence: VisitEvidence) -> None:
        for distribution in (evidence.lengths, evidence.gaps):
            assert sum(distribution.real) == pytest.approx(1)
            assert sum(distribution.synthetic) == pytest.approx(1)

    def test_courses_begin_at_the_first_visit(self, evidence: VisitEvidence) -> None:
        (courses,) = evidence.courses
        assert courses.column == "sugar"
        assert len(courses.real) == len(courses.synthetic) == SHOWN_PATIENTS
        assert all(line[0][0] == 0 for line in courses.real)

    def test_json_holds_no_single_patient(self, evidence: VisitEvidence) -> None:
        document = json.loads(evidence.to_json())
        assert "courses" not in document
        assert document["train_patients"] == 800

    def test_verdict_is_that_of_the_measures(self, evidence: VisitEvidence) -> None:
        parts = {part.grade for part in evidence.verdict.parts}
        assert evidence.verdict.grade == min(parts, key=["unfit", "care", "close"].index)
        assert json.loads(evidence.to_json())["verdict"]["headline"] == evidence.verdict.headline


class TestRounds:
    def test_the_page_shows_what_they_changed(self, evidence: VisitEvidence) -> None:
        assert evidence.rounds is None
        before: dict[str, float | None] = dict.fromkeys(VISIT_MEASURES, 7.31) | {
            "gaps": None
        }  # a value that nothing else on the page has
        after = {key: None if measured is None else measured.estimate for key, measured in evidence.measures.items()}
        effect = effect_of(before, after, VISIT_MEASURES)
        assert effect.worse == ("next_visit_auroc",)  # 7.31 is better where higher is, and worse elsewhere
        page = render_visits(replace(evidence, rounds=effect), None, title="follow-up").split("<script")[0]
        assert effect.headline in page
        assert page.count("7.310") == len(VISIT_MEASURES) - 1
        assert page.count("<td>not compared</td>") == 1
        assert 'id="rounds"' not in render_visits(evidence, None, title="follow-up")


class TestPage:
    def test_warnings_stand_above_the_verdict(self, evidence: VisitEvidence) -> None:
        page = render_visits(evidence, replace(RUN, warnings=("RULE: <most>",)), title="follow-up")
        assert page.index("RULE: &lt;most&gt;") < page.index(evidence.verdict.headline)

    def test_page_draws_every_chart_and_fetches_nothing(self, evidence: VisitEvidence) -> None:
        page = render_visits(evidence, None, title="follow-up")
        shown = page.split("<script")[0]
        for name in visit_charts(evidence):
            assert f'data-chart="{name}"' in shown
        for measure in VISIT_MEASURES.values():
            assert measure.title in shown
        assert "http" not in shown.replace("http-equiv", "")
        assert "stays at the hospital" in shown
        assert evidence.verdict.headline in shown

    def test_single_visits_have_a_page_without_steps(self) -> None:
        tables = [chain(40, seed=seed).drop_duplicates("patient") for seed in range(3)]
        single = assess_visits(VisitAnalysis.of(tables[0], tables[1], tables[2], LAYOUT))
        assert single.measures["transition_error"] is None
        assert "n/a" in render_visits(single, None, title="follow-up")
