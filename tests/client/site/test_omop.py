"""A hospital with an OMOP database: its import, what its people read, and which runs it would be answered from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from client.site.approval import ProposedRun, consider_run
from client.site.config import Site, read_site
from client.site.creation import init_site, omop_settings
from client.site.importing import import_table, sentences
from client.site.records import check_data
from common.errors import DataError, SiteError
from common.omop.definitions import Extraction
from common.omop.sql import digest, queries
from common.planning.planner import make_plan
from common.study.sections import HospitalFacts
from common.study.study import Study
from tests.testbeds.command_line import fedsynth
from tests.testbeds.omop_database import STUDY, omop_database, omop_study

FACTS = (HospitalFacts(name="north", declared_rows=60), HospitalFacts(name="south", declared_rows=80))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    study = tmp_path / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    reading = omop_database(tmp_path / "cdm.duckdb", persons=61)
    settings = {"name": "north", "cohort": "north", "data": str(study), "read": reading.model_dump(exclude_unset=True)}
    more = {"declared_rows": 60, "max_epsilon": 5.0, "delta": 1e-4}
    return init_site(tmp_path / "site", settings | omop_settings(study) | more)


def agreement(study: Study) -> ProposedRun:
    listed = study.with_hospitals(FACTS)
    return ProposedRun("run-1", listed, make_plan(listed))


def test_an_import_takes_the_table_once(site: Site) -> None:
    imported = import_table(site)
    study = omop_study()
    assert study.extraction is not None
    assert (imported.rows, imported.patient_column) == (61, "person_id")
    assert imported.definitions == digest(study.extraction)
    (site.data.parent / "cdm.duckdb").unlink()  # from here on nothing reads the database
    assert check_data(site, study.with_hospitals(FACTS)) == []
    assert any("61 have an event of the study cohort's concepts" in line for line in sentences(imported))


def test_the_statement_shows_every_text_and_no_count(site: Site) -> None:
    import_table(site)
    study = omop_study()
    assert study.extraction is not None
    statement = consider_run(site, agreement(study)).statement
    text = "\n".join(statement)
    for query in queries(study.extraction):
        assert query.sql.rstrip("\n") in text
        assert f'-- "{query.title}", SHA-256 {query.sha256}' in statement
    assert digest(study.extraction) in text
    assert not re.search(r"\b61\b", text)


def test_other_definitions_are_refused(site: Site) -> None:
    import_table(site)
    other = omop_study(("window = [1, 90]", "window = [1, 30]"))
    with pytest.raises(SiteError, match="not taken from the database by the definitions of study bleeds"):
        consider_run(site, agreement(other))
    with pytest.raises(SiteError, match="run `fedsynth site import --replace`"):
        check_data(site, other.with_hospitals(FACTS))
    # What is no part of the definitions may change.
    consider_run(site, agreement(omop_study(("epsilon = 3.0", "epsilon = 2.0"))))


def test_a_bad_database_leaves_nothing(site: Site) -> None:
    omop_database(site.data.parent / "other.duckdb", "DELETE FROM drug_exposure")
    (site.data.parent / "other.duckdb").replace(site.data.parent / "cdm.duckdb")
    with pytest.raises(DataError, match="cannot be taken from the database: the study cohort is empty"):
        import_table(site)
    assert list((site.state / "table").iterdir()) == []


def test_a_study_that_changes_meanwhile_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(extraction: Extraction) -> str:
        site.data.write_text(STUDY.replace("window = [1, 90]", "window = [1, 30]"), encoding="utf-8")
        return digest(extraction)

    monkeypatch.setattr("client.site.importing.digest", changed)
    with pytest.raises(DataError, match="changed while it was read"):
        import_table(site)


def test_the_patient_is_the_person(site: Site) -> None:
    with pytest.raises(SiteError, match='write patient_column = "person_id" and visits = false'):
        import_table(site.model_copy(update={"patient_column": None}))


def test_commands_lead_from_a_database_to_a_check(tmp_path: Path) -> None:
    study, folder = tmp_path / "study.toml", tmp_path / "site"
    study.write_text(omop_study().with_hospitals(FACTS).to_toml(), encoding="utf-8")
    reading = omop_database(tmp_path / "cdm.duckdb")
    options = ("--name", "north", "--declared-rows", 60, "--max-epsilon", 5, "--delta", 1e-4)
    made = fedsynth("site", "init", folder, "--data", study, "--read", f"database={reading.database}", *options)
    assert made.exit_code == 0, made.output
    assert read_site(folder).patient_column == "person_id"
    for command in (("import",), ("check", study)):
        done = fedsynth("site", *command, "--site", folder)
        assert done.exit_code == 0, done.output
