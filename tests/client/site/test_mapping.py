"""A site's mapping: applied at import, compared by `site check`, and refused without anything half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.site import mapping
from client.site.config import Site, read_site
from client.site.creation import init_site
from client.site.imported import read_import
from client.site.importing import import_table
from client.site.records import check_data
from common.errors import DataError, SiteError
from common.study.sections import HospitalFacts
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.four_hospitals import PATIENTS, four_hospitals_study, write_local

STUDY = four_hospitals_study().with_hospitals(
    tuple(HospitalFacts(name=name, declared_rows=PATIENTS) for name in ("north", "south"))
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = write_local(tmp_path / "data", ["north"])
    settings: dict[str, Any] = {
        "name": "north",
        "cohort": "north",
        "data": str(folder / "north.csv"),
        "patient_column": "patient",
    }
    settings |= {"mapping": str(folder / "north.toml"), "declared_rows": PATIENTS, "max_epsilon": 5.0, "delta": 1e-4}
    return init_site(tmp_path / "site", settings)


def change(site: Site, old: str, new: str) -> None:
    assert site.mapping is not None
    text = site.mapping.read_text(encoding="utf-8")
    assert old in text
    site.mapping.write_text(text.replace(old, new), encoding="utf-8")


class TestImport:
    def test_prints_what_is_not_mapped(self, site: Site, tmp_path: Path) -> None:
        change(site, 'divers = "other"\n', "")
        result = fedsynth("site", "import", "--site", tmp_path / "site")
        assert result.exit_code == 0, output_of(result)
        assert "[columns.sex] (labels of 'Geschlecht'): not mapped in" in output_of(result)
        assert "'divers' (" in output_of(result)
        assert "'divers' (" in read_import(site).unread

    @pytest.mark.parametrize(
        ("old", "new", "error", "words"),
        [
            ('from = "Geschlecht"', 'from = "Sex"', DataError, "column 'Sex' is not in the table"),
            ('unit = "mg/dL"', 'unit = "mgdl"', SiteError, "'mgdl' is not a unit"),
            (
                "[columns.patient]",
                "[columns.number]",
                SiteError,
                "patient_column 'patient' is not a column of",
            ),
            ('operation = "age_at"', 'operation = "age"', SiteError, "unknown operation 'age'"),
        ],
    )
    def test_a_bad_mapping_leaves_nothing(
        self, site: Site, old: str, new: str, error: type[Exception], words: str
    ) -> None:
        change(site, old, new)
        with pytest.raises(error, match=words):
            import_table(site)
        folder = site.state / "table"
        assert not folder.exists() or not list(folder.iterdir())

    def test_a_bad_mapping_keeps_the_earlier_table(self, site: Site) -> None:
        before = import_table(site)
        change(site, 'from = "Geschlecht"', 'from = "Sex"')
        with pytest.raises(DataError):
            import_table(site, is_replacing=True)
        assert read_import(site) == before


class TestMap:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(STUDY.to_toml(), encoding="utf-8")
        return path

    def test_writes_a_proposal_for_a_person(self, site: Site, tmp_path: Path, study: Path) -> None:
        out = tmp_path / "proposed.toml"
        result = fedsynth("site", "map", study, "--data", site.data, "--out", out, "--patient-column", "Fallnummer")
        assert result.exit_code == 0, output_of(result)
        assert "2 of 10 columns need a check" in output_of(result)
        assert out.stat().st_mode & 0o777 == 0o600
        imported = import_table(site.model_copy(update={"mapping": out}))
        assert imported.unread == ""

    def test_keeps_a_file_that_is_there(self, site: Site, study: Path) -> None:
        assert site.mapping is not None
        before = site.mapping.read_bytes()
        result = fedsynth("site", "map", study, "--data", site.data, "--out", site.mapping)
        assert (result.exit_code, site.mapping.read_bytes()) == (2, before)
        assert "add --force" in output_of(result)
        assert fedsynth("site", "map", study, "--data", site.data, "--out", site.mapping, "--force").exit_code == 0
        assert site.mapping.read_bytes() != before

    def test_a_proposal_that_cannot_be_read_is_not_written(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mapping, "proposal_text", lambda *_: "[columns")
        with pytest.raises(SiteError, match="not valid TOML"):
            mapping.write_mapping(STUDY, site.data, mapping.MappingOptions(tmp_path / "out.toml"))
        assert not (tmp_path / "out.toml").exists()

    @pytest.mark.parametrize(
        ("content", "options", "words"),
        [
            ("Geschlecht\n", (), "the table has no rows"),
            ("canary,secret\n1,2\n", (), "no column resembles one of study four-hospitals"),
            ("Geschlecht\nm\n", ("--patient-column", "Nummer"), "there is no column 'Nummer'"),
            ('Geschlecht\n"m\n', (), "quotation marks do not pair up"),
        ],
    )
    def test_a_bad_table_leaves_no_file(
        self, tmp_path: Path, study: Path, content: str, options: tuple[str, ...], words: str
    ) -> None:
        data, out = tmp_path / "t.csv", tmp_path / "out.toml"
        data.write_text(content, encoding="utf-8")
        result = fedsynth("site", "map", study, "--data", data, "--out", out, *options)
        assert result.exit_code == 5, output_of(result)
        assert words in output_of(result)
        assert "canary" not in output_of(result)
        assert not out.exists()


class TestCheck:
    def test_a_fitting_mapping_has_no_notice(self, site: Site) -> None:
        import_table(site)
        assert not [text for text in check_data(site, STUDY) if "[columns." in text or "mapping" in text]

    def test_names_labels_and_units_of_another_study(self, site: Site) -> None:
        change(site, 'divers = "other"', 'divers = "diverse"')
        import_table(site)
        assert any("labels that the study does not list: 'diverse'" in text for text in check_data(site, STUDY))

    def test_names_a_mapping_that_was_changed_since(self, site: Site, tmp_path: Path) -> None:
        import_table(site)
        change(site, 'divers = "other"', 'divers = ""')
        assert any("the mapping was changed since" in text for text in check_data(site, STUDY))
        text = (tmp_path / "site" / "site.toml").read_text(encoding="utf-8")
        kept = [line for line in text.splitlines() if not line.startswith("mapping")]
        (tmp_path / "site" / "site.toml").write_text("\n".join(kept), encoding="utf-8")
        notices = check_data(read_site(tmp_path / "site"), STUDY)
        assert any("site.toml no longer names" in text for text in notices)
