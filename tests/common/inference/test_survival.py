"""Survival curves and the log-rank test from released tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import CensoredData, logrank

from common.errors import StudyError
from common.evaluation.utility.survival import kaplan_meier
from common.inference.counts import RunCounts
from common.inference.log_rank import Intervals, _exposures, log_rank_test
from common.inference.noisy import NoisyCounts
from common.inference.survival import SurvivalOutcome, survival_curves
from common.planning.phases import COARSE, COARSE_TRIPLES, HISTOGRAMS
from tests.testbeds.clinic import clinic_table
from tests.testbeds.counted import clinic_frame, counted_run, survival_study, wards_run

STUDY = survival_study()
FRAME = clinic_frame(STUDY)
RUN = RunCounts(counted_run(FRAME, STUDY))


def intervals(events: list[float], censored: list[float], variance: float = 0.0) -> Intervals:
    """Intervals of one group whose cells are its events, then its censored patients."""
    size = len(events)
    cells = np.eye(2 * size)
    counts = NoisyCounts(np.array(events + censored), variance * np.eye(2 * size))
    return Intervals(counts, np.arange(1.0, size + 1), cells[:size], cells[size:])


class TestCurves:
    def test_curves_hold_the_exact_ones(self) -> None:
        found = survival_curves(RUN, STUDY, SurvivalOutcome("age", "outcome", by="sex"))
        assert [curve.group for curve in found.curves] == ["all", "female", "male"]
        for curve in found.curves:
            rows = FRAME if curve.group == "all" else FRAME[FRAME["sex"] == curve.group]
            times = np.array([point.time for point in curve.points])
            happened = (rows["outcome"] == "yes").to_numpy()
            exact = kaplan_meier(rows["age"].to_numpy(), happened, times, np.ones((1, len(rows))))[0]
            assert len(times) >= 3
            assert all(p.survival.low <= s <= p.survival.high for p, s in zip(curve.points, exact, strict=True))
            assert [point.survival.value for point in curve.points] == pytest.approx(exact, abs=0.06)
        assert found.curves[0].patients == pytest.approx(600, abs=1)

    def test_another_label_may_be_the_event(self) -> None:
        first = survival_curves(RUN, STUDY, SurvivalOutcome("age", "outcome", "no")).curves[0].points[0]
        early = FRAME[FRAME["age"] <= first.time]
        assert first.events == pytest.approx((early["outcome"] == "no").sum(), abs=0.1)

    @pytest.mark.parametrize(
        ("outcome", "words"),
        [
            (SurvivalOutcome("sex", "outcome"), "column 'sex' holds no numbers"),
            (SurvivalOutcome("age", "lab"), "column 'lab' has no labels"),
            (SurvivalOutcome("age", "outcome", "canary"), "has no such label; choose one of no, yes"),
            (SurvivalOutcome("lab", "outcome", by="sex"), r"released no table of 'lab' x 'outcome' x 'sex'"),
        ],
    )
    def test_columns_that_do_not_fit_are_refused(self, outcome: SurvivalOutcome, words: str) -> None:
        with pytest.raises(StudyError, match=words) as problem:
            survival_curves(RUN, STUDY, outcome)
        assert "canary" not in str(problem.value)


class TestMergedLabels:
    def test_groups_of_merged_labels_are_refused(self) -> None:
        # The triple is counted in up to eight groups of ten wards.
        public = wards_run(clinic_table(600, 0), [HISTOGRAMS, COARSE, COARSE_TRIPLES])
        with pytest.raises(StudyError, match="'sex' with 'age' in merged labels only"):
            survival_curves(RunCounts(public), public.study, SurvivalOutcome("age", "outcome", by="sex"))

    def test_patients_in_no_curve_are_counted(self) -> None:
        found = survival_curves(RUN, STUDY, SurvivalOutcome("lab", "outcome"))
        missing = int((FRAME["lab"].isna() | FRAME["outcome"].isna()).sum())
        assert missing > 10
        assert found.notes == (
            f"about {missing} patients have no known lab or outcome, and are in no curve: where these are patients "
            "without the event, as with the day of an event, the curves fall too fast",
        )
        assert survival_curves(RUN, STUDY, SurvivalOutcome("age", "outcome")).notes == ()


class TestLogRank:
    def test_it_is_the_textbooks_in_narrow_intervals(self) -> None:
        # One event or censored patient in every interval, until 20 of each group are left at the end.
        rng, size = np.random.default_rng(0), 200
        group, happened = rng.permutation(np.repeat([0, 1], size // 2)), rng.random(size) < 0.6
        happened &= (group == 0) | (rng.random(size) < 0.7)
        cells, times = np.eye(4 * (size + 1)), np.arange(1.0, size + 2)
        counts = np.zeros((2, 2, size + 1))
        counts[group, np.where(happened, 0, 1), np.arange(size)] = 1
        counts[:, 1, size] = 20
        noisy, of = NoisyCounts(counts.ravel(), np.zeros((len(cells),) * 2)), cells.reshape(2, 2, size + 1, -1)
        found = log_rank_test([Intervals(noisy, times, of[g, 0], of[g, 1]) for g in (0, 1)])
        x, y = (
            CensoredData(
                uncensored=times[:-1][happened & (group == g)],
                right=[*times[:-1][~happened & (group == g)], *[size + 1.0] * 20],
            )
            for g in (0, 1)
        )
        assert found is not None
        assert found.statistic == pytest.approx(logrank(x, y).statistic ** 2, rel=0.02)
        assert found.statistic > 1

    def test_exposures_are_logarithmic_means(self) -> None:
        times, by_start, by_end = _exposures(np.array([100.0, 100.0]), np.array([100.0 / np.e, 100.0]))
        assert times == pytest.approx([100 * (1 - 1 / np.e), 100])
        assert by_start == pytest.approx([1 / np.e, 0.5])
        assert by_end == pytest.approx([np.e - 2, 0.5])

    def test_noise_above_the_patients_hides_the_test(self) -> None:
        assert log_rank_test([intervals([20.0, 20.0], [30.0, 30.0], 1e6)] * 2) is None

    def test_noise_weakens_the_test(self) -> None:
        def statistic(variance: float) -> float:
            cells = np.eye(8)
            counts = NoisyCounts(np.array([20.0, 20.0, 30.0, 30.0, 40.0, 20.0, 20.0, 20.0]), variance * np.eye(8))
            groups = [
                Intervals(counts, np.arange(2.0), cells[start : start + 2], cells[start + 2 : start + 4])
                for start in (0, 4)
            ]
            found = log_rank_test(groups)
            assert found is not None
            return found.statistic

        assert statistic(25.0) < 0.8 * statistic(0.0)


@pytest.mark.slow
class TestRejections:
    @pytest.mark.parametrize("censoring", [(0.05, 0.05), (0.02, 0.6), (1.0, 0.05)])
    def test_it_rejects_equal_hazards_at_its_level(self, censoring: tuple[float, ...]) -> None:
        rng, cells, runs, rejected = np.random.default_rng(1), np.eye(32), 1000, 0
        for _ in range(runs):
            exact: list[float] = []
            for rate in censoring:  # two groups of 2000 patients with equal hazards, eight intervals
                event, left = rng.exponential(1 / 0.15, 2000), np.minimum(rng.exponential(1 / rate, 2000), 7.999)
                seen = np.minimum(event, left).astype(int)
                exact += [*np.bincount(seen[event <= left], minlength=8), *np.bincount(seen[event > left], minlength=8)]
            counts = NoisyCounts(np.array(exact) + 3 * rng.standard_normal(32), 9 * cells)
            groups = [Intervals(counts, np.arange(8.0), cells[s : s + 8], cells[s + 8 : s + 16]) for s in (0, 16)]
            found = log_rank_test(groups)
            assert found is not None
            rejected += found.p_value < 0.05
        assert 0.03 < rejected / runs < 0.07


class TestBands:
    def test_a_band_without_noise_is_greenwoods(self) -> None:
        from common.inference.survival import _log_survival

        shape = intervals([10.0, 20.0], [0.0, 70.0])
        running, deviations, units = _log_survival(shape, 0.0)
        # S = (1 - 10/100)(1 - 20/90) = 0.7; Greenwood: 10/(100 x 90) + 20/(90 x 70) = 0.004286.
        assert np.exp(running[1]) == pytest.approx(0.7)
        assert deviations[1] ** 2 == pytest.approx(0.0042857, rel=1e-3)
        assert units[0] == pytest.approx(1 / 100)

    def test_a_band_without_events_is_the_score_interval(self) -> None:
        from common.inference.survival import _band, _log_survival

        low, high = _band(*_log_survival(intervals([0.0], [1000.0]), 0.0))
        # No event among 1000 patients refutes no hazard below z^2 / 1000 = 0.00384.
        assert low[0] == pytest.approx(1 - 0.00384, abs=1e-5)
        assert high[0] == 1.0

    def test_a_median_may_be_anywhere_in_its_interval(self) -> None:
        from common.inference.survival import _curve

        found = _curve("all", intervals([1e5, 6e5, 1e5], [0.0, 0.0, 2e5])).median
        # S is 0.9 and 0.3 at times 1 and 2: a half by 1 + (0.9 - 0.5) / 0.6.
        assert found.value == pytest.approx(1 + 0.4 / 0.6)
        assert (found.low, found.high) == (1.0, 2.0)

    def test_negative_events_leave_a_band(self) -> None:
        from common.inference.survival import _band, _log_survival

        low, high = _band(*_log_survival(intervals([-50.0], [1050.0], 100.0), 0.0))
        assert low[0] < 1 - 1.96 * 10 / 1000
        assert high[0] == 1.0

    def test_an_interval_where_all_are_censored_ends_the_curve(self) -> None:
        from common.inference.survival import _curve

        found = _curve("all", intervals([10.0, 20.1], [0.3, 70.2]))
        assert len(found.points) == 1

    def test_noise_adds_its_own_variance(self) -> None:
        from common.inference.survival import _log_survival

        # One interval: log S = log(c / (d + c)); by d -1/n, by c 1/c - 1/n = 1/900 - 1/1000.
        variances = [_log_survival(intervals([100.0], [900.0], noise), 0.0)[1][0] ** 2 for noise in (0.0, 49.0)]
        assert variances[1] - variances[0] == pytest.approx(49 * (1e-6 + (1 / 9000) ** 2), rel=1e-6)
