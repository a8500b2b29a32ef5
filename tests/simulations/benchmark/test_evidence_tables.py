from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.benchmark.arms import ARMS
from simulations.benchmark.evidence_tables import PAGE, TABLE_LABELS, filled, lost_to
from simulations.benchmark.questions import QUALITY
from simulations.benchmark.results import COMPARED, Case, ResultsFile

DOCS = Path(__file__).parents[3] / "docs"

MARKS = (*TABLE_LABELS, "wins", "gap", "cost", "shared-noise", "not-run")

SCORES = {"tvd1": 0.1, "tvd2": 0.2, "tvd3": 0.3, "auc_lr": 0.8, "auc_gb": 0.7, "c2st": 0.9}


def test_the_tables_of_the_results_page_are_those_of_the_cases() -> None:
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    results = ResultsFile(DOCS / "evidence" / QUALITY.file)
    assert filled(page, results) == page, "run python -m simulations.benchmark.evidence_tables docs"


@pytest.mark.parametrize("page", ["results.md", "../README.md"])
def test_figures_of_the_summary_are_in_the_tables(page: str) -> None:
    tables = (DOCS / PAGE).read_text(encoding="utf-8")
    figures = set(re.findall(r"\b0\.\d{3}\b", (DOCS / page).read_text(encoding="utf-8")))
    assert len(figures) >= 15
    assert sorted(figure for figure in figures if figure not in tables) == []


def test_evidence_holds_only_arms_that_can_be_run() -> None:
    """Figures of an arm that was removed as faulty do not stay."""
    assert set(ResultsFile(DOCS / "evidence" / QUALITY.file).frame().arm) <= set(ARMS)


def test_cases_measured_before_a_measure_existed_still_load(tmp_path: Path) -> None:
    file = tmp_path / QUALITY.file
    file.write_text("table,arm,epsilon,seed,tvd1,tvd2,tvd3,auc_lr,auc_gb,c2st,seconds\neicu,central,3,0" + ",0.5" * 7)
    row = ResultsFile(file).frame().iloc[0]
    assert row[list(COMPARED)].tolist() == [0.5] * 6
    assert row[["tvd2g", "tvd3g", "spent"]].isna().all()


@pytest.fixture
def results(tmp_path: Path) -> ResultsFile:
    found = ResultsFile(tmp_path / QUALITY.file)
    for seed in (0, 1):
        found.keep(Case("eicu", "central", 3.0, seed), SCORES)
    return found


@pytest.mark.parametrize(
    ("scores", "won"),
    [
        ({}, set()),  # ties are lost
        ({"tvd1": 0.11, "auc_lr": 0.79}, {"tvd1", "auc_lr"}),
        ({"tvd1": 0.09, "auc_lr": 0.81, "c2st": 0.8}, set()),
        ({"c2st": 0.95}, {"c2st"}),
        ({"c2st": 0.05}, {"c2st"}),  # as far from a half on the other side, and further
    ],
)
def test_a_measure_is_won_by_the_better_mean(results: ResultsFile, scores: dict[str, float], won: set[str]) -> None:
    results.keep(Case("eicu", "independent", 3.0, 0), SCORES | scores)
    found = lost_to(results.frame(), "eicu", "independent", 3.0)
    assert found == (tuple(name for name in COMPARED if name not in won), 1)


def test_only_seeds_that_both_have_are_compared(results: ResultsFile) -> None:
    worse = {name: 0.99 if "tvd" in name else 0.5 for name in COMPARED}
    results.keep(Case("eicu", "ctgan", 0.0, 1), SCORES)
    results.keep(Case("eicu", "ctgan", 0.0, 2), worse)
    frame = results.frame()
    # CTGAN has no budget, so it is compared at every epsilon.
    assert lost_to(frame, "eicu", "ctgan", 3.0) == (tuple(COMPARED), 1)
    assert lost_to(frame, "eicu", "ctgan", 10.0) is None
    assert lost_to(frame, "eicu", "mst", 3.0) is None


def test_hand_written_text_stays(results: ResultsFile) -> None:
    page = "".join(f"before {name}\n\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n" for name in MARKS)
    made = filled(page, results)
    assert "old" not in made
    assert made.count("before ") == made.count("after\n") == len(MARKS)
    assert "| **one hospital with all rows** | 3 | 2 | 0.100 ± 0.000 |" in made
    assert filled(made, results) == made


@pytest.mark.parametrize("change", ["<!-- wins -->", "<!-- /wins -->"])
def test_a_page_that_lost_a_mark_is_refused(results: ResultsFile, change: str) -> None:
    page = "".join(f"<!-- {name} --><!-- /{name} -->" for name in MARKS)
    with pytest.raises(StudyError, match="wins"):
        filled(page.replace(change, ""), results)
