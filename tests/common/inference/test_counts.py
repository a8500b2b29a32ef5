"""Estimates of tables of patients from all released sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from common.errors import StudyError
from common.inference.counts import RunCounts, Table
from common.planning.phases import PAIRS, PublicRun
from tests.testbeds.counted import clinic_frame, counted_run, survival_study
from tests.testbeds.visits import visits_study

EXACT = survival_study()
FRAME = clinic_frame(EXACT)
PUBLIC = counted_run(FRAME, EXACT)
RUN = RunCounts(PUBLIC)


def crossed(run: RunCounts, frame: pd.DataFrame, table: Table, public: PublicRun) -> np.ndarray:
    """The exact table."""
    codes = public.encoder.encode(frame)
    cells = tuple(groups[codes[:, column]] for column, groups in zip(table.columns, table.maps, strict=True))
    return np.bincount(np.ravel_multi_index(cells, table.shape), minlength=int(np.prod(table.shape)))


class TestRun:
    def test_of_visits_is_refused(self) -> None:
        with pytest.raises(StudyError, match="rows of this study are visits"):
            RunCounts(replace(PUBLIC, study=visits_study()))

    def test_without_counts_of_columns_is_refused(self) -> None:
        with pytest.raises(StudyError, match="this run released no counts of columns"):
            RunCounts(replace(PUBLIC, released=PUBLIC.released.only([PAIRS])))

    def test_of_too_large_a_table_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("common.inference.counts.MOST_CELLS", 3)
        with pytest.raises(StudyError, match="cells, more than 3; choose others"):
            RunCounts(PUBLIC).table(("sex", "outcome"))


class TestWithoutNoise:
    def test_columns_are_counted_exactly(self) -> None:
        sex = RUN.column("sex")
        assert sex.counts == pytest.approx([(FRAME["sex"] == label).sum() for label in ("female", "male")], abs=1e-2)
        parts, ages = RUN.parts("age"), RUN.column("age")
        below = parts.highs < 50
        assert ages.counts[below].sum() == pytest.approx((FRAME["age"] < 50).sum(), abs=1e-2)
        assert RUN.patients.counts[0] == pytest.approx(600, abs=1e-2)

    def test_missing_values_are_parts(self) -> None:
        parts = RUN.parts("lab")
        assert parts.is_missing.sum() == 1
        lost = RUN.column("lab").counts[parts.is_missing][0]
        assert lost == pytest.approx(FRAME["lab"].isna().sum(), abs=1e-2)

    @pytest.mark.parametrize(
        "names", [("sex", "outcome"), ("outcome", "age"), ("lab", "sex"), ("age", "outcome", "sex")]
    )
    def test_tables_are_exact(self, names: tuple[str, ...]) -> None:
        public = counted_run(FRAME, EXACT)
        run = RunCounts(public)
        table = run.table(names)
        assert table.counts.counts == pytest.approx(crossed(run, FRAME, table, public), abs=0.05)

    def test_columns_counted_apart_are_refused(self) -> None:
        with pytest.raises(StudyError, match="released no table of 'age' x 'lab' x 'sex'"):
            RUN.table(("age", "lab", "sex"))
        with pytest.raises(StudyError, match="column 'ward' is not in the model"):
            RUN.table(("age", "ward"))
        with pytest.raises(StudyError, match="named twice"):
            RUN.table(("age", "age"))


@pytest.fixture(scope="module")
def noisy() -> PublicRun:
    study = survival_study(3.0)
    return counted_run(clinic_frame(study), study)


@pytest.mark.slow
class TestWithNoise:
    def test_estimates_are_unbiased_with_the_noise_they_say(self, noisy: PublicRun) -> None:
        exact = np.array([(FRAME["outcome"] == label).sum() for label in ("no", "yes")])
        runs = (RunCounts(counted_run(FRAME, noisy.study, seed, noisy.plan)) for seed in range(25))
        found = [run.column("outcome") for run in runs]
        scaled = np.array([(counts.counts - exact) / np.sqrt(np.diag(counts.noise)) for counts in found])
        assert abs(scaled.mean()) < 4 / np.sqrt(50)
        assert 0.6 < scaled.std() < 1.4  # 25 draws of two numbers

    def test_more_tables_say_more(self, noisy: PublicRun) -> None:
        fewer = replace(noisy, released=noisy.released.only([n for n in noisy.released.vectors if n != PAIRS]))
        less, more = (RunCounts(run).column("outcome").noise[0, 0] for run in (fewer, noisy))
        assert more < less

    def test_phases_of_other_patients_are_left_out(self, noisy: PublicRun) -> None:
        vector = noisy.released.vectors[PAIRS]
        doubled = noisy.released.with_phase(PAIRS, vector.counts * 2, vector.asked)
        assert RunCounts(noisy).left_out == ()
        assert RunCounts(replace(noisy, released=doubled)).left_out == (PAIRS,)
