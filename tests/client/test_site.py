"""A site as its people set it up: site.toml, the state folder, and the commands."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from client.site.approval import Agreement, consider_run, read_agreement
from client.site.config import HOLDOUT_KEY, Site, read_site
from client.site.creation import init_site
from client.site.opening import open_hospital
from common.errors import LedgerError, Reason, SiteError
from common.ledger.ledger import Ledger
from common.planning.planner import make_plan
from common.planning.proposal import Proposal
from common.protocol.messages import CountsReply, CountsRequest, EnrollReply, EnrollRequest, Unavailable
from common.protocol.signing import Identity, fingerprint
from common.study.sections import HospitalFacts
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.command_line import fedsynth, output_of

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 1, "steps": 2}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)


def enroll(run_id: str = "run-1") -> EnrollRequest:
    return EnrollRequest(run_id, STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    table = clinic_table(100, seed=0)
    table.assign(patient=[f"p{row}" for row in range(len(table))]).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(STUDY.to_toml())
    return path


@pytest.fixture
def folder(tmp_path: Path, data: Path) -> Path:
    made = fedsynth(
        "site", "init", tmp_path / "site", "--name", "north", "--data", data, "--declared-rows", 100,
        "--max-epsilon", 5, "--delta", "1e-4", "--patient-column", "patient",
    )  # fmt: skip
    assert made.exit_code == 0, output_of(made)
    return tmp_path / "site"


def change(folder: Path, before: str, after: str) -> None:
    text = (folder / "site.toml").read_text()
    assert before in text
    (folder / "site.toml").write_text(text.replace(before, after))


def test_init_makes_a_site_that_only_this_account_can_read(folder: Path, data: Path) -> None:
    site = read_site(folder)
    assert site == read_site(folder / "site.toml")
    assert (site.name, site.cohort, site.data, site.max_epsilon, site.delta) == ("north", "north", data, 5.0, 1e-4)
    assert (site.min_rows, site.rehearsal, site.studies, site.state) == (30, False, (), folder)
    assert len((folder / HOLDOUT_KEY).read_bytes()) == 32
    with open_hospital(site) as north:
        north.handle(enroll())
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((folder / "approvals").stat().st_mode) == 0o700
    for path in folder.rglob("*"):
        assert path.suffix == ".pub" or stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    comments = [line for line in (folder / "site.toml").read_text().splitlines() if line.startswith("# ")]
    assert len(comments) == 1 + len(Site.model_fields)


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


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_epsilon = 5.0\n", "", "[max_epsilon] is not given; add it"),
        ("delta = 0.0001\n", "", "[delta] is not given; add it"),
        ("max_epsilon = 5.0", "max_epsilon = inf", "[max_epsilon]"),
        ("max_epsilon = 5.0", "max_epsilom = 5.0", "unknown key 'max_epsilom'; did you mean 'max_epsilon'?"),
        ("delta = 0.0001", "delta = 0.01", "delta = 0.01 is not below 1 / declared_rows (0.01)"),
        ("min_rows = 30", "min_rows = 101", "declared_rows = 100 is below min_rows = 101"),
        ('"histograms"', '"histogram"', "phases: unknown phase 'histogram'; choose from histograms, coarse"),
        ("studies = []", 'studies = ["abc"]', "a fingerprint has 64 hexadecimal digits"),
        ("studies = []", f'studies = ["{"g" * 64}"]', "a fingerprint has 64 hexadecimal digits"),
        ("rehearsal = false", 'rehearsal = "no"', "[rehearsal]"),
        ("name =", "name", "is not valid TOML"),
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
    more = ("--run", "run-1", "--yes") if command == "approve" else ()
    refused = fedsynth("site", command, study, "--site", folder, *more)
    assert refused.exit_code == 2
    assert "chmod go-rwx" in output_of(refused)
    assert not list((folder / "approvals").iterdir())


def test_a_site_answers_a_run_that_was_approved_and_no_other(folder: Path, study: Path) -> None:
    with open_hospital(read_site(folder)) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
        approved = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, "--yes")
        assert approved.exit_code == 0, output_of(approved)  # while the hospital holds its ledger
        assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), CountsReply)
        assert north.handle(enroll("run-2")).reason == Reason.STUDY_NOT_APPROVED  # type: ignore[union-attr]
    shown = fedsynth("site", "ledger", "show", "--site", folder)
    assert shown.exit_code == 0
    assert "clinic" in output_of(shown)


def test_an_allowed_study_needs_no_approval_of_its_runs(folder: Path) -> None:
    change(folder, "studies = []", f'studies = ["{STUDY.fingerprint}"]')
    with open_hospital(read_site(folder)) as north:
        assert north.handle(enroll()).reason == Reason.ACCEPTED  # type: ignore[union-attr]


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
    more = {"delta": 1e-4, "rehearsal": True, "studies": [STUDY.fingerprint], "patient_column": "patient"}
    site = init_site(tmp_path / "site", settings | more)
    with open_hospital(site) as north:
        assert north.handle(enroll()).reason == Reason.STUDY_REHEARSAL  # type: ignore[union-attr]


def test_approve_says_what_leaves_to_whom_and_at_what_epsilon(folder: Path, study: Path) -> None:
    asked = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, answer="n\n")
    assert asked.exit_code == 3
    text = output_of(asked)
    for words in (
        STUDY.fingerprint,
        PLAN.digest,
        "north would send to the coordinator of the study",
        "may publish the result: south",
        'used, one quoted name per line: "age" "lab" "sex" "outcome" The coordinator would get: - yes',
        f"a patient is in at most {PLAN.vectors[0].tables} of them",
        "by every two columns in 4 groups each: 6 tables",
        "1 times: the weights of generator and discriminator",
        "It costs each patient epsilon 3.000 at delta 0.0001",
        "nothing of epsilon 5 at delta 0.0001 is spent",
        "nothing was written",
    ):
        assert words in text
    assert not list((folder / "approvals").iterdir())


def test_approve_shows_what_the_cohort_has_spent(folder: Path, study: Path) -> None:
    change(folder, "max_epsilon = 5.0", "max_epsilon = 9.0")
    assert fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, "--yes").exit_code == 0
    with open_hospital(read_site(folder)) as north:
        north.handle(enroll())
    second = fedsynth("site", "approve", study, "--run", "run-2", "--site", folder, answer="y\n")
    assert second.exit_code == 0
    assert "released or reserved epsilon 3." in output_of(second)
    stored = json.loads((folder / "approvals" / "run-2.json").read_text())
    assert (stored["fingerprint"], stored["plan_sha256"]) == (STUDY.fingerprint, PLAN.digest)
    known = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, "--yes")
    assert known.exit_code == 2
    assert "already in the ledger" in output_of(known)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("max_epsilon = 5.0", "max_epsilon = 2.0", "costs more epsilon than the hospital allows"),
        ("declared_rows = 100", "declared_rows = 110", "declare different numbers of rows"),
        ('    "rounds",\n', "", "a phase that the hospital does not take part in"),
        ('name = "north"', 'name = "west"', "does not list this hospital"),
    ],
)
def test_approve_refuses_what_the_policy_would_refuse(
    before: str, after: str, words: str, folder: Path, study: Path
) -> None:
    change(folder, before, after)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, "--yes")
    assert refused.exit_code == 3
    assert words in output_of(refused)
    assert not list((folder / "approvals").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="unproven: giving files away needs root")
def test_approve_refuses_another_account(folder: Path, study: Path) -> None:
    os.chown(folder, 20001, 20001)
    refused = fedsynth("site", "approve", study, "--run", "run-1", "--site", folder, "--yes")
    assert refused.exit_code == 2
    assert "belongs to account 20001" in output_of(refused)
    assert not list((folder / "approvals").iterdir())


@pytest.mark.parametrize("run_id", ["../run", "a b", "x" * 65])
def test_approve_wants_a_run_that_can_name_a_file(run_id: str, folder: Path, study: Path) -> None:
    refused = fedsynth("site", "approve", study, "--run", run_id, "--site", folder, "--yes")
    assert refused.exit_code == 2
    assert "1 to 64 letters" in output_of(refused)


def test_consider_run_refuses_an_unusable_run_id(folder: Path) -> None:
    # Before a person reads the statement: `Approvals.write` would refuse it only afterwards.
    with pytest.raises(SiteError, match="1 to 64 letters"):
        consider_run(read_site(folder), Agreement("../run", STUDY, PLAN))


def test_check_tells_the_hospital_about_its_table(folder: Path, study: Path, data: Path) -> None:
    fits = fedsynth("site", "check", study, "--site", folder)
    assert fits.exit_code == 0
    assert "the table fits study clinic" in output_of(fits)
    assert "written by people" not in output_of(fits)
    drafted = study.with_name("drafted.toml")
    drafted.write_text(study.read_text().replace('origin = "written"', 'origin = "drafted"'))
    assert "accepts only studies written by people" in output_of(fedsynth("site", "check", drafted, "--site", folder))
    rows = data.read_text().splitlines()
    data.write_text("\n".join([*rows, *rows[1:21]]) + "\n")
    change(folder, "declared_rows = 100", "declared_rows = 200")
    told = fedsynth("site", "check", study, "--site", folder)
    assert told.exit_code == 0
    assert "20 rows dropped: only the first of each patient is used" in output_of(told)
    assert "the table has 100 patients and site.toml declares 200" in output_of(told)
    assert "the study declares 100 rows and site.toml 200" in output_of(told)


def test_check_turns_what_single_records_hold_into_notices(folder: Path, study: Path, data: Path) -> None:
    # No record may decide the public schema: nobody is asked to change a study because of one patient.
    table = pd.read_csv(data, dtype=str, keep_default_na=False)
    table.loc[7, "age"], table.loc[9, "outcome"] = "104", "withdrawn"
    table.loc[[3, 4], "age"] = "x"
    table.loc[[5, 6, 8], "sex"] = ""
    table.to_csv(data, index=False)
    checked = fedsynth("site", "check", study, "--site", folder)
    assert checked.exit_code == 0
    for words in (
        "'age' is outside [18, 100] in 1 row, clamped to the bounds",
        "'age' holds text that is not a number in 2 rows, counted as the lower bound, 18",
        "'sex' is missing in 3 rows where missing = false, counted as the last category, 'male'",
        "'outcome' holds unlisted labels in 1 row, counted as the last category, 'yes'",
    ):
        assert f"note north: column {words}; this number is a fact about your patients" in output_of(checked)
    assert "the table fits study clinic" in output_of(checked)
    assert "withdrawn" not in output_of(checked)


def test_check_says_that_the_study_lists_another_identity(folder: Path, study: Path) -> None:
    # The coordinator would take this hospital's replies for somebody else's.
    def told(identity: str) -> str:
        facts = tuple(
            one.model_copy(update={"identity": identity}) if one.name == "north" else one for one in STUDY.hospitals
        )
        study.write_text(STUDY.with_hospitals(facts).to_toml())
        return output_of(fedsynth("site", "check", study, "--site", folder))

    assert "lists another identity" in told(Identity.simulated(1, "north").public)
    assert "lists another identity" not in told((folder / "identity.key.pub").read_text().strip())


@pytest.mark.parametrize("command", ["check", "approve"])
def test_site_shows_every_partners_fingerprint(command: str, folder: Path, study: Path) -> None:
    key = Identity.simulated(1, "south").public
    south = FACTS[1].model_copy(update={"identity": key})
    west = HospitalFacts(name="west", declared_rows=90)
    study.write_text(STUDY.with_hospitals((FACTS[0], south, west)).to_toml())
    more = ("--run", "run-1", "--yes") if command == "approve" else ()
    told = fedsynth("site", command, study, "--site", folder, *more)
    assert told.exit_code == 0, output_of(told)
    assert f"south: {fingerprint(key)}" in output_of(told)
    assert "west: no key is listed" in output_of(told)
    assert "Compare each partner's fingerprint by telephone with the partner itself" in output_of(told)
    assert "north: no key" not in output_of(told)


def test_check_refuses_few_patients_and_missing_columns(folder: Path, study: Path, data: Path) -> None:
    rows = data.read_text().splitlines()
    data.write_text("\n".join(rows[:21]) + "\n")
    few = fedsynth("site", "check", study, "--site", folder)
    assert few.exit_code == 5
    assert "20 patients, below min_rows = 30" in output_of(few)
    data.write_text("\n".join([rows[0].replace("sex", "gender"), *rows[1:]]) + "\n")
    other = fedsynth("site", "check", study, "--site", folder)
    assert other.exit_code == 5
    assert "column 'sex' is not in the table" in output_of(other)


def test_the_held_out_patients_follow_from_the_sites_own_key(folder: Path) -> None:
    site = read_site(folder)
    replies = []
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        (folder / HOLDOUT_KEY).write_bytes(key)
        with open_hospital(site) as north:
            replies.append(north._open_shard(STUDY).histograms(PLAN.cells).tolist())
    assert replies[0] == replies[1] != replies[2]


def test_a_hospital_opens_without_torch_and_without_its_data(folder: Path, data: Path) -> None:
    data.unlink()
    code = (
        "import sys; from pathlib import Path\n"
        "from client.site.config import read_site; from client.site.opening import open_hospital\n"
        f"with open_hospital(read_site(Path({str(folder)!r}))) as north: print(north.policy.hospital)\n"
        "assert not {'torch', 'flwr', 'typer'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "north\n"), done.stderr
    change(folder, "studies = []", f'studies = ["{STUDY.fingerprint}"]')
    with open_hospital(read_site(folder)) as north:
        reply = north.handle(enroll())
        assert isinstance(reply, EnrollReply)
        assert reply.reason == Reason.ACCEPTED
        assert isinstance(north.handle(CountsRequest("run-1", "histograms")), Unavailable)
    assert Ledger.view(folder / "ledger.sqlite").lines() == ()


def test_a_policy_of_a_site_needs_approval() -> None:
    fields = {"name": "north", "cohort": "a", "data": "t.csv", "declared_rows": 100, "max_epsilon": 5.0, "delta": 1e-4}
    policy = Site.model_validate(fields).policy
    assert not policy.is_simulation
    assert policy.approved == frozenset()
    assert replace(policy, is_simulation=True) != policy


class TestReadAgreement:
    def test_a_study_file_needs_a_run_id(self, study: Path) -> None:
        with pytest.raises(SiteError, match="does not name a run; give --run"):
            read_agreement(study, None)
        assert read_agreement(study, "run-1").run_id == "run-1"

    def test_a_proposal_keeps_its_own_run_id(self, tmp_path: Path) -> None:
        key = Identity.create(tmp_path / "coordinator.key")
        signed = clinic_study(federation={"coordinator": key.public}).with_hospitals(FACTS)
        path = tmp_path / "proposal.json"
        path.write_text(Proposal.make("run-1", signed, key).to_json())
        assert read_agreement(path, None).run_id == read_agreement(path, "run-1").run_id == "run-1"
        with pytest.raises(SiteError, match="the proposal is for run 'run-1'; leave --run out"):
            read_agreement(path, "run-2")
