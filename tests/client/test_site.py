"""A site as its people set it up: site.toml, the state folder, and the commands."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from client.site.config import HOLDOUT_KEY, Site, read_site
from client.site.creation import init_site
from client.site.importing import import_table
from client.site.opening import open_agent, open_hospital
from client.site.state import open_ledger
from common.errors import LedgerError, PolicyRefusal, Reason, SiteError
from common.ledger.enrollment import Enrollment
from common.protocol.messages import CountsReply, CountsRequest
from tests.testbeds.approving import BY_KARI, approve_by_command, file_approval
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.site_commands import PLAN, STUDY, change, enroll


def test_a_restored_site_answers_nothing(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 5.0}
    more = {"delta": 1e-4, "patient_column": "patient"}
    site = init_site(tmp_path / "site", settings | more | {"ledger": {"witness": str(tmp_path / "witness.json")}})
    shutil.copytree(tmp_path / "site", tmp_path / "backup")
    with closing(open_ledger(site)) as ledger:
        ledger.enroll("run-1", Enrollment(STUDY.fingerprint, STUDY.to_toml(), PLAN.to_json()))
    shutil.rmtree(tmp_path / "site")
    shutil.copytree(tmp_path / "backup", tmp_path / "site")
    with pytest.raises(LedgerError, match="accept-restore"):
        open_ledger(site)


def test_a_site_holds_replies_back_unless_it_says_otherwise(folder: Path) -> None:
    with open_agent(read_site(folder)) as agent:
        assert agent._replies.grid_s == 1.0
    change(folder, "grid_s = 1.0", "grid_s = 0.0")
    with open_agent(read_site(folder)) as agent:
        assert agent._replies.grid_s == 0.0


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_epsilon = 5.0\n", "", "[max_epsilon] is not given; add it"),
        ("delta = 0.0001\n", "", "[delta] is not given; add it"),
        ("max_epsilon = 5.0", "max_epsilon = inf", "[max_epsilon]"),
        ("max_epsilon = 5.0", "max_epsilom = 5.0", "unknown key 'max_epsilom'; did you mean 'max_epsilon'?"),
        ("delta = 0.0001", "delta = 0.0011", "delta = 0.0011 is above 1 / (10 x declared_rows) (0.001); choose"),
        ("declared_rows = 100", "declared_rows = 103", "declared_rows = 103 has more than 2 significant digits"),
        ("max_epsilon = 5.0", "max_epsilon = 20.1", "max_epsilon = 20.1 is above 20, which protects nobody"),
        ("one_row_per_patient = false", "one_row_per_patient = true", "patient_column and one_row_per_patient exclude"),
        ("min_rows = 30", "min_rows = 101", "declared_rows = 100 is below min_rows = 101"),
        ('"histograms"', '"histogram"', "phases: unknown phase 'histogram'; choose from histograms, coarse"),
        ("approvers = 1", "approvers = 3", "[consent.approvers] input should be less than or equal to 2"),
        ("days = 90", "days = 0", "[consent.days] input should be greater than or equal to 1"),
        ("days = 90", "day = 90", "unknown key 'day' in [consent]; did you mean 'days'?"),
        ("rehearsal = false", 'rehearsal = "no"', "[rehearsal]"),
        ("name =", "name", "is not valid TOML"),
        ("[ledger]", '[ledger]\nwitness = "witness.json"', "[ledger] witness is inside the state folder"),
        ("[ledger]", '[ledger]\nwitnes = "a"', "unknown key 'witnes' in [ledger]; did you mean 'witness'?"),
        ("grid_s = 1.0", "grid_s = -1.0", "[timing.grid_s]"),
        ("grid_s = 1.0", "grid_s = 61.0", "[timing.grid_s]"),
    ],
)
def test_a_site_error_names_key_limit_and_remedy(before: str, after: str, words: str, folder: Path) -> None:
    change(folder, before, after)
    with pytest.raises(SiteError) as problem:
        read_site(folder)
    assert words in str(problem.value)


def test_a_state_that_other_accounts_can_reach_is_refused(folder: Path) -> None:
    for path in (folder, folder / HOLDOUT_KEY, folder / "ledger.sqlite", folder / "approvals"):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(before | 0o040)
        with pytest.raises(SiteError, match="chmod go-rwx"), open_hospital(read_site(folder)):
            pass
        path.chmod(before)
    with open_hospital(read_site(folder)):
        pass


def test_a_state_without_its_key_is_refused(folder: Path) -> None:
    (folder / HOLDOUT_KEY).unlink()
    with pytest.raises(SiteError, match="site init"), open_hospital(read_site(folder)):
        pass


def test_state_with_a_key_of_another_length_is_refused(folder: Path) -> None:
    (folder / HOLDOUT_KEY).write_bytes(b"a" * 31)
    with pytest.raises(SiteError, match="is not 32 bytes long"), open_hospital(read_site(folder)):
        pass


@pytest.mark.parametrize("command", ["check", "approve"])
def test_site_commands_refuse_a_state_open_to_others(command: str, folder: Path, study: Path) -> None:
    (folder / HOLDOUT_KEY).chmod(0o640)
    more = ("--run", "run-1", *BY_KARI) if command == "approve" else ()
    refused = fedsynth("site", command, study, "--site", folder, *more)
    assert refused.exit_code == 2
    assert "chmod go-rwx" in output_of(refused)
    assert not list((folder / "approvals").iterdir())


def test_a_site_answers_a_run_that_was_approved_and_no_other(folder: Path, study: Path) -> None:
    with open_hospital(read_site(folder)) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
        approved = approve_by_command(folder, study, "run-1")
        assert approved.exit_code == 0, output_of(approved)  # while the hospital holds its ledger
        assert "The agent is running and holds the ledger" in output_of(approved)
        assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)
        assert north.handle(enroll("run-2")).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
    shown = fedsynth("site", "ledger", "show", "--site", folder)
    assert shown.exit_code == 0
    assert "clinic" in output_of(shown)


def test_a_second_process_over_the_same_ledger_is_locked_out(folder: Path) -> None:
    second = open_hospital(read_site(folder))
    with open_hospital(read_site(folder)), pytest.raises(LedgerError, match="is held by process"), second:
        pass


def test_a_rehearsal_and_a_real_cohort_never_share_a_ledger(folder: Path, study: Path) -> None:
    change(folder, "rehearsal = false", "rehearsal = true")
    with pytest.raises(LedgerError, match="rehearsal"), open_hospital(read_site(folder)):
        pass
    checked = fedsynth("site", "check", study, "--site", folder)
    assert "REHEARSAL: the noise is predictable" in output_of(checked)


def test_rehearsals_and_real_runs_never_meet(tmp_path: Path, data: Path) -> None:
    settings = {"name": "north", "cohort": "a", "data": str(data), "declared_rows": 100, "max_epsilon": 5.0}
    more = {"delta": 1e-4, "rehearsal": True, "patient_column": "patient"}
    site = init_site(tmp_path / "site", settings | more)
    import_table(site)
    file_approval(site, STUDY)
    with open_hospital(site) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_REHEARSAL  # type: ignore[union-attr]


def test_the_held_out_patients_follow_from_the_sites_own_key(folder: Path) -> None:
    site = read_site(folder)
    replies = []
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        (folder / HOLDOUT_KEY).write_bytes(key)
        with open_hospital(site) as north:
            replies.append(north._open_shard(STUDY).histograms(PLAN.cells).tolist())
    assert replies[0] == replies[1] != replies[2]


def test_a_hospital_opens_without_torch_and_the_raw_file(folder: Path, data: Path) -> None:
    data.unlink()
    code = (
        "import sys; from pathlib import Path\n"
        "from client.site.config import read_site; from client.site.opening import open_hospital\n"
        f"with open_hospital(read_site(Path({str(folder)!r}))) as north: print(north.policy.hospital)\n"
        "assert not {'torch', 'flwr', 'typer'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "north\n"), done.stderr
    file_approval(read_site(folder), STUDY)
    with open_hospital(read_site(folder)) as north:
        north.handle(enroll())
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)


def test_a_policy_of_a_site_needs_approval() -> None:
    fields = {"name": "north", "cohort": "a", "data": "t.csv", "declared_rows": 100, "max_epsilon": 5.0, "delta": 1e-4}
    policy = Site.model_validate(fields).policy
    assert not policy.is_simulation
    with pytest.raises(PolicyRefusal) as refusal:
        policy.check("run-1", STUDY, PLAN, ())
    assert refusal.value.reason == Reason.STUDY_NOT_APPROVED
    assert replace(policy, is_simulation=True) != policy
