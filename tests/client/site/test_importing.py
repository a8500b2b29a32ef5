"""`fedsynth site import`: what is read, what is frozen, and what is refused."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from client.shard import StreamedShard
from client.site import importing
from client.site.config import Site, read_site
from client.site.imported import FrozenTable, read_import
from client.site.importing import Tally, import_table, one_row_each, sentences
from client.site.opening import open_hospital
from common.errors import DataError, LedgerError, SiteError
from common.ledger.enrollment import Enrollment
from common.tables.frozen import write_frozen
from common.tables.parts import Part, join
from common.tables.patients import first_rows
from common.tables.reading import Reading
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_folder import STUDY, make_site, patients

CANARY = "canary-7"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, patients())


def frozen(site: Site) -> pd.DataFrame:
    return join(list(FrozenTable(site).parts()))


def visits() -> pd.DataFrame:
    return pd.concat([patients(), patients().iloc[:20].assign(age="99")], ignore_index=True)


class TestWhatIsFrozen:
    def test_holds_every_cell_and_is_closed_to_others(self, site: Site) -> None:
        imported = import_table(site)
        pd.testing.assert_frame_equal(frozen(site), patients())
        assert (imported.rows_read, imported.rows, imported.repeated, imported.line_breaks) == (100, 100, 0, 0)
        assert imported == read_import(site)
        for path in (site.state / "table").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(list((site.state / "table").iterdir())) == 2

    def test_is_the_first_row_of_each_patient(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, visits())
        imported = import_table(site)
        assert (imported.rows_read, imported.rows, imported.repeated) == (120, 100, 20)
        pd.testing.assert_frame_equal(frozen(site), patients())
        assert any(
            "20 rows left out: only the first row of each patient is used" in line for line in sentences(imported)
        )

    @pytest.mark.parametrize("rows", [1, 7, 1000])
    def test_does_not_depend_on_how_rows_arrive(self, rows: int) -> None:
        raw = visits().assign(patient=[f" p{row % 37} " for row in range(120)])
        parts = [Part.of(raw.iloc[start : start + rows].reset_index(drop=True)) for start in range(0, 120, rows)]
        tally = Tally()
        kept = join(list(one_row_each(parts, "patient", tally)))
        pd.testing.assert_frame_equal(kept, first_rows(raw, "patient"))
        assert (tally.rows, tally.repeated) == (120, 83)

    def test_keeps_equal_rows_without_a_patient_column(self, tmp_path: Path) -> None:
        raw = visits().drop(columns="patient").assign(age="50", lab="", sex="male", outcome="no")
        site = make_site(tmp_path, raw, patient_column=None)
        imported = import_table(site)
        assert (imported.rows, imported.identical, imported.repeated) == (120, 119, 0)
        assert any("name patient_column in site.toml" in line for line in sentences(imported))

    def test_one_patient_more_changes_one_row(self, tmp_path: Path) -> None:
        pasted = 'pasted:\np7,99,19.0,male,yes\nq1,99,19.0,male,yes\n"'
        tables = {}
        for name, raw in (("with", patients()), ("without", patients().iloc[1:])):
            note = np.where(raw["patient"] == "p0", pasted, "ok")
            site = make_site(tmp_path / name, raw.assign(note=note))
            assert import_table(site).line_breaks == (name == "with")
            tables[name] = frozen(site)
        pd.testing.assert_frame_equal(tables["with"].iloc[1:].reset_index(drop=True), tables["without"])


def as_parquet(**columns: pa.Array) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pq.write_table(pa.table({"patient": pa.array([f"p{row}" for row in range(4)]), **columns}), path)

    return write


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "unpaired quotes": ("t.csv", lambda path: path.write_text(f'patient\np1\n"{CANARY}\n'), "starts in line 3"),
    "missing fields": ("t.csv", lambda path: path.write_text(f"patient,a\np1,{CANARY}\np2\n"), "line 3 has 1 fields"),
    "Latin-1 in UTF-8": ("t.csv", lambda path: path.write_bytes(b"a\n\xc3\xa4\nm\xe4\n"), "not UTF-8 text in line 3"),
    "name twice": ("t.csv", lambda path: path.write_text("patient,a,a\np1,1,2\n"), "columns 2 and 3"),
    "no rows": ("t.csv", lambda path: path.write_text("patient\n"), "has no rows; give a table"),
    "no patient column": ("t.csv", lambda path: path.write_text(f"mrn\n{CANARY}\n"), "patient column 'patient'"),
    "blank patient": (
        "t.csv",
        lambda path: path.write_text(f"patient,a\np1,1\n ,{CANARY}\nNA,3\n"),
        "patient column 'patient' is blank in 2 rows, first in row 2 after the header; fill in or drop these rows",
    ),
    "Latin-1 in Parquet": (
        "t.parquet",
        as_parquet(sex=pa.array([b"f", b"m", b"m\xe4", b"f"]).view(pa.binary()).view(pa.string())),
        "column 'sex', row 3: it is not UTF-8 text",
    ),
    "year 10183": (
        "t.parquet",
        as_parquet(day=pa.array(np.array([1, 2, 3, 3_000_000], dtype=np.int32)).view(pa.date32())),
        "column 'day', row 4: the date is outside the years 1 to 9999",
    ),
    "unknown format": ("t.docx", lambda path: path.write_text("patient\n"), "does not end in .csv"),
    "missing file": ("t.csv", lambda path: None, "No such file or directory; correct `data` in site.toml"),
    "a folder": ("t.csv", lambda path: path.mkdir(), "Is a directory; correct `data` in site.toml"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_file_leaves_the_earlier_table(tmp_path: Path, site: Site, case: str) -> None:
    before = import_table(site)
    name, write, words = REFUSED[case]
    write(tmp_path / name)
    other = site.model_copy(update={"data": tmp_path / name})
    with pytest.raises(DataError) as refused:
        import_table(other, is_replacing=True)
    assert words in str(refused.value)
    assert CANARY not in str(refused.value)
    assert read_import(site) == before
    assert len(list((site.state / "table").iterdir())) == 2
    pd.testing.assert_frame_equal(frozen(site), patients())


def test_a_file_that_grows_while_it_is_read_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def growing(parts: object, path: Path) -> object:
        with site.data.open("a") as file:
            file.write("x,50,,male,no\n")
        return honest(parts, path)  # type: ignore[arg-type]

    honest = write_frozen
    monkeypatch.setattr(importing, "write_frozen", growing)
    with pytest.raises(DataError, match="changed while it was read; import it once it is complete"):
        import_table(site)
    assert not list((site.state / "table").iterdir())


def test_a_second_import_needs_replace_and_names_open_runs(site: Site) -> None:
    first = import_table(site)
    with pytest.raises(SiteError, match="is frozen; --replace puts another in its place") as refused:
        import_table(site)
    assert "run-1" not in str(refused.value)
    with open_hospital(site) as north:
        north.ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), "{}", first.sha256))
    with pytest.raises(SiteError, match="It would end every further answer to run-1"):
        import_table(site)
    second = import_table(site, is_replacing=True)
    assert second.sha256 != first.sha256
    assert [path.name for path in (site.state / "table").glob("*.parquet")] == [second.file]
    with pytest.raises(SiteError) as later:
        import_table(site)
    assert "run-1" not in str(later.value)  # it has no further answers to lose


def test_an_import_waits_for_no_agent_but_refuses(site: Site) -> None:
    import_table(site)
    with open_hospital(site), pytest.raises(LedgerError, match="is held by process"):
        import_table(site, is_replacing=True)


def test_an_import_that_was_killed_is_no_obstacle(site: Site) -> None:
    (site.state / "table").mkdir(mode=0o700)
    (site.state / "table" / ".partial").write_bytes(b"half")
    import_table(site)
    assert len(list((site.state / "table").iterdir())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="unproven: giving files away needs root")
def test_another_account_cannot_import(site: Site) -> None:
    os.chown(site.state, 20001, 20001)
    with pytest.raises(SiteError, match="belongs to account 20001"):
        import_table(site)


def test_a_full_disk_ends_in_one_sentence(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(parts: object, path: Path) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "write_frozen", full)
    with pytest.raises(SiteError, match="No space left on device; make room"):
        import_table(site)


def test_the_frozen_table_serves_a_shard(site: Site) -> None:
    import_table(site)
    site.data.unlink()
    parts = FrozenTable(site).parts([*STUDY.table.names, "patient"])
    assert len(StreamedShard(parts, STUDY, key=b"k", patient_column="patient").histograms(8))


class TestFormats:
    def test_the_dialect_is_printed_and_recorded(self, tmp_path: Path, site: Site) -> None:
        (tmp_path / "table.csv").write_text("patient;größe\np1;1,5\n", encoding="cp1252")
        imported = import_table(site)
        assert imported.dialect == "table.csv is read as semicolon-separated, decimal comma, cp1252"
        assert any("declare it under [read]" in line for line in sentences(imported))
        assert frozen(site).to_dict("list") == {"patient": ["p1"], "größe": ["1.5"]}

    def test_a_query_is_read_once_and_known_by_its_text(self, tmp_path: Path, site: Site) -> None:
        with closing(sqlite3.connect(tmp_path / "t.db")) as database:
            database.execute("CREATE TABLE t AS SELECT 'p1' AS patient, 7 AS a UNION SELECT 'p2', 8")
            database.commit()
        (tmp_path / "cohort.sql").write_text("SELECT * FROM t ORDER BY a")
        reading = Reading(database=f"sqlite:///{tmp_path}/t.db")
        imported = import_table(site.model_copy(update={"data": tmp_path / "cohort.sql", "read": reading}))
        assert imported.source_sha256 == hashlib.sha256(b"SELECT * FROM t ORDER BY a").hexdigest()
        assert frozen(site)["a"].tolist() == ["7", "8"]

    def test_a_folder_of_parts_is_one_table(self, tmp_path: Path, site: Site) -> None:
        folder = tmp_path / "t.parquet"
        folder.mkdir()
        for number in range(2):
            pq.write_table(pa.table({"patient": [f"p{number}"]}), folder / f"part-{number}.parquet")
        import_table(site.model_copy(update={"data": folder}))
        assert frozen(site)["patient"].tolist() == ["p0", "p1"]


class TestTheCommand:
    def test_says_what_it_did_and_what_is_next(self, tmp_path: Path) -> None:
        make_site(tmp_path, visits())
        done = fedsynth("site", "import", "--site", tmp_path / "site")
        assert done.exit_code == 0
        for words in (
            "120 rows",
            "note 20 rows left out",
            "Frozen: 100 rows, one for each patient",
            f"SHA-256 {read_import(read_site(tmp_path / 'site')).sha256}",
            "These counts are facts about your patients: do not pass them on.",
            "Next: `fedsynth site check STUDY",
        ):
            assert words in output_of(done)

    def test_has_an_exit_code_for_each_kind_of_refusal(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, patients())
        where = ("site", "import", "--site", tmp_path / "site")
        assert fedsynth("site", "import", "--site", tmp_path / "nowhere").exit_code == 2
        assert fedsynth(*where).exit_code == 0
        assert fedsynth(*where).exit_code == 2
        with open_hospital(site):
            assert fedsynth(*where, "--replace").exit_code == 3
        site.data.write_text("patient\n")
        assert fedsynth(*where, "--replace").exit_code == 5
