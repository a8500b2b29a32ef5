from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from client.selftest import reader
from client.selftest.checks import CheckError
from client.selftest.kernels import SCALES, check_kernels, moved_by_one
from client.selftest.ledger import check_disk, check_own_ledger
from client.selftest.reader import check_reader
from client.site.config import LedgerSettings, Site
from client.site.state import open_ledger
from common.ledger import store as store_module
from common.ledger.draws import Draws
from common.ledger.ledger import Slot
from common.ledger.witness import Witness
from common.privacy import dpsgd
from common.privacy.events import DiscreteGaussianVector
from common.privacy.mechanisms import SecureNoise
from tests.mutations.bugs import BUGS
from tests.testbeds.site_folder import make_site, patients


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path, patients())


class TestReader:
    def test_a_canary_is_one_row_and_nothing_is_left_behind(self, site: Site) -> None:
        before = sorted(site.state.iterdir())
        assert "one row" in check_reader(site)
        assert sorted(site.state.iterdir()) == before

    @pytest.mark.parametrize(
        "bug", ["a record for every physical line", "a second row of a patient in the frozen table"]
    )
    def test_it_fails_where_a_patient_is_several_rows(
        self, bug: str, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        BUGS[bug](monkeypatch)
        with pytest.raises(CheckError, match=r"not read as one row of \.csv: import nothing"):
            check_reader(site)

    def test_it_fails_where_a_date_without_text_passes(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        read = reader.imported
        monkeypatch.setattr(reader, "imported", lambda table: None if table.stem == "unreadable" else read(table))
        with pytest.raises(CheckError, match="a date beyond the year 9999 passes the import: import nothing"):
            check_reader(site)


class TestDisk:
    def test_it_passes_and_leaves_nothing_behind(self, site: Site) -> None:
        before = sorted(site.state.iterdir())
        check_disk(site)
        assert sorted(site.state.iterdir()) == before

    def test_it_fails_on_a_disk_without_locks(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        @contextmanager
        def unlocked(path: Path) -> Iterator[None]:
            yield

        monkeypatch.setattr(store_module, "locked", unlocked)
        with pytest.raises(CheckError, match="a second writer was accepted: move `state` to a local disk"):
            check_disk(site)

    def test_it_fails_where_noise_is_drawn_again(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Draws, "noise", lambda self, slot, source: SecureNoise())
        with pytest.raises(CheckError, match="the noise of its first draw"):
            check_disk(site)

    def test_it_fails_where_a_witness_is_not_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Witness, "check", lambda self, history: None)
        with pytest.raises(CheckError, match="an old copy was accepted"):
            check_disk(site)


class TestOwnLedger:
    def test_a_stored_reply_that_is_gone_fails(self, site: Site) -> None:
        ledger = open_ledger(site)
        slot = Slot("0" * 64, "run-1", "histograms")
        ledger.charge(slot, "request", DiscreteGaussianVector(10.0, 1))
        ledger.store_reply(slot, b"reply")
        assert "3 entries" in check_own_ledger(site)
        ledger._store.database.execute("DROP TRIGGER replies_DELETE")
        ledger._store.database.execute("DELETE FROM replies")
        ledger.close()
        with pytest.raises(CheckError, match="the stored reply of entry 2 was removed"):
            check_own_ledger(site)

    def test_an_old_copy_fails_by_its_witness(self, site: Site, tmp_path: Path) -> None:
        witnessed = site.model_copy(update={"ledger_settings": LedgerSettings(witness=tmp_path / "north.json")})
        with closing(open_ledger(site)) as ledger:
            Witness(tmp_path / "north.json").create(replace(ledger.head, counter=ledger.head.counter + 1))
        assert "without a witness" in check_own_ledger(site)
        with pytest.raises(CheckError, match="an old copy of the state folder was restored"):
            check_own_ledger(witnessed)


class TestKernels:
    def test_one_patient_moves_a_sum_by_a_clip(self) -> None:
        assert 0.49 < max(moved_by_one(70, scale) for scale in SCALES) <= 0.5

    def test_it_fails_where_kernels_are_uneven(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        def uneven(width: int, hidden: int) -> None:
            raise ArithmeticError("matrix products depend on a row's position")

        monkeypatch.setattr(dpsgd, "require_even_kernels", uneven)
        with pytest.raises(CheckError, match="take part in no study with rounds"):
            check_kernels(site)

    def test_it_fails_where_nothing_is_clipped(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.set_num_threads(1)
        BUGS["no clipping"](monkeypatch)
        with pytest.raises(CheckError, match="clip norms: take part in no study with rounds"):
            check_kernels(site)
