"""Which tables the command line selects, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import StudyError
from simulations.benchmark.selection import TableSelection
from simulations.benchmark.tables import EVIDENCE, BuiltInTable, ClinicalTable, OwnTable
from simulations.cli.benchmark import parse_epsilons, parse_names, parse_seeds


class TestTableSelection:
    def test_nothing_selects_the_built_in_table(self) -> None:
        assert TableSelection().sources() == [BuiltInTable()]

    def test_a_folder_selects_the_published_tables(self, tmp_path: Path) -> None:
        assert TableSelection(tmp_path).sources() == [ClinicalTable(name, tmp_path) for name in EVIDENCE]

    def test_a_study_or_a_target_selects_an_own_table(self, tmp_path: Path) -> None:
        assert TableSelection(tmp_path, target="died").sources() == [OwnTable(tmp_path, target="died")]

    @pytest.mark.parametrize(
        ("selection", "words"),
        [
            (TableSelection(target="died"), "give it as --data, without --tables"),
            (TableSelection(Path(), ("eicu",), target="died"), "give it as --data, without --tables"),
            (TableSelection(patient_column="id"), "your own table needs --study"),
            (TableSelection(site_column="ward"), "your own table needs --study"),
            (TableSelection(Path(__file__)), "your own table needs --study"),
            (TableSelection(Path(), ("flchian",)), "unknown table 'flchian'"),
            (TableSelection(None, ("flchain",)), "name its folder with --data"),
        ],
    )
    def test_a_contradiction_is_refused(self, selection: TableSelection, words: str) -> None:
        with pytest.raises(StudyError, match=words):
            selection.sources()


class TestLists:
    def test_words_are_separated_by_commas(self) -> None:
        assert parse_names(" central, local-4,,") == ("central", "local-4")
        assert parse_names(None) == ()
        assert parse_epsilons("0.5,3") == [0.5, 3.0]
        assert parse_seeds("0,2") == [0, 2]

    @pytest.mark.parametrize("text", ["", "a", "-1", "0.5"])
    def test_seeds_are_whole_numbers_from_0(self, text: str) -> None:
        with pytest.raises(StudyError, match="--seeds takes"):
            parse_seeds(text)

    @pytest.mark.parametrize("text", ["", "a", "-1", "0"])
    def test_epsilons_are_above_0(self, text: str) -> None:
        with pytest.raises(StudyError, match="--epsilons"):
            parse_epsilons(text)
