"""The frozen table of a site: a run is answered from the table that people approved, and from no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from client.site.config import Site
from client.site.imported import FrozenTable, open_frozen
from client.site.importing import import_table
from client.site.opening import open_hospital
from common.errors import PolicyRefusal, Reason, SiteError
from common.ledger.ledger import Ledger
from common.protocol.messages import CountsReply, CountsRequest, Unavailable
from tests.testbeds import approving
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_folder import STUDY, enroll, make_site, patients


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path, patients())
    import_table(made)
    return made


def frozen_file(site: Site) -> Path:
    (path,) = (site.state / "table").glob("*.parquet")
    return path


def approve(site: Site, run_id: str = "run-1") -> None:
    study = site.state.parent / "study.toml"
    study.write_text(STUDY.to_toml())
    approving.approve(site.state, study, run_id)


def change_one_byte(path: Path) -> bytes:
    original, times = path.read_bytes(), path.stat()
    content = bytearray(original)
    content[200] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # the date was put back
    return original


class TestFrozenTable:
    def test_notices_a_changed_byte_until_it_is_restored(self, site: Site) -> None:
        table = FrozenTable(site)
        digest = table.digest()
        original = change_one_byte(frozen_file(site))
        for _ in range(2):
            with pytest.raises(PolicyRefusal, match="changed since it was imported") as refused:
                table.digest()
            assert refused.value.reason == Reason.UNAVAILABLE
        with pytest.raises(SiteError, match="changed since it was imported"):
            open_frozen(site)
        frozen_file(site).write_bytes(original)
        assert table.digest() == digest
        open_frozen(site)

    def test_hashes_again_only_what_was_touched(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        table, digest = FrozenTable(site), FrozenTable(site).digest()
        assert table.digest() == digest
        monkeypatch.setattr("client.site.imported.digest_of", lambda path: "another")
        assert table.digest() == digest
        os.utime(frozen_file(site), (1, 1))
        with pytest.raises(PolicyRefusal):
            table.digest()

    def test_that_is_missing_is_refused_without_its_path(self, site: Site) -> None:
        table = FrozenTable(site)
        frozen_file(site).unlink()
        with pytest.raises(PolicyRefusal, match=r"cannot read the frozen table \(No such file or directory\)"):
            table.digest()

    def test_of_another_patient_column_is_refused(self, site: Site) -> None:
        with pytest.raises(SiteError, match="names another patient_column than the table was imported with"):
            FrozenTable(site.model_copy(update={"patient_column": None}))

    def test_with_an_unreadable_description_is_refused(self, site: Site) -> None:
        (site.state / "table" / "import.json").write_text("{}")
        with pytest.raises(SiteError, match=r"import\.json'; restore it from a backup, or import again"):
            FrozenTable(site)


class TestAnswers:
    def test_come_from_the_table_named_in_approval_and_ledger(self, site: Site) -> None:
        approve(site)
        with open_hospital(site) as north:
            north.handle(enroll())
            assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)
        digest = FrozenTable(site).digest()
        assert Ledger.view(site.ledger).table("run-1") == digest
        (approval,) = site.approvals.of("run-1")
        assert approval.table_sha256 == digest

    def test_end_when_another_table_is_imported(self, site: Site) -> None:
        approve(site)
        with open_hospital(site) as north:
            north.handle(enroll())
        import_table(site, is_replacing=True)
        with open_hospital(site) as north:
            assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
            assert north.handle(enroll()).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
            assert north.ledger.lines() == ()

    def test_need_an_approval_over_this_very_table(self, site: Site) -> None:
        approve(site)
        import_table(site, is_replacing=True)
        with open_hospital(site) as north:
            assert north.handle(enroll()).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
            approve(site)
            assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]

    def test_end_while_the_file_is_changed_and_cost_nothing(self, site: Site) -> None:
        approve(site)
        with open_hospital(site) as north:
            north.handle(enroll())
            original = change_one_byte(frozen_file(site))
            assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
            assert north.ledger.lines() == ()
            frozen_file(site).write_bytes(original)
            assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)


def test_commands_ask_for_an_import_first(tmp_path: Path) -> None:
    site = make_site(tmp_path, patients())
    study = tmp_path / "study.toml"
    study.write_text(STUDY.to_toml())
    for command in (("check", study), ("approve", study, "--run", "run-1", *approving.BY_KARI), ("agent",)):
        refused = fedsynth("site", *command, "--site", site.state)
        assert refused.exit_code == 2, command
        assert "no table is imported yet; run `fedsynth site import`" in output_of(refused)
