from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.columns.value_grid import ValueGrid
from common.evaluation.assessment import Assessment, assess
from common.evaluation.fidelity import sdmetrics_scores as library
from common.evaluation.fidelity.distances import Distances
from common.evaluation.fidelity.distributions import ColumnFidelity, category_groups, histogram_edges
from common.evaluation.measures.registry import CORE_MEASURES
from common.evaluation.measures.verdict import judge
from common.evaluation.report.charts import column_chart, plain
from common.evaluation.report.html import HospitalRun, RunSummary, changed_pairs, duration, in_bytes, render
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.evaluation.statistics.handling import HANDLING
from common.evaluation.statistics.resampling import certain
from common.evaluation.statistics.rounds_effect import RoundsEffect
from common.evaluation.statistics.values import labels
from common.study.rules import Rule
from common.study.schema import Schema

pytestmark = pytest.mark.usefixtures("quick_learners")

HOSTILE = "<script>alert('age')</script>"
EXTREME = 98765.0  # digits that no other number has by chance
TITLE = "heart <study>"

SCHEMA = Schema(
    columns=(
        Numeric(name=HOSTILE, lower=0, upper=100_000, unit="years", missing=True),
        Categorical(name="sex", categories=("female", "</script><b>male</b>")),
        Categorical(name="ill", categories=("no", "yes"), missing=True),
        Numeric(name="score", lower=0, upper=3),
    )
)

RUN = RunSummary(
    fingerprint="0" * 64,
    simulation=True,
    noise="local",
    drafted=False,
    epsilon=3.0,
    hospitals=(
        HospitalRun("north", declared_rows=1200, epsilon=2.5, delta=1e-5, traffic_bytes=3 << 20),
        HospitalRun("south", declared_rows=90, epsilon=3.2, delta=1e-5, traffic_bytes=800),
    ),
    seconds=75.0,
    peak_memory_mib=512.3,
    phases={"enroll": 0.5, "rounds": 60.0},
    versions={"fedsynth": "0.1.0"},
)


def patients(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 80, rows).astype(float)
    ill = np.where(age + rng.normal(0, 10, rows) > 50, "yes", "no").astype(object)
    age[1], ill[2] = np.nan, None
    sex = rng.choice(["female", "</script><b>male</b>"], rows).astype(object)
    return pd.DataFrame({HOSTILE: age, "sex": sex, "ill": ill, "score": rng.integers(0, 4, rows).astype(float)})


@pytest.fixture(scope="module")
def evidence() -> Assessment:
    train = patients(150, 0)
    train.loc[0, HOSTILE] = EXTREME
    return assess(EvaluationData(train, patients(80, 1), patients(120, 2), SCHEMA, "ill"))


@pytest.fixture(scope="module")
def page(evidence: Assessment) -> str:
    return without_plotly(render(evidence, RUN, title=TITLE))


def without_plotly(page: str) -> str:
    assert get_plotlyjs() in page
    return page.replace(get_plotlyjs(), "")


class TestRounds:
    def test_both_tables_and_the_note_are_shown(self, evidence: Assessment) -> None:
        before = dict.fromkeys(CORE_MEASURES, 7.31) | {"auc_lr": None}  # a value that nothing else on the page has
        effect = RoundsEffect(before, better=("tvd2",), worse=("c2st",), headline="It is <so>.")
        run = replace(RUN, rounds_note="15 rounds took 13% of the budget.")
        page = without_plotly(render(replace(evidence, rounds=effect), run, title=TITLE))
        assert '<section id="rounds">' in page
        assert "It is &lt;so&gt;." in page
        assert "15 rounds took 13% of the budget." in page
        assert page.count("7.310") == len(CORE_MEASURES) - 1
        assert (page.count("<td>better</td>"), page.count("<td>worse</td>")) == (1, 1)
        assert page.count("<td>not compared</td>") == 1

    def test_a_run_without_rounds_says_nothing_of_them(self, page: str) -> None:
        assert 'id="rounds"' not in page
        assert 'data-to="rounds"' not in page


def test_names_cannot_smuggle_markup_into_the_page(page: str) -> None:
    assert "<script>alert" not in page
    assert "<b>male" not in page
    assert "heart <study>" not in page
    assert page.count("<script") == page.count("</script") == 3
    assert "&lt;script&gt;alert(&#39;age&#39;)&lt;/script&gt;" in page


def test_a_chart_shows_a_name_literally() -> None:
    assert plain("<b>x</b> & y", None) == "&lt;b&gt;x&lt;/b&gt; &amp; y"
    assert plain("a name that is far too long for an axis") == "a name that is far …"


