"""Every deliberate bug of `bugs.py` is caught by the audit or by a named test, which shipped code passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from client.consent.approvals import Approvals
from client.consent.partners import Partners
from client.site.importing import import_table
from client.supernode import relay
from common.errors import FederationError, MaskingError, PolicyRefusal, Reason, StudyError
from common.ledger.receipts import Shown
from common.planning.phases import COARSE, IMAGE_MEANS, TRANSITIONS
from common.privacy.events import Event
from common.privacy.mechanisms import SeededNoise
from common.protocol.bundle import PYPROJECT, bundle_text
from common.version import VERSION
from simulations.audit.attacks import QUIET
from simulations.audit.bounds import Scores, contradicts
from simulations.audit.counts import exact_vectors, repeat_release
from simulations.audit.gradients import Steps, attack_run
from simulations.audit.rounds import attack_rounds, round_study
from simulations.audit.site import shards_with_and_without
from simulations.audit.trials import together
from simulations.federation.hospitals import built_in_study
from tests.client import test_hospital as hospital_tests
from tests.client import test_masking as masking_tests
from tests.client import test_shard_opening as opening_tests
from tests.client.agent import test_request_checks as check_tests
from tests.client.agent import test_timing as timing_tests
from tests.client.consent import test_approvals as approval_tests
from tests.client.consent import test_decisions as decision_tests
from tests.client.consent import test_partners as partner_tests
from tests.client.site import test_imported as imported_tests
from tests.client.site import test_importing as importing_tests
from tests.common.ledger import test_restore as restore_tests
from tests.common.ledger import test_witness as witness_tests
from tests.common.marginals import test_latent_classes as class_tests
from tests.common.marginals import test_queries as query_tests
from tests.common.marginals import test_votes as nearest_tests
from tests.common.planning import test_evaluation as evaluation_tests
from tests.common.planning import test_images as image_tests
from tests.common.planning import test_transitions as transition_tests
from tests.common.planning import test_votes as vote_tests
from tests.common.privacy import test_dpsgd as dpsgd_tests
from tests.common.privacy import test_synchronous as synchronous_tests
from tests.common.synthesizers.history_gan import test_synthesizer as history_gan_tests
from tests.common.tables import test_frozen as frozen_tests
from tests.common.tables import test_patients as patient_tests
from tests.federation import test_classes as class_run_tests
from tests.mutations.bugs import BUGS
from tests.simulations.audit import test_audit as audit_tests
from tests.simulations.audit import test_images_audit as images_audit_tests
from tests.simulations.audit import test_opened as opened_tests
from tests.testbeds import site_folder
from tests.testbeds.bundles import packed
from tests.testbeds.hospital_runs import open_ledger
from tests.testbeds.images import images_study, images_table
from tests.testbeds.masking import CONTEXT, NAMES, MaskingTestbed
from tests.testbeds.visits import FACTS, visits_study, with_and_without_a_history

pytestmark = pytest.mark.slow

SIGNIFICANCE = 1e-5
"""That a check of shipped code raises a false alarm; the trials are seeded, so it does so always or never."""

Log = pytest.LogCaptureFixture

ONES = {name: np.ones(3, dtype=np.int64) for name in NAMES}


class Refuted(AssertionError):
    """The audit contradicts the claim. Any other failure of an audit is no catch."""


def survives(scores: Scores, claim: Sequence[Event]) -> None:
    if contradicts(scores, claim, SIGNIFICANCE):
        raise Refuted


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def attack_steps(steps: Steps, runs: int) -> None:
    coins = np.random.default_rng(1)
    scores = together([attack_run(steps, SeededNoise(2).named(run), coins) for run in range(runs)])
    survives(scores, [steps.event])


def audit_of_gradients(folder: Path, log: Log) -> None:
    attack_steps(Steps(noise_multiplier=2.0, sample_rate=0.25, steps=16, clip=0.5, batch=20), runs=6)


def audit_of_gradients_with_little_noise(folder: Path, log: Log) -> None:
    attack_steps(QUIET, runs=10)


def audit_of_replies(folder: Path, log: Log) -> None:
    study, coins = round_study(epsilon=6.0, rounds=8, steps=1), np.random.default_rng(3)
    runs = [attack_rounds(study, SeededNoise(run), coins) for run in range(3)]
    survives(together([scores for scores, _ in runs]), runs[0][1])


def audit_of_coarse_counts(folder: Path, log: Log) -> None:
    study = built_in_study().amended(training={"rounds": 0}, privacy={"noise": "local", "epsilon": 10.0})
    vectors = exact_vectors(study, "cleveland", *shards_with_and_without(study, "cleveland", 300))
    coarse = next(vector for vector in vectors if vector.phase == COARSE)
    scores = repeat_release(coarse, SeededNoise(4), np.random.default_rng(5), 10_000)
    survives(scores, [coarse.event])


def audit_of_weighted_counts(folder: Path, log: Log) -> None:
    study = audit_tests.small_study(training={"rounds": 0}, privacy={"epsilon": 1.0})
    vectors = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))
    coarse = next(vector for vector in vectors if vector.phase == COARSE)
    change = coarse.present - coarse.absent
    assert np.abs(change).max() > 1, "the audited vector has weights"
    scores = repeat_release(coarse, SeededNoise(6), np.random.default_rng(7), 40_000)
    survives(scores, [coarse.event])


def one_patient_in_weighted_tables(folder: Path, log: Log) -> None:
    query_tests.TestOnePatient().test_with_weights_can_be_worked_out_by_hand()


def audit_of_visits(folder: Path, log: Log) -> None:
    study = visits_study(privacy={"epsilon": 6.0}).with_hospitals(FACTS[:1], cap_minimum=True)
    vectors = exact_vectors(study, "north", *with_and_without_a_history(study))
    for number, name in enumerate((COARSE, TRANSITIONS)):
        vector = next(vector for vector in vectors if vector.phase == name)
        scores = repeat_release(vector, SeededNoise(8 + number), np.random.default_rng(9), 10_000)
        survives(scores, [vector.event])


def one_patient_with_visits(folder: Path, log: Log) -> None:
    transition_tests.TestOnePatient().test_changes_no_more_than_is_charged(transition_tests.finished_run(4), 4)


def one_patient_in_a_step(folder: Path, log: Log) -> None:
    history_gan_tests.TestOnePatient().test_changes_the_clipped_sum_by_at_most_the_clip(1e3)


def audit_of_images(folder: Path, log: Log) -> None:
    vector = images_audit_tests.image_vectors()[IMAGE_MEANS]
    scores = repeat_release(vector, SeededNoise(8), np.random.default_rng(9), 10_000)
    survives(scores, [vector.event])


def one_patient_with_images(folder: Path, log: Log) -> None:
    finished = image_tests.finished_run(images_study(), images_table(300))
    image_tests.TestOnePatient().test_changes_no_more_than_is_charged(finished, [image_tests.WHITE] * 3)


def one_patient_in_votes(folder: Path, log: Log) -> None:
    vote_tests.test_one_patient_changes_one_count_of_votes(0)


def one_patient_in_classes(folder: Path, log: Log) -> None:
    for seed in range(30):
        class_tests.test_one_patient_changes_one_cell_of_every_column(seed)


def rounds_of_classes(folder: Path, log: Log) -> None:
    (folder / "planned").mkdir()
    class_run_tests.TestHospital().test_answers_every_planned_round_once(folder / "planned")
    (folder / "beyond").mkdir()
    class_run_tests.TestHospital().test_refuses_rounds_outside_the_plan(folder / "beyond", 3)


def one_patient_held_out(folder: Path, log: Log) -> None:
    evaluation_tests.TestAnswer().test_one_patient_changes_no_more_than_is_charged(0)


def operations_of_votes(folder: Path, log: Log) -> None:
    with pytest.MonkeyPatch.context() as patch:
        nearest_tests.TestNearest().test_ties_take_the_same_operations(patch)


def repeated_request(folder: Path, log: Log) -> None:
    with closing(open_ledger(folder / "ledger.sqlite")) as ledger:
        hospital_tests.test_repeated_request_gets_the_stored_reply_for_free(ledger)


def failing_hospital(folder: Path, log: Log) -> None:
    with closing(open_ledger(folder / "ledger.sqlite")) as ledger:
        hospital_tests.test_failure_is_charged_first_and_shows_no_cell(ledger, log)


def rounding_test(folder: Path, log: Log) -> None:
    for hidden, few in ((512, 15), (64, 3)):  # where processors of two makers change their kernel
        dpsgd_tests.TestEvenKernels().test_rounding_does_not_reveal_the_number_of_rows(hidden, few)


def expected_batch(folder: Path, log: Log) -> None:
    dpsgd_tests.TestNoisyGradient().test_the_sum_is_divided_by_the_expected_batch()


def holdout_place(folder: Path, log: Log) -> None:
    patient_tests.test_added_patient_changes_no_other_holdout()


def sum_of_three_of_five(folder: Path, log: Log) -> None:
    """Four must be in a sum, so nobody signs that three are."""
    testbed = MaskingTestbed().advertise().share().mask(ONES, ["birch", "elder"])
    signed = []
    for name in testbed.masked:
        with suppress(MaskingError):
            signed.append(testbed.sessions[name].sign(list(testbed.masked)))
    assert signed == []


def split_view(folder: Path, log: Log) -> None:
    """The coordinator tells two of five that elder did not survive, and all that everybody agrees."""
    testbed = MaskingTestbed().advertise().share().mask(ONES)
    shown = {name: NAMES[:4] if name in ("cedar", "delta") else NAMES for name in NAMES}
    signed = {name: testbed.sessions[name].sign(shown[name]) for name in NAMES}
    opened = []
    for name in NAMES:
        with suppress(MaskingError):
            opened.append(testbed.sessions[name].open({other: signed[other] for other in shown[name]}))
    assert opened == []


def two_attempts(folder: Path, log: Log) -> None:
    """What a coordinator could work out of two attempts if their masks had anything in common."""
    first = MaskingTestbed().advertise().share().mask(ONES)
    second = (
        MaskingTestbed(context=replace(CONTEXT, attempt=2), identities=first.identities).advertise().share().mask(ONES)
    )
    assert all(first.roster[name].keys != second.roster[name].keys for name in NAMES)


def audit_of_opened_sums(folder: Path, log: Log) -> None:
    scores, claim = synchronous_tests.attack(3)
    survives(scores, [claim])


def audit_of_opened_counts(folder: Path, log: Log) -> None:
    study = opened_tests.shared_study(privacy={"epsilon": 10.0})
    vector = exact_vectors(study, "north", *shards_with_and_without(study, "north", 90))[0]
    scores = repeat_release(vector, SeededNoise(8), np.random.default_rng(9), 40_000)
    survives(scores, [vector.event])


def one_patient_on_a_coarse_lattice(folder: Path, log: Log) -> None:
    synchronous_tests.TestShare().test_a_clipped_patient_moves_it_by_clip_and_rounding()


def pins_removed_after_an_approval(folder: Path, log: Log) -> None:
    """The coordinator lists keys of its own under partners' names."""
    nobody = Partners(folder / "partners.toml")
    study = partner_tests.study_of()
    assert partner_tests.TestPolicy().reasons(study, nobody) == (Reason.PARTNER_NOT_PINNED,) * 2


