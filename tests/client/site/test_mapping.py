"""A site's mapping: applied at import, compared by `site check`, and refused without anything half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
        change(site, ', divers = "other"', "")
        result = fedsynth("site", "import", "--site", tmp_path / "site")
        assert result.exit_code == 0, output_of(result)
        assert "[columns.sex] (labels of 'Geschlecht'): not mapped, and missing therefore" in output_of(result)
        assert "'divers' (" in output_of(result)
        assert "'divers' (" in read_import(site).unread

    @pytest.mark.parametrize(
        ("old", "new", "error", "words"),
        [
            ('from = "Geschlecht"', 'from = "Sex"', DataError, "column 'Sex' is not in the table"),
            ('unit = "mg/dL"', 'unit = "mgdl"', SiteError, "'mgdl' is no unit"),
            ("[columns.patient]", "[columns.number]", DataError, "patient column 'patient' is not in the table"),
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
