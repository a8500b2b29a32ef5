"""Table One: figures, groups, suppression, and its files."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest

from common.errors import StudyError
from common.inference.counts import RunCounts
from common.inference.noisy import Interval
from common.inference.table_one import TableLine, table_one
from common.inference.tables_text import HEADINGS, table_csv, table_html, table_text
from common.planning.phases import COARSE, HISTOGRAMS, PAIRS
from tests.testbeds.clinic import clinic_table
from tests.testbeds.counted import clinic_frame, counted_run, survival_study, wards_run

STUDY = survival_study()
FRAME = clinic_frame(STUDY, rows=900)
RUN = RunCounts(counted_run(FRAME, STUDY))
TABLE = table_one(RUN, STUDY, "outcome")


def row(variable: str, statistic: str, level: str = "") -> TableLine:
    (found,) = [r for r in TABLE.rows if (r.variable, r.statistic, r.level) == (variable, statistic, level)]
    return found


class TestFigures:
    def test_groups_and_columns_are_those_of_the_schema(self) -> None:
        assert TABLE.groups == ("all", "no", "yes")
        assert [interval.value for interval in TABLE.sizes] == pytest.approx(
            [900, (FRAME["outcome"] == "no").sum(), (FRAME["outcome"] == "yes").sum()], abs=0.1
        )
        assert list(dict.fromkeys(r.variable for r in TABLE.rows)) == ["age", "lab", "sex"]

    def test_percentages_are_exact_without_noise(self) -> None:
        cells = row("sex", "percent", "female").cells
        for cell, name in zip(cells, TABLE.groups, strict=True):
            rows = FRAME if name == "all" else FRAME[FRAME["outcome"] == name]
            assert cell.interval.value == pytest.approx(100 * (rows["sex"] == "female").mean(), abs=0.05)
            assert cell.patients == (rows["sex"] == "female").sum()

    def test_missing_values_have_their_own_line(self) -> None:
        missing = row("lab", "missing").cells
        assert missing[0].interval.value == pytest.approx(100 * FRAME["lab"].isna().mean(), abs=0.05)
        assert missing[0].interval.low < missing[0].interval.value < missing[0].interval.high

    def test_numbers_are_those_of_the_patients(self) -> None:
        for number, name in enumerate(TABLE.groups):
            rows = FRAME if name == "all" else FRAME[FRAME["outcome"] == name]
            mean, median = row("age", "mean").cells[number], row("age", "median").cells[number]
            assert mean.interval.low < rows["age"].mean() < mean.interval.high
            assert mean.interval.value == pytest.approx(rows["age"].mean(), abs=0.6)
            assert median.interval.low <= rows["age"].median() <= median.interval.high
            # A mean of n patients is known to 1.96 s / sqrt(n) and what bins hide.
            assert mean.interval.high - mean.interval.low < 8 * rows["age"].std() / np.sqrt(len(rows))
            assert row("age", "sd").cells[number].interval.value == pytest.approx(rows["age"].std(), rel=0.1)

    def test_small_cells_are_not_shown(self) -> None:
        strict = table_one(RUN, STUDY, "outcome", threshold=450)
        assert any(cell.is_suppressed for r in strict.rows for cell in r.cells)
        for shown in (cell for r in strict.rows for cell in r.cells if not cell.is_suppressed):
            assert shown.patients >= 450
        assert "<450" in table_text(strict)
        assert ",yes\n" in table_csv(strict)
        larger, smaller = sorted((FRAME["outcome"] == label).sum() for label in ("no", "yes"))[::-1]
        unshown = table_text(table_one(RUN, STUDY, "outcome", threshold=int(larger)))
        assert [unshown.splitlines()[1].count(f"{count} (") for count in (larger, smaller)] == [1, 0]

    def test_columns_without_labels_make_no_groups(self) -> None:
        with pytest.raises(StudyError, match="column 'age' has no labels to group by"):
            table_one(RUN, STUDY, "age")

    def test_columns_of_many_labels_make_no_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("common.inference.table_one.MOST_GROUPS", 1)
        with pytest.raises(StudyError, match="column 'sex' has 2 labels, more than 1; choose another column"):
            table_one(RUN, STUDY, "sex")


class TestMergedLabels:
    def test_labels_that_were_counted_merged_make_no_groups(self) -> None:
        public = wards_run(clinic_table(600, 0), [HISTOGRAMS, COARSE])  # pairs in four groups, of ten wards
        found = table_one(RunCounts(public), public.study, "sex")
        ages = [r for r in found.rows if r.variable == "age"]
        assert all(cell.is_counted for r in ages for cell in r.cells[:1])
        assert not any(cell.is_counted or cell.is_suppressed for r in ages for cell in r.cells[1:])
        assert {len(r.cells) for r in found.rows} == {11}
        assert "(not counted)" in table_text(found)
        assert "merged groups only" in table_text(found)
        assert ",not counted\n" in table_csv(found)

    def test_a_whole_pair_shows_every_label(self) -> None:
        public = wards_run(clinic_table(600, 0), [HISTOGRAMS, COARSE, PAIRS])
        found = table_one(RunCounts(public), public.study, "sex")
        assert [cell.patients for cell in found.rows[0].cells] == [600, *[60] * 10]


class TestHidden:
    def test_sums_that_do_not_tell_cells_apart_are_no_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("common.inference.counts.CONDITION", 2.0)
        with pytest.raises(StudyError, match="released no table of 'sex' x 'outcome'"):
            RunCounts(counted_run(FRAME, STUDY)).table(["sex", "outcome"])

    def test_a_figure_that_noise_hides_is_named_noise(self) -> None:
        line = row("age", "mean")
        hidden = replace(line.cells[0], interval=Interval(40.0, -math.inf, math.inf))
        text = table_text(replace(TABLE, rows=(replace(line, cells=(hidden, *line.cells[1:])),)))
        assert text.count("(noise)") == table_text(TABLE).count("(noise)") + 1


class TestFiles:
    def test_csv_has_a_line_for_each_figure(self) -> None:
        lines = list(csv.reader(io.StringIO(table_csv(TABLE))))
        assert tuple(lines[0]) == HEADINGS
        assert len(lines) == 1 + 3 + 3 * len(TABLE.rows)
        assert {len(line) for line in lines} == {len(HEADINGS)}

    def test_text_and_page_say_what_intervals_hold(self) -> None:
        html = table_html(TABLE, "clinic <x>", ["NO PRIVACY"])
        assert "clinic &lt;x&gt;" in html
        assert "NO PRIVACY" in html
        for text in (table_text(TABLE), html):
            assert "95 % intervals" in text
            assert "outcome = yes" in text