def submitted_code(folder: Path, log: Log) -> None:
    """The known bundle with a module beside it."""
    hostile = packed(**{PYPROJECT: bundle_text(VERSION), "client.py": ""})
    with suppress(FederationError):
        relay._install(hostile)
        raise AssertionError("a site accepts an app with code")


def two_persons(folder: Path, log: Log) -> None:
    decision_tests.TestStanding().test_four_eyes_are_those_of_two_persons()


def end_of_an_approval(folder: Path, log: Log) -> None:
    decision_tests.TestStanding().test_an_approval_ends_at_its_last_second()


def lost_withdrawal(folder: Path, log: Log) -> None:
    (folder / "approvals").mkdir()
    with (
        closing(open_ledger(folder / "ledger.sqlite")) as ledger,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(approval_tests, "HEAD", ledger.head)
        approval_tests.TestRecord().test_a_file_that_lost_a_decision_approves_nothing(
            Approvals(folder / "approvals"), ledger
        )


def imported_notes(folder: Path, log: Log) -> None:
    importing_tests.TestWhatIsFrozen().test_one_patient_more_changes_one_row(folder)


def imported_visits(folder: Path, log: Log) -> None:
    importing_tests.TestWhatIsFrozen().test_is_the_first_row_of_each_patient(folder)


def two_digests(folder: Path, log: Log) -> None:
    frozen_tests.test_a_digest_says_nothing_about_its_table(folder)


def changed_byte(folder: Path, log: Log) -> None:
    site = site_folder.make_site(folder, site_folder.patients())
    import_table(site)
    try:
        imported_tests.TestFrozenTable().test_notices_a_changed_byte_until_it_is_restored(site)
    except pytest.fail.Exception as problem:  # of a `pytest.raises`
        raise AssertionError from problem


def more_rows_than_identifiers(folder: Path, log: Log) -> None:
    try:
        opening_tests.test_more_rows_than_identifiers_open()
    except StudyError as problem:
        raise AssertionError from problem


def charge_before_records(folder: Path, log: Log) -> None:
    with closing(open_ledger(folder / "ledger.sqlite")) as ledger:
        hospital_tests.test_records_open_once_the_charge_is_on_the_disk(ledger)


def later_import(folder: Path, log: Log) -> None:
    site = site_folder.make_site(folder, site_folder.patients())
    import_table(site)
    imported_tests.TestAnswers().test_end_when_another_table_is_imported(site)


def operations_of_a_step(folder: Path, log: Log) -> None:
    dpsgd_tests.TestTiming().test_the_same_operations_whatever_is_in_a_row(
        "overflow_in_the_second_layer_from_finite_weights"
    )


def denormal_numbers(folder: Path, log: Log) -> None:
    dpsgd_tests.TestTiming().test_denormal_numbers_are_zero_here_and_only_here()


def replies_on_the_grid(folder: Path, log: Log) -> None:
    timing_tests.test_replies_from_records_leave_on_the_grid(timing_tests.MASKED, 0.01, 2.0)


def restored_state_folder(folder: Path, log: Log) -> None:
    witness_tests.test_a_restored_state_folder_draws_no_second_time(witness_tests.Site(folder))


def accepted_restore(folder: Path, log: Log) -> None:
    with closing(restore_tests.opened(restore_tests.old_copy(folder))) as restored:
        restore_tests.test_everything_reserved_counts_as_spent(restored)


def killed_computation(folder: Path, log: Log) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hospital_tests.test_a_killed_computation_is_repeated_with_its_noise(folder, patch, "round")


def failure_after_the_draw(folder: Path, log: Log) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hospital_tests.test_a_failure_after_the_draw_is_the_answer_for_ever(folder, patch)


def expired_request(folder: Path, log: Log) -> None:
    with pytest.MonkeyPatch.context() as patch:
        check_tests.test_an_expired_request_is_refused(patch)


def forgotten_receipt(folder: Path, log: Log) -> None:
    """The coordinator shows a receipt, and later none."""
    with closing(restore_tests.shown_ledger(folder)) as ledger, suppress(PolicyRefusal):
        ledger.check_shown(Shown("ours", None))
        raise AssertionError("nobody missed it")


def partner_that_went_back(folder: Path, log: Log) -> None:
    with ExitStack() as stack:
        masking_tests.test_a_partner_whose_ledger_went_back_is_refused(folder, stack, went_back=True)


CAUGHT_BY: dict[str, Callable[[Path, Log], None]] = {
    "no clipping": audit_of_gradients,
    "one pass over the rows that were drawn": rounding_test,
    "noise divided by the batch a second time": audit_of_gradients,
    "noise for half the clip": audit_of_gradients,
    "noise on biases only": audit_of_gradients,
    "one number of noise for all weights": audit_of_gradients,
    "one number of noise for all counts": audit_of_coarse_counts,
    "an accountant that forgets earlier rounds": audit_of_replies,
    "batches dealt from a shuffled table": audit_of_gradients_with_little_noise,
    "rare categories in every batch": audit_of_replies,
    "a mean over the rows that were drawn": expected_batch,
    "a random holdout": holdout_place,
    "bins between the smallest and the largest value": audit_of_coarse_counts,
    "a sensitivity that counts columns but no pairs": audit_of_coarse_counts,
    "weights that the charged sensitivity ignores": audit_of_weighted_counts,
    "a factor of centering that is applied twice": one_patient_in_weighted_tables,
    "visits that each weigh a whole patient": audit_of_visits,
    "steps that each weigh a whole patient": audit_of_visits,
    "visits that are clipped one by one": one_patient_in_a_step,
    "images that each weigh a whole patient": one_patient_with_images,
    "images that nobody clips": audit_of_images,
    "parts of a patient that are charged as patients": one_patient_with_visits,
    "a vote for every nearest candidate": one_patient_in_votes,
    "ties that depend on the row number": one_patient_in_votes,
    "a prediction for every best class": one_patient_held_out,
    "predictions that weigh more than is charged": one_patient_held_out,
    "votes that take longer where candidates tie": operations_of_votes,
    "a patient in every likely class": one_patient_in_classes,
    "classes that depend on the row number": one_patient_in_classes,
    "rounds beyond those of the plan": rounds_of_classes,
    "one charge for all rounds of classes": rounds_of_classes,
    "fresh noise for a repeated request": repeated_request,
    "an error text with a cell in it": failing_hospital,
    "a sum opened over whoever is left": sum_of_three_of_five,
    "survivors that nobody else signed": split_view,
    "one mask key for every attempt": two_attempts,
    "a share divided among the hospitals a second time": audit_of_opened_sums,
    "noise that colluders are counted on for": audit_of_opened_counts,
    "every row of a patient is a record": audit_of_coarse_counts,
    "rounding that nobody counts": one_patient_on_a_coarse_lattice,
    "partners that nobody pinned": pins_removed_after_an_approval,
    "an app that the coordinator wrote": submitted_code,
    "one person with four eyes": two_persons,
    "an approval that never ends": end_of_an_approval,
    "a withdrawal that a deleted file undoes": lost_withdrawal,
    "a record for every physical line": imported_notes,
    "a second row of a patient in the frozen table": imported_visits,
    "a failure that tells how many rows there are": more_rows_than_identifiers,
    "records that open before the charge": charge_before_records,
    "a digest by which a table can be guessed": two_digests,
    "a digest of the tables size alone": changed_byte,
    "answers from a table that was imported later": later_import,
    "a branch on overflow": operations_of_a_step,
    "time spent on denormal numbers": denormal_numbers,
    "replies that leave when they are ready": replies_on_the_grid,
    "a witness that is never read": restored_state_folder,
    "a restore that charges nothing": accepted_restore,
    "fresh noise after a kill": killed_computation,
    "a second draw after a failure": failure_after_the_draw,
    "requests that never expire": expired_request,
    "receipts that a coordinator may forget": forgotten_receipt,
    "partners whose ledgers may go back": partner_that_went_back,
}


AUDITS = (
    audit_of_gradients,
    audit_of_gradients_with_little_noise,
    audit_of_replies,
    audit_of_coarse_counts,
    audit_of_weighted_counts,
    audit_of_images,
    audit_of_opened_sums,
    audit_of_opened_counts,
)


def test_every_bug_has_a_check_and_is_documented() -> None:
    assert CAUGHT_BY.keys() == BUGS.keys()
    text = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    assert [name for name in BUGS if name not in text] == []


@pytest.mark.parametrize("check", [*dict.fromkeys(CAUGHT_BY.values())])
def test_shipped_code_passes(check: Callable[[Path, Log], None], tmp_path: Path, caplog: Log) -> None:
    check(tmp_path, caplog)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught(name: str, tmp_path: Path, caplog: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    check = CAUGHT_BY[name]
    with pytest.raises(Refuted if check in AUDITS else AssertionError):
        check(tmp_path, caplog)
