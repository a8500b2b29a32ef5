"""Large tables are measured on samples, and the report says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.fidelity import distances, marginals
from common.evaluation.fidelity.marginals import mean_tvd, part_distances, tvd_estimate
from common.evaluation.fidelity.sdmetrics_scores import MOST_SCORED
from common.evaluation.fidelity.two_sample_test import tell_apart
from common.evaluation.measures import sampling
from common.evaluation.measures.analysis import Analysis
from common.evaluation.measures.sampling import sampling_notes
from common.evaluation.statistics.codes import encode
from common.evaluation.statistics.data import EvaluationData, HospitalLabels
from common.evaluation.statistics.resampling import MOST_FITTED, narrowing, sampled_rows
from common.study.schema import Schema

SCHEMA = Schema(
    columns=(
        Numeric(name="age", lower=0, upper=100),
        Categorical(name="sex", categories=("f", "m")),
        Categorical(name="ill", categories=("no", "yes")),
    )
)


def patients(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(0, 100, rows).astype(float),
            "sex": rng.choice(["f", "m"], rows, p=[0.5 + seed / 10, 0.5 - seed / 10]),
            "ill": rng.choice(["no", "yes"], rows),
        }
    )


def data_of(rows: int) -> EvaluationData:
    return EvaluationData(patients(rows, 0), patients(100, 1), patients(rows, 1), SCHEMA, target="ill")


class TestNotes:
    def test_small_tables_have_none(self) -> None:
        assert sampling_notes(data_of(MOST_SCORED)) == ()

    def test_large_tables_say_on_how_many_rows(self) -> None:
        notes = sampling_notes(data_of(MOST_FITTED + 1))
        assert sum("50,000 rows" in note and "auc_lr" in note and "c2st" in note for note in notes) == 1
        assert sum("20,000 rows" in note and "all rows" in note and "tvd3g" in note for note in notes) == 1
        assert sum("4,000 rows" in note and "coverage" in note for note in notes) == 1
        assert sum("attacks are tried on at most 1,999 patients" in note for note in notes) == 1

    def test_wide_tables_say_which_pairs_of_columns(self) -> None:
        columns = tuple(Categorical(name=f"c{index}", categories=("f", "m")) for index in range(50))
        table = pd.DataFrame({column.name: ["f", "m"] for column in columns})
        notes = sampling_notes(EvaluationData(table, table, table, Schema(columns=columns), target="c0"))
        assert notes == (
            "Of 1,225 pairs of columns the 1,000 that changed most are listed; means are over all pairs.",
            "SDMetrics (quality) scores all 50 columns, and the pairs of columns within 3 fixed random groups.",
        )


def test_two_sample_test_uses_a_sample_of_large_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.evaluation.fidelity.two_sample_test.MOST_FITTED", 100)
    tested = tell_apart(patients(1000, 0), patients(1000, 1))
    assert tested is not None
    assert 20 < len(tested.is_synthetic) < 100  # three in ten of 200


def test_learners_are_compared_on_a_sample_of_many_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    names = np.array(["north", "south"], dtype=object)
    owners = HospitalLabels(names[np.arange(400) % 2], names[np.arange(100) % 2])
    monkeypatch.setattr("common.evaluation.utility.train_on_synthetic.MOST_TESTED", 60)
    analysis = Analysis(replace(data_of(400), hospitals=owners))
    core, compared, prediction = analysis.core_predictions, analysis.predictions, analysis.prediction
    assert core is not None
    assert compared is not None
    assert prediction is not None
    assert (len(core.truth), len(compared.truth), prediction.patients) == (100, 60, 60)
    assert compared.truth.tolist() == core.truth[compared.rows].tolist()
    for learner in ("lr", "gb"):
        kept = core.synthetic[learner].probabilities[compared.rows]
        assert compared.synthetic[learner].probabilities.tolist() == kept.tolist()
    assert {len(side["rf"].probabilities) for side in (compared.real, compared.synthetic)} == {60}
    assert sum(hospital.patients for hospital in prediction.hospitals) == 100


def test_many_patients_are_named_in_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_TESTED", 60)
    assert any("compared on 60 held-out patients" in note for note in sampling_notes(data_of(MOST_SCORED + 1)))


def test_distance_of_a_large_table_is_that_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = encode(patients(4000, 0), patients(4000, 1))
    whole = tvd_estimate([codes], 2)
    monkeypatch.setattr(marginals, "MOST_ROWS", 1000)
    sampled = tvd_estimate([codes], 2)
    assert whole is not None
    assert sampled is not None
    assert sampled.value == whole.value == pytest.approx(mean_tvd(codes, 2))
    assert sampled.high - sampled.value == pytest.approx(whole.high - whole.value, rel=0.5)


def test_part_of_a_large_table_has_the_distance_of_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = encode(patients(4000, 0), patients(3000, 1))
    parts = [np.arange(3000), np.arange(3000, 4000)]
    whole = part_distances(codes, parts, 1)
    own = encode(patients(4000, 0).iloc[parts[0]], patients(3000, 1), numeric={"age"})
    assert whole[0].synthetic.value == pytest.approx(mean_tvd(own, 1), abs=0.01)  # the bins differ a little
    monkeypatch.setattr(marginals, "MOST_ROWS", 1000)
    for part, sampled in zip(whole, part_distances(codes, parts, 1), strict=True):
        assert sampled.synthetic.value == part.synthetic.value
        assert sampled.pooled.value == part.pooled.value
        width = part.pooled.high - part.pooled.value
        assert sampled.pooled.high - sampled.pooled.value == pytest.approx(width, rel=0.5)


def test_column_of_a_large_table_has_the_distances_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=4000), rng.normal(0.3, 1, size=4000)
    whole = distances.number_distances(real, synthetic, 1.0, distances.Resampled(4000, 4000))
    monkeypatch.setattr(distances, "MOST_ROWS", 1000)
    sampled = distances.number_distances(real, synthetic, 1.0, distances.Resampled(4000, 4000))
    for before, after in zip(whole, sampled, strict=True):
        assert after.value == before.value
        assert after.high - after.value == pytest.approx(before.high - before.value, rel=0.5)


def test_a_sample_is_fixed_by_its_name() -> None:
    assert sampled_rows(5, 9, "a").tolist() == [0, 1, 2, 3, 4]
    assert sampled_rows(1000, 5, "a").tolist() == sampled_rows(1000, 5, "a").tolist()
    assert sampled_rows(1000, 5, "a").tolist() != sampled_rows(1000, 5, "b").tolist()


def test_narrowing_is_the_square_root_of_the_largest_fraction() -> None:
    assert narrowing((100, 400)) == 0.5
    assert narrowing((100, 400), (100, 100)) == 1.0