def test_the_page_asks_no_server_for_anything(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|\bsrc=|\bhref=|@import|url\(|<link|<iframe|fetch\(", page)


def test_no_single_patient_can_be_read_off(page: str, evidence: Assessment) -> None:
    assert "98765" not in page
    assert "98765" not in evidence.to_json()


def test_every_chart_on_the_page_has_its_figure(page: str) -> None:
    found = re.search(r'id="charts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    assert set(json.loads(found[1])) == set(re.findall(r'data-chart="([^"]+)"', page))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (RUN, "its noise is seeded and therefore predictable; it protects no patient"),
        (replace(RUN, noise="none"), "No noise: this run protects no patient."),
        (replace(RUN, drafted=True), "The schema was drafted from records."),
        (replace(RUN, simulation=False), f"This report {HANDLING}."),
    ],
)
def test_a_banner_says_what_is_not_protected(evidence: Assessment, facts: RunSummary, words: str) -> None:
    calm = without_plotly(render(evidence, replace(RUN, simulation=facts is not RUN and facts.simulation), title=TITLE))
    assert words in without_plotly(render(evidence, facts, title=TITLE))
    assert facts is not RUN or words not in calm


def test_a_table_of_unknown_making_gets_no_claim_about_privacy(evidence: Assessment) -> None:
    shown = without_plotly(render(evidence, None, title=TITLE))
    assert f"This report {HANDLING}." in shown
    assert "Privacy spent" not in shown
    assert "What it took" not in shown


def test_without_noise_no_epsilon_is_shown(evidence: Assessment, page: str) -> None:
    shown = without_plotly(render(evidence, replace(RUN, noise="none"), title=TITLE))
    assert "2.50" in page
    assert "2.50" not in shown
    assert shown.count("no limit") == 2


def test_an_epsilon_above_the_limit_of_the_study_stands_out(page: str) -> None:
    assert page.count('class="fill over"') == 1  # south: 3.2 of 3.0


def test_the_verdict_comes_before_every_number(page: str, evidence: Assessment) -> None:
    assert page.index(evidence.verdict.headline) < page.index("Key numbers")


def test_json_has_the_documented_keys(evidence: Assessment) -> None:
    stored = json.loads(evidence.to_json())
    manual = (Path(__file__).parents[4] / "docs" / "report.md").read_text()
    assert set(stored) == {"version", "handling", *(field.name for field in fields(Assessment))}
    for key in (*stored, *stored["columns"][0], *stored["verdict"]):
        assert f"`{key}`" in manual


def test_render_says_when_sdmetrics_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, evidence: Assessment, page: str
) -> None:
    assert evidence.sdmetrics is not None
    assert f"SDMetrics {evidence.sdmetrics.version} gives no intervals" in page
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    found = assess(EvaluationData(patients(60, 0), patients(60, 1), patients(60, 2), SCHEMA, "ill"))
    assert found.sdmetrics is None
    assert found.measures["quality"] is found.measures["diagnostic"] is None
    assert "the extra <code>sdmetrics</code> adds its two reports" in render(found, RUN, title=TITLE)


def test_a_continuous_target_is_explained_instead_of_scored() -> None:
    schema = Schema(
        columns=(Numeric(name="age", lower=0, upper=100), Categorical(name="ill", categories=("no", "yes")))
    )
    table = patients(60, 0).rename(columns={HOSTILE: "age"})[["age", "ill"]]
    found = assess(EvaluationData(table, table, table, schema, "age"))
    assert found.measures["auc_lr"] is None
    page = render(found, RUN, title=TITLE)
    assert "only classes can be predicted" in page
    assert 'data-chart="prediction"' not in page


NUMBERS = (Numeric(name="age", lower=0, upper=100), Numeric(name="lab", lower=0, upper=100, missing=True))
LABELS = (Categorical(name="sex", categories=("f", "m")), Categorical(name="ill", categories=("no", "yes")))


def drawn(columns: tuple[Numeric | Categorical, ...], rows: int, seed: int) -> pd.DataFrame:
    """Rows of independent columns."""
    rng = np.random.default_rng(seed)
    cells: dict[str, object] = {}
    for column in columns:
        if isinstance(column, Categorical):
            cells[column.name] = rng.choice(np.array(column.categories, dtype=object), rows)
        else:
            cells[column.name] = rng.integers(0, 101, rows).astype(float)
    return pd.DataFrame(cells)


