"""What is checked when a run is considered or denied, before any record is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from client.site.approval import ProposedRun, consider_run, deny, withdraw
from client.site.config import read_site
from client.site.opening import open_hospital
from common.errors import PolicyRefusal, Reason, SiteError
from common.planning.planner import make_plan
from common.protocol.messages import EnrollReply, EnrollRequest
from tests.testbeds.approving import KARI, approve
from tests.testbeds.site_commands import PLAN, STUDY

PROPOSED = ProposedRun("run-2", STUDY, PLAN)


class TestState:
    def test_a_folder_open_to_other_accounts_is_refused(self, folder: Path) -> None:
        (folder / "ledger.sqlite").chmod(0o644)
        for decided in (
            lambda: consider_run(read_site(folder), PROPOSED),
            lambda: deny(read_site(folder), PROPOSED, KARI),
        ):
            with pytest.raises(SiteError, match="is open to other accounts"):
                decided()
        assert not list((folder / "approvals").iterdir())

    def test_the_folder_of_another_account_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        owner = os.geteuid()
        monkeypatch.setattr("client.site.state.os.geteuid", lambda: owner + 1)
        with pytest.raises(SiteError, match=f"belongs to account {owner}, which runs the agent"):
            consider_run(read_site(folder), PROPOSED)
        with pytest.raises(SiteError, match=f"belongs to account {owner}, which runs the agent"):
            deny(read_site(folder), PROPOSED, KARI)
        with pytest.raises(SiteError, match=f"belongs to account {owner}, which runs the agent"):
            withdraw(read_site(folder), "run-2", KARI)


class TestUnit:
    def test_patients_after_records_are_refused(self, folder: Path, tmp_path: Path) -> None:
        about_records = STUDY.amended(privacy={"unit": "record"})
        (tmp_path / "records.toml").write_text(about_records.to_toml())
        approve(folder, tmp_path / "records.toml", "run-1")
        enrollment = EnrollRequest(
            "run-1", about_records.to_toml(), about_records.fingerprint, make_plan(about_records).to_json(), "{}"
        )
        with open_hospital(read_site(folder)) as north:
            reply = north.handle(enrollment)
        assert isinstance(reply, EnrollReply)
        assert reply.reason == Reason.ACCEPTED
        with pytest.raises(PolicyRefusal, match="holds run 'run-1', which is about records"):
            consider_run(read_site(folder), PROPOSED)
