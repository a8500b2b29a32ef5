"""`fedsynth site init`."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from client.site.config import HOLDOUT_KEY, Site, read_site
from client.site.creation import init_site
from client.site.opening import open_hospital
from client.site.state import open_ledger
from common.errors import DataError, SiteError
from common.ledger.witness import Witness
from common.tables.reading import Reading
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_commands import enroll


def test_init_makes_a_site_that_only_this_account_can_read(folder: Path, data: Path) -> None:
    site = read_site(folder)
    assert site == read_site(folder / "site.toml")
    assert (site.name, site.cohort, site.data, site.max_epsilon, site.delta) == ("north", "north", data, 5.0, 1e-4)
    assert (site.min_rows, site.rehearsal, site.state) == (30, False, folder)
    assert (site.consent.approvers, site.consent.days) == (1, 90)
    assert len((folder / HOLDOUT_KEY).read_bytes()) == 32
    with open_hospital(site) as north:
        north.handle(enroll())
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((folder / "approvals").stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert path.suffix == ".pub" or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    comments = [line for line in (folder / "site.toml").read_text().splitlines() if line.startswith("# ")]
    unset = ["# mapping ="]
    assert [line for line in comments if line.endswith(" =")] == unset
    assert len(comments) == 1 + len(Site.model_fields) + len(unset)


def test_init_writes_a_witness_and_never_over_another(tmp_path: Path, data: Path) -> None:
    words = ["--name", "north", "--data", data, "--declared-rows", 100, "--max-epsilon", 5, "--delta", 1e-4]
    witness = tmp_path / "witness.json"
    assert fedsynth("site", "init", tmp_path / "a", *words, "--witness", witness).exit_code == 0
    site = read_site(tmp_path / "a")
    assert site.witness == witness
    with closing(open_ledger(site)) as ledger:
        assert Witness(witness).read() == ledger.head
    again = fedsynth("site", "init", tmp_path / "b", *words, "--witness", witness)
    assert again.exit_code == 2
    assert "may be the witness of another ledger" in output_of(again)
    assert not (tmp_path / "b").exists()
    unreachable = fedsynth("site", "init", tmp_path / "c", *words, "--witness", tmp_path / "gone" / "w.json")
    assert unreachable.exit_code == 2
    assert not (tmp_path / "c").exists()
    inside = fedsynth("site", "init", tmp_path / "d", *words, "--witness", tmp_path / "d" / "w.json")
    assert inside.exit_code == 2
    assert "there is no [ledger] witness" in output_of(fedsynth("site", "init", tmp_path / "e", *words))


def test_init_overwrites_nothing(folder: Path, data: Path) -> None:
    key = (folder / HOLDOUT_KEY).read_bytes()
    arguments = ["--name", "north", "--data", data, "--declared-rows", 100, "--max-epsilon", 5]
    again = fedsynth("site", "init", folder, *arguments)
    assert again.exit_code == 2
    assert "is not empty" in output_of(again)
    assert (folder / HOLDOUT_KEY).read_bytes() == key


def test_init_accepts_an_empty_folder(tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 1.0}
    assert init_site(tmp_path / "empty", {**settings, "delta": 1e-4}).name == "north"


def test_two_sites_never_share_a_holdout_key(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 1.0}
    for name in ("one", "two"):
        init_site(tmp_path / name, {**settings, "delta": 1e-4})
    assert (tmp_path / "one" / HOLDOUT_KEY).read_bytes() != (tmp_path / "two" / HOLDOUT_KEY).read_bytes()


class TestLimitsAtInit:
    def init(self, tmp_path: Path, data: Path, *more: str, rows: int = 100, epsilon: float = 5) -> Result:
        limits = ("--declared-rows", rows, "--max-epsilon", epsilon, "--delta", "1e-4")
        return fedsynth("site", "init", tmp_path / "site", "--name", "north", "--data", data, *limits, *more)

    def test_a_count_of_rows_is_refused_with_the_nearest_numbers(self, tmp_path: Path, data: Path) -> None:
        refused = self.init(tmp_path, data, rows=103)
        assert refused.exit_code == 2
        assert "declared_rows = 103 has more than 2 significant digits" in output_of(refused)
        assert "write 100 or 110" in output_of(refused)
        assert not (tmp_path / "site").exists()

    def test_an_epsilon_above_20_needs_the_flag(self, tmp_path: Path, data: Path) -> None:
        refused = self.init(tmp_path, data, epsilon=1000)
        assert refused.exit_code == 2
        assert "max_epsilon = 1000 is above 20" in output_of(refused)
        made = self.init(tmp_path, data, "--allow-large-epsilon", epsilon=1000)
        assert made.exit_code == 0
        assert read_site(tmp_path / "site").allow_large_epsilon
        assert "warning max_epsilon = 1000 is above 10" in output_of(made)

    def test_an_epsilon_above_10_is_a_warning(self, tmp_path: Path, data: Path) -> None:
        assert "warning" not in output_of(self.init(tmp_path / "a", data, epsilon=10))
        assert "warning max_epsilon = 11 is above 10" in output_of(self.init(tmp_path / "b", data, epsilon=11))

    @pytest.mark.parametrize(
        ("option", "unit"),
        [((), "record"), (("--patient-column", "patient"), "patient"), (("--one-row-per-patient",), "patient")],
    )
    def test_patients_are_promised_only_where_they_are_known(
        self, tmp_path: Path, data: Path, option: tuple[str, ...], unit: str
    ) -> None:
        made = self.init(tmp_path, data, *option)
        site = read_site(tmp_path / "site")
        assert site.unit == site.policy.unit == unit
        assert ("guarantees are about records, not patients" in output_of(made)) == (unit == "record")


class TestInitOfATable:
    def init(self, folder: Path, data: Path, *more: str) -> Result:
        limits = ("--declared-rows", 100, "--max-epsilon", 5, "--delta", 1e-4)
        return fedsynth("site", "init", folder / "site", "--name", "north", "--data", data, *limits, *more)

    def test_of_an_unknown_format_makes_nothing(self, tmp_path: Path) -> None:
        result = self.init(tmp_path, tmp_path / "table.docx")
        assert result.exit_code == 2
        assert "does not end in .csv" in output_of(result)
        assert not (tmp_path / "site").exists()

    def test_that_is_not_there_yet_warns(self, tmp_path: Path) -> None:
        result = self.init(tmp_path, tmp_path / "table.csv")
        assert result.exit_code == 0
        assert "warning there is no file" in output_of(result)

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("age,age\n1,2\n", "have the same name in the header"),
            ("", "cannot use table"),
            ("age;sex\n1;f\n2;m\n", "--patient-column 'Patent' is not in"),
            ("patient,sex\n1,f\n", "did you mean 'patient'?"),
        ],
    )
    def test_that_cannot_be_used_makes_nothing(self, content: str, words: str, tmp_path: Path) -> None:
        (tmp_path / "table.csv").write_text(content)
        result = self.init(tmp_path, tmp_path / "table.csv", "--patient-column", "Patent")
        assert result.exit_code in (SiteError.exit_code, DataError.exit_code)
        assert words in output_of(result)
        assert not (tmp_path / "site").exists()

    def test_writes_what_is_declared_about_its_file(self, tmp_path: Path) -> None:
        assert self.init(tmp_path, tmp_path / "t.csv", "--read", "separator=;", "--read", "footer=1").exit_code == 0
        assert read_site(tmp_path / "site").read == Reading(separator=";", footer=1)