@pytest.mark.parametrize("rows", [(60, 25, 60), (60, 1, 60), (60, 0, 60), (60, 25, 1), (2, 2, 2)])
@pytest.mark.parametrize(
    "columns",
    [
        LABELS,
        NUMBERS,
        pytest.param((NUMBERS[0], LABELS[1]), marks=pytest.mark.slow),
        pytest.param((LABELS[0], NUMBERS[0]), marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_small_table_has_a_report(
    columns: tuple[Numeric | Categorical, ...], rows: tuple[int, int, int]
) -> None:
    """Labels alone, numbers alone, a numeric target, few rows: what cannot be measured is left out, nothing fails."""
    train, holdout, synthetic = (drawn(columns, count, seed) for seed, count in enumerate(rows))
    schema = Schema(columns=columns)
    found = assess(EvaluationData(train, holdout, synthetic, schema, columns[-1].name, sensitive=(columns[0].name,)))
    assert found.measures["tvd2"] is not None
    assert bool(found.privacy.attacks) == (rows == (60, 25, 60))
    assert bool(found.privacy.attacks) or "Attacks need" in found.privacy.notes[0]
    assert TITLE.split()[0] in render(found, RUN, title=TITLE)


@pytest.mark.parametrize(
    "columns", [(*NUMBERS, *LABELS), pytest.param((NUMBERS[1], LABELS[1]), marks=pytest.mark.slow)]
)
def test_a_column_without_any_value_is_evaluated(columns: tuple[Numeric | Categorical, ...]) -> None:
    """Of two columns it is the only one that a prediction could rest on."""
    train, holdout, synthetic = (drawn(columns, 60, seed) for seed in range(3))
    for real, made in ((train.assign(lab=np.nan), synthetic), (train, synthetic.assign(lab=np.nan))):
        data = EvaluationData(real, holdout, made, Schema(columns=columns), "ill")
        render(assess(data), RUN, title=TITLE)


def test_survival_without_other_columns_has_curves_only() -> None:
    columns = (NUMBERS[0], LABELS[1])
    train, holdout, synthetic = (drawn(columns, 60, seed) for seed in range(3))
    found = assess(EvaluationData(train, holdout, synthetic, Schema(columns=columns), "ill", time="age"))
    assert found.survival is not None
    assert found.survival.concordance_synthetic is None
    render(found, RUN, title=TITLE)


VALUES = {"tvd2": 0.06, "auc_lr": 0.90, "auc_gb": 0.88}
REAL = {"auc_lr": 0.92, "auc_gb": 0.90}


@pytest.mark.parametrize(
    ("change", "real", "grade"),
    [
        ({}, REAL, "close"),
        ({"tvd2": 0.10}, REAL, "care"),  # 0.10 - 0.04 is above 0.05
        ({"tvd2": 0.30}, REAL, "unfit"),
        ({"auc_gb": 0.80}, REAL, "care"),  # keeps 0.30 of 0.40, three quarters
        ({"auc_gb": 0.55}, REAL, "unfit"),  # the other learner does not excuse it
        ({"auc_lr": 0.52, "auc_gb": 0.51}, {"auc_lr": 0.55, "auc_gb": 0.56}, "care"),  # nothing there to be learnt
        ({"auc_lr": None, "auc_gb": None}, {"auc_lr": None, "auc_gb": None}, "care"),
    ],
)
def test_a_verdict_is_as_good_as_its_worst_finding(
    change: dict[str, float | None], real: dict[str, float | None], grade: str
) -> None:
    assert judge(VALUES | change, {"tvd2": 0.04} | real).grade == grade


def test_a_histogram_has_whole_steps_and_no_value_on_an_edge() -> None:
    ages = np.repeat(np.arange(20.0, 71.0), 2)  # the middle 98 % of 102 patients: 20 to 70, 51 values
    edges = histogram_edges(ValueGrid(0, 1000, 0), ages)
    assert edges == tuple(19.5 + 3 * place for place in range(18))  # ceil(51 / 24) = 3 years, 17 bins
    empty = np.array([np.nan])
    assert histogram_edges(ValueGrid(0, 2, 0), empty) == (-0.5, 0.5, 1.5, 2.5)


def test_fractions_count_every_row_once(evidence: Assessment) -> None:
    for column in evidence.columns:
        assert sum(column.real) + column.missing_real == pytest.approx(1, abs=0.005)
        assert sum(column.synthetic) + column.missing_synthetic == pytest.approx(1, abs=0.005)


def test_category_groups_keep_common_labels_in_schema_order() -> None:
    column = Categorical(name="ward", categories=tuple(f"w{place}" for place in range(20)))
    real = labels(pd.Series([f"w{place}" for place in range(5, 20) for _ in range(2)]))
    groups = category_groups(column.labels, real)
    assert list(groups) == [*(f"w{place}" for place in range(5, 20)), "5 others"]


def test_a_column_with_a_single_value_has_a_chart() -> None:
    distances = Distances(None, None, certain(0.5, 1))
    flat = ColumnFidelity("x", "numeric", None, None, 1.0, (-0.5, 0.5), (), (0.5,), (1.0,), 0.5, 0.0, distances)
    assert list(column_chart(flat)["layout"]["xaxis"]["ticktext"]) == ["0", "missing"]


def test_the_pairs_that_changed_most_come_first(evidence: Assessment) -> None:
    changes = [abs(pair.change.value) for pair in changed_pairs(evidence)]
    assert changes == sorted(changes, reverse=True)
    assert len(changes) == 6  # 4 columns have 6 pairs


def test_amounts_read_as_people_write_them() -> None:
    assert [in_bytes(count) for count in (0, 1023, 1536, 3 << 20)] == ["0 B", "1023 B", "1.5 KiB", "3.0 MiB"]
    assert [duration(seconds) for seconds in (0.25, 75, 3700)] == ["0.2 s", "1 min 15 s", "1 h 01 min"]


def test_an_epsilon_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="epsilon=-1"):
        HospitalRun("north", declared_rows=1, epsilon=-1.0, delta=1e-5, traffic_bytes=0)


def test_render_shows_rules_hospitals_groups_and_survival() -> None:
    schema = Schema(
        columns=(
            Numeric(name="age", lower=0, upper=100),
            Numeric(name="days", lower=0, upper=999),
            Categorical(name="sex", categories=("female", "male")),
            Categorical(name="died", categories=("no", "yes")),
        )
    )

    def cohort(seed: int, rows: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        age, days = rng.integers(20, 90, rows).astype(float), rng.integers(1, 900, rows).astype(float)
        died = np.where(age + rng.normal(0, 20, rows) > 60, "yes", "no").astype(object)
        return pd.DataFrame({"age": age, "days": days, "sex": rng.choice(["female", "male"], rows), "died": died})

    owners = HospitalLabels(
        np.repeat(["north", "south"], 80).astype(object), np.repeat(["north", "south"], 60).astype(object)
    )
    data = EvaluationData(
        cohort(0, 160),
        cohort(1, 120),
        cohort(2, 150),
        schema,
        target="died",
        time="days",
        rules=(Rule(left="age", relation="<=", right="days"),),
        sensitive=("sex",),
        hospitals=owners,
        epsilon=3.0,
        delta=1e-5,
    )
    found = assess(data)
    facts = replace(RUN, hospitals=(replace(RUN.hospitals[0], released=("histograms: noisy counts",)),))
    shown = without_plotly(render(found, facts, title=TITLE))
    for words in ("age &lt;= days", "Hospital by hospital", "Time until “yes”", "By sex", "histograms: noisy counts"):
        assert words in shown
    for chart in ("survival", "hospital-pairs", "hospital-prediction", "fair-0-0", "membership", "risks"):
        assert f'data-chart="{chart}"' in shown
    figures = re.search(r'id="charts">(.*?)</script>', shown, re.DOTALL)
    assert figures is not None
    assert set(json.loads(figures[1])) == set(re.findall(r'data-chart="([^"]+)"', shown))


def test_an_attack_that_works_is_said_at_the_top(evidence: Assessment, page: str) -> None:
    leaky = replace(evidence, privacy=replace(evidence.privacy, is_flagged=True))
    shown = without_plotly(render(leaky, RUN, title=TITLE))
    assert "Do not share it." not in page
    assert shown.index("Do not share it.") < shown.index(evidence.verdict.headline)


class TestPrivateEvaluation:
    def test_its_figures_are_on_the_page(self, evidence: Assessment, page: str) -> None:
        estimate = {"value": 0.1234, "low": 0.05, "high": 0.2, "size": 90, "level": 0.95}
        document = {
            "patients": 91, "noise": 7.0, "noise_of_predictions": 3.5, "tables1": 4, "tables2": 6, "tvd1": estimate,
            "tvd2": estimate | {"high": 0.9}, "columns": {"<b>age</b>": estimate}, "prediction": None,
        }  # fmt: skip
        shown = without_plotly(render(evidence, replace(RUN, evaluation=document), title=TITLE))
        assert '<section id="evaluation">' in shown
        assert "Measured at the hospitals under differential privacy" in shown
        assert "About 91 held-out patients were counted" in shown
        assert "0.123" in shown
        assert "hidden by noise" in shown
        assert "<b>age" not in shown
        assert 'id="evaluation"' not in page
