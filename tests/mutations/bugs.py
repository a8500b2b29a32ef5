"""Privacy bugs that were made on purpose, each a few lines in the place of shipped code."""

from __future__ import annotations

import csv
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from client import answers, hospital, peers, shard
from client.agent import timing
from client.consent.approvals import Approvals
from client.consent.decisions import Decision, Person
from client.consent.partners import Partners
from client.consent.policy import Policy
from client.site import importing
from client.supernode import relay
from common.arrays import Floats, Integers, Weights
from common.columns import grid_code
from common.columns.base import Codes
from common.images import sums
from common.ledger import draws, history, restore, witness
from common.ledger.ledger import Ledger, Slot
from common.marginals import classifier, hashing, histories, latent_classes, votes
from common.marginals.measurements import Measurements
from common.marginals.queries import Domain
from common.planning.evaluation import EvaluationTables
from common.planning.phases import COARSE
from common.planning.plan import HospitalPlan, Plan, PlannedVector
from common.privacy import dpsgd
from common.privacy import quantization as quantization_module
from common.privacy import synchronous as synchronous
from common.privacy.discriminator import Discriminator
from common.privacy.events import DiscreteGaussianVector, Event
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.privacy.quantization import ClippedGrid
from common.privacy.step import DpSgdStep
from common.protocol import seals
from common.protocol.byte_form import to_bytes
from common.protocol.messages import CountsRequest
from common.protocol.signing import Identity
from common.secagg import session
from common.secagg.keys import Context, Secrets
from common.secagg.terms import Terms
from common.study.schema import Schema, VisitsSchema
from common.study.study import Study
from common.synthesizers.base import TrainingRows
from common.synthesizers.gan.synthesizer import MarginalGan
from common.synthesizers.history_gan.synthesizer import HistoryGan
from common.tables import csv_reader, frozen, patients
from common.tables.conforming import format_table
from common.tables.parts import Part

Patch = pytest.MonkeyPatch
BUGS: dict[str, Callable[[Patch], None]] = {}


def bug(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    BUGS[function.__name__.replace("_", " ")] = function
    return function


def put(patch: Patch, original: Any, mutant: Any) -> None:
    """The mutant wherever a loaded module refers to the original."""
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is original:
                patch.setattr(module, name, mutant)


@bug
def no_clipping(patch: Patch) -> None:
    honest = dpsgd.clipped_gradient_sum
    put(patch, honest, lambda net, rows, labels, clip: honest(net, rows, labels, None))


@bug
def one_pass_over_the_rows_that_were_drawn(patch: Patch) -> None:
    put(patch, dpsgd._through_in_blocks, lambda net, rows, labels: dpsgd._passes(net, rows, labels, len(rows)))


@bug
def noise_divided_by_the_batch_a_second_time(patch: Patch) -> None:
    honest = dpsgd.noisy_gradient

    def mutant(net: Discriminator, real: Tensor, fake: Tensor, step: DpSgdStep, noise: NoiseSource) -> list[Tensor]:
        less = replace(step, noise_multiplier=step.noise_multiplier / step.expected_batch)
        return honest(net, real, fake, less, noise)

    put(patch, honest, mutant)


@bug
def noise_for_half_the_clip(patch: Patch) -> None:
    honest = dpsgd.noisy_gradient

    def mutant(net: Discriminator, real: Tensor, fake: Tensor, step: DpSgdStep, noise: NoiseSource) -> list[Tensor]:
        return honest(net, real, fake, replace(step, noise_multiplier=step.noise_multiplier / 2), noise)

    put(patch, honest, mutant)


@bug
def noise_on_biases_only(patch: Patch) -> None:
    honest = dpsgd.noisy_gradient

    def mutant(net: Discriminator, real: Tensor, fake: Tensor, step: DpSgdStep, noise: NoiseSource) -> list[Tensor]:
        rows, labels = torch.cat([real, fake]), torch.cat([torch.ones(len(real)), torch.zeros(len(fake))])
        clean = dpsgd.clipped_gradient_sum(net, rows, labels, step.clip)
        noisy = honest(net, real, fake, step, noise)
        parts = zip(clean, noisy, strict=True)
        return [part / step.expected_batch if part.ndim == 2 else released for part, released in parts]

    put(patch, honest, mutant)


@bug
def one_number_of_noise_for_all_weights(patch: Patch) -> None:
    honest = SeededNoise.gaussian

    def mutant(self: SeededNoise, count: int, std: float) -> Floats:
        return np.full(count, honest(self, 1, std)[0])

    patch.setattr(SeededNoise, "gaussian", mutant)


@bug
def one_number_of_noise_for_all_counts(patch: Patch) -> None:
    honest = SeededNoise.discrete_gaussian

    def mutant(self: SeededNoise, count: int, sigma: float) -> Integers:
        return np.full(count, honest(self, 1, sigma)[0])

    patch.setattr(SeededNoise, "discrete_gaussian", mutant)


@bug
def an_accountant_that_forgets_earlier_rounds(patch: Patch) -> None:
    honest = history.History.events

    def mutant(self: history.History) -> tuple[Event, ...]:
        return honest(self)[-1:]

    patch.setattr(history.History, "events", mutant)


@bug
def batches_dealt_from_a_shuffled_table(patch: Patch) -> None:
    def mutant(self: NoiseSource, rows: int, rate: float) -> Integers:
        size = max(1, round(rows * rate))
        pile = vars(self).setdefault("pile", [])
        if len(pile) < size:
            pile[:] = np.argsort(self.uniform(rows)).tolist()
        batch, pile[:] = pile[:size], pile[size:]
        return np.sort(np.array(batch, dtype=np.int64))

    patch.setattr(NoiseSource, "poisson_sample", mutant)


@bug
def rare_categories_in_every_batch(patch: Patch) -> None:
    honest = MarginalGan.train

    def mutant(
        self: MarginalGan, weights: Weights, rows: TrainingRows, measurements: Measurements | None, seed: int
    ) -> Weights:
        codes, draw = rows.codes, rows.noise.poisson_sample
        rare = np.flatnonzero(np.bincount(codes[:, 0])[codes[:, 0]] < 5)
        patch.setattr(rows.noise, "poisson_sample", lambda count, rate: np.union1d(draw(count, rate), rare))
        return honest(self, weights, rows, measurements, seed)

    patch.setattr(MarginalGan, "train", mutant)


@bug
def a_mean_over_the_rows_that_were_drawn(patch: Patch) -> None:
    honest = dpsgd.noisy_gradient

    def mutant(net: Discriminator, real: Tensor, fake: Tensor, step: DpSgdStep, noise: NoiseSource) -> list[Tensor]:
        return honest(net, real, fake, replace(step, expected_batch=max(1, len(real))), noise)

    put(patch, honest, mutant)


@bug
def a_random_holdout(patch: Patch) -> None:
    def mutant(
        raw: pd.DataFrame, schema: Schema, *, key: bytes, fraction: float, patient_column: str | None
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        held_out = np.random.default_rng(0).permutation(len(raw)) < fraction * len(raw)
        return raw[~held_out].reset_index(drop=True), raw[held_out].reset_index(drop=True)

    put(patch, patients.split_holdout, mutant)


@bug
def bins_between_the_smallest_and_the_largest_value(patch: Patch) -> None:
    def mutant(self: Any, values: pd.Series) -> Codes:
        bins = len(self.cuts) - 1
        present = values.notna().to_numpy()
        span = max(float(values.max() - values.min()), 1e-9) if present.any() else 1.0
        codes = np.full(len(values), bins, dtype=np.int16)
        codes[present] = np.minimum((values[present] - values.min()) / span * bins, bins - 1)
        return codes

    patch.setattr(grid_code.GridCode, "encode", mutant)


@bug
def a_sensitivity_that_counts_columns_but_no_pairs(patch: Patch) -> None:
    honest = Plan.vector_event

    def mutant(self: Plan, mine: HospitalPlan, name: str) -> Event:
        event = honest(self, mine, name)
        if name != COARSE or not isinstance(event, DiscreteGaussianVector):
            return event
        planned = self.vector(name)
        assert planned is not None
        columns = math.isqrt(2 * planned.tables) + 1  # of columns (columns - 1) / 2 tables
        return replace(event, squared_sensitivity=event.squared_sensitivity * columns // planned.tables)

    patch.setattr(Plan, "vector_event", mutant)


@bug
def weights_that_the_charged_sensitivity_ignores(patch: Patch) -> None:
    honest = Plan.vector_event

    def mutant(self: Plan, mine: HospitalPlan, name: str) -> Event:
        event, planned = honest(self, mine, name), self.vector(name)
        assert planned is not None
        if not isinstance(event, DiscreteGaussianVector) or not planned.has_weights:
            return event
        return DiscreteGaussianVector(event.sigma, planned.tables)

    patch.setattr(Plan, "vector_event", mutant)


@bug
def a_factor_of_centering_that_is_applied_twice(patch: Patch) -> None:
    honest = Domain.kept
    patch.setattr(Domain, "kept", lambda self, query: honest(self, query) ** 2)


@bug
def visits_that_each_weigh_a_whole_patient(patch: Patch) -> None:
    def mutant(codes: Codes, schema: Schema) -> Iterator[tuple[int, Codes]]:
        yield schema.parts, codes

    put(patch, histories.weighted_rows, mutant)


@bug
def steps_that_each_weigh_a_whole_patient(patch: Patch) -> None:
    honest = histories.weighted_steps

    def mutant(codes: Codes, schema: VisitsSchema) -> Iterator[tuple[int, Codes]]:
        return ((schema.parts, steps) for _, steps in honest(codes, schema))

    put(patch, honest, mutant)


@bug
def visits_that_are_clipped_one_by_one(patch: Patch) -> None:
    honest = HistoryGan.patients

    def mutant(self: HistoryGan, codes: Codes) -> Codes:
        every = [np.zeros((0, len(self._layout.columns)), dtype=np.int16)]
        for visit in codes:
            alone = visit[None].copy()
            alone[0, [self._layout.visits, self._layout.visit]] = 0
            every.append(honest(self, alone))
        return np.concatenate(every)

    patch.setattr(HistoryGan, "patients", mutant)


@bug
def images_that_each_weigh_a_whole_patient(patch: Patch) -> None:
    honest = sums._blocks

    def mutant(images: Floats) -> Iterator[tuple[Floats, Floats, Integers]]:
        return ((described, np.ones_like(weights), owners) for described, weights, owners in honest(images))

    put(patch, honest, mutant)


@bug
def images_that_nobody_clips(patch: Patch) -> None:
    put(patch, sums.clipped, lambda vectors, radius: vectors)


@bug
def parts_of_a_patient_that_are_charged_as_patients(patch: Patch) -> None:
    honest = Plan.vector_event

    def mutant(self: Plan, mine: HospitalPlan, name: str) -> Event:
        return honest(replace(self, parts=1), mine, name)

    patch.setattr(Plan, "vector_event", mutant)


@bug
def a_vote_for_every_nearest_candidate(patch: Patch) -> None:
    def mutant(codes: Codes, candidates: Integers, domain: Domain) -> Integers:
        rows, weights = votes.grouped(codes, domain), votes.column_weights(domain)
        distances = ((rows[:, None] != candidates) * weights).sum(2)
        return np.asarray((distances == distances.min(1, keepdims=True)).sum(0))

    put(patch, votes.count_votes, mutant)


@bug
def ties_that_depend_on_the_row_number(patch: Patch) -> None:
    honest = hashing.row_hashes

    def mutant(rows: Integers, key: int) -> Any:
        return honest(np.column_stack([rows, np.arange(len(rows))]), key)

    put(patch, honest, mutant)


@bug
def a_patient_in_every_likely_class(patch: Patch) -> None:
    def mutant(codes: Codes, decoder: Integers, domain: Domain) -> Integers:
        width, starts = latent_classes.width_of(domain), np.cumsum([0, *domain.sizes])[:-1]
        scores = decoder[:, 0] + decoder.T[1 + starts + codes].sum(axis=1)
        rows, classes = np.nonzero(scores >= scores.max(axis=1, keepdims=True) - latent_classes.UNIT)
        cells = classes[:, None] * width + starts + codes[rows]
        return np.bincount(cells.ravel(), minlength=len(decoder) * width).astype(np.int64)

    put(patch, latent_classes.count_classes, mutant)


@bug
def classes_that_depend_on_the_row_number(patch: Patch) -> None:
    put(patch, latent_classes._occurrences, lambda codes: np.arange(len(codes)))


@bug
def rounds_beyond_those_of_the_plan(patch: Patch) -> None:
    patch.setattr(PlannedVector, "round_numbers", lambda planned: range(100))


@bug
def one_charge_for_all_rounds_of_classes(patch: Patch) -> None:
    patch.setattr(answers, "phase_and_round", lambda request: (getattr(request, "phase", "rounds"), 0))


@bug
def a_prediction_for_every_best_class(patch: Patch) -> None:
    def mutant(codes: Codes, weights: Integers, domain: Domain, target: int) -> Integers:
        count = classifier.class_count(domain, target)
        table = np.zeros((count, count), dtype=np.int64)
        true = domain.groups(target, classifier.GROUPS)[codes[:, target]]
        scores = weights.T[classifier._features(codes, domain, target)].sum(axis=1)
        np.add.at(table, true, (scores == scores.max(axis=1, keepdims=True)).astype(np.int64))
        return table

    put(patch, classifier.confusion, mutant)


@bug
def predictions_that_weigh_more_than_is_charged(patch: Patch) -> None:
    charged = property(lambda tables: len(tables.queries) + 1)
    patch.setattr(EvaluationTables, "squared_sensitivity", charged)


@bug
def votes_that_take_longer_where_candidates_tie(patch: Patch) -> None:
    def mutant(agreement: Floats, rows: Any, candidates: Any) -> Integers:
        chosen = []
        for number, row in enumerate(agreement):
            tied = np.flatnonzero(row == row.max())
            chosen.append(tied[vars(votes)["mixed"](rows[number] ^ candidates[tied]).argmin()])
        return np.array(chosen, dtype=np.int64)

    put(patch, votes._best, mutant)


@bug
def fresh_noise_for_a_repeated_request(patch: Patch) -> None:
    numbers = itertools.count()

    def mutant(fingerprint: str, run_id: str, phase: str, number: int, attempt: int) -> Slot:
        return Slot(fingerprint, run_id, phase, number + next(numbers), attempt)

    patch.setattr(answers, "Slot", mutant)


@bug
def an_error_text_with_a_cell_in_it(patch: Patch) -> None:
    put(patch, hospital._kind_and_line, str)


@bug
def a_sum_opened_over_whoever_is_left(patch: Patch) -> None:
    patch.setattr(session.Session, "_require_enough", lambda self, hospitals, what: None)


@bug
def survivors_that_nobody_else_signed(patch: Patch) -> None:
    patch.setattr(session, "is_signature", lambda data, signature, public: True)


@bug
def one_mask_key_for_every_attempt(patch: Patch) -> None:
    known: dict[str, Secrets] = {}

    def mutant(
        self: session.Session, context: Context, terms: Terms, name: str, identity: Identity, ledger: bytes
    ) -> None:
        honest(self, context, terms, name, identity, ledger)
        self._secrets = known.setdefault(name, self._secrets)  # type: ignore[arg-type]
        self.advertisement = known[name].advertise(context, name, identity, ledger)

    honest = session.Session.__init__
    patch.setattr(session.Session, "__init__", mutant)


@bug
def a_share_divided_among_the_hospitals_a_second_time(patch: Patch) -> None:
    honest = synchronous.gradient_share

    def mutant(net: Discriminator, real: Tensor, clipped: ClippedGrid, **rest: Any) -> Integers:
        less = replace(clipped.grid, share_sigma=clipped.grid.share_sigma / math.sqrt(3))
        return honest(net, real, replace(clipped, grid=less), **rest)

    put(patch, honest, mutant)


@bug
def noise_that_colluders_are_counted_on_for(patch: Patch) -> None:
    patch.setattr(Study, "honest_survivors", property(lambda study: study.threshold))


@bug
def every_row_of_a_patient_is_a_record(patch: Patch) -> None:
    a_second_row_of_a_patient_in_the_frozen_table(patch)
    patch.setattr(shard, "first_of_each", lambda digests: np.ones(len(digests), dtype=np.bool_))


@bug
def rounding_that_nobody_counts(patch: Patch) -> None:
    put(patch, quantization_module.sensitivity, lambda units, parameters: float(units))


@bug
def partners_that_nobody_pinned(patch: Patch) -> None:
    patch.setattr(Partners, "check", lambda self, study, hospital: None)


@bug
def an_app_that_the_coordinator_wrote(patch: Patch) -> None:
    patch.setattr(relay, "check_bundle", lambda content: None)


@bug
def one_person_with_four_eyes(patch: Patch) -> None:
    patch.setattr(Person, "key", property(lambda self: str(id(self))))


@bug
def an_approval_that_never_ends(patch: Patch) -> None:
    patch.setattr(Decision, "is_valid", lambda self, now, days: not self.is_refusal)


@bug
def a_withdrawal_that_a_deleted_file_undoes(patch: Patch) -> None:
    patch.setattr(Approvals, "record", lambda self, run_id, ledger: None)


@bug
def a_record_for_every_physical_line(patch: Patch) -> None:
    class Lines:
        Error = csv.Error

        def __init__(self, text: Iterable[str], *, delimiter: str, quotechar: str, strict: bool) -> None:
            self.line_num = 0
            self._records = self._split(text, delimiter, quotechar)

        def __iter__(self) -> Iterator[list[str]]:
            return self._records

        def __next__(self) -> list[str]:
            return next(self._records)

        def _split(self, text: Iterable[str], delimiter: str, quotechar: str) -> Iterator[list[str]]:
            width = 0
            for line in text:
                self.line_num += 1
                row = line.rstrip("\n").replace(quotechar, "").split(delimiter)
                width = width or len(row)
                if row[0]:
                    yield [*row, *[""] * width][:width]

        reader: ClassVar[type]

    Lines.reader = Lines
    patch.setattr(csv_reader, "csv", Lines)


@bug
def a_second_row_of_a_patient_in_the_frozen_table(patch: Patch) -> None:
    honest = importing.one_row_each

    def mutant(
        parts: Iterable[Part], patient_column: str | None, tally: importing.Tally, **choices: bool
    ) -> Iterator[Part]:
        yield from honest(parts, None, tally, **choices)

    put(patch, honest, mutant)


@bug
def a_failure_that_tells_how_many_rows_there_are(patch: Patch) -> None:
    def mutant(conformed: pd.DataFrame, schema: Schema) -> list[str]:
        return [repr(row) for row in format_table(conformed, schema).itertuples(index=False)]

    put(patch, patients.row_keys, mutant)


@bug
def records_that_open_before_the_charge(patch: Patch) -> None:
    honest = answers.ANSWERS[CountsRequest]

    def mutant(run: answers.AcceptedRun, request: CountsRequest) -> answers.Expected:
        assert run.records
        return honest.expect(run, request)

    patch.setitem(answers.ANSWERS, CountsRequest, replace(honest, expect=mutant))


@bug
def a_digest_by_which_a_table_can_be_guessed(patch: Patch) -> None:
    patch.setattr(frozen, "SALT_BYTES", 0)


@bug
def a_digest_of_the_tables_size_alone(patch: Patch) -> None:
    patch.setattr(frozen, "_digest", lambda file: str(file.seek(0, 2)))


@bug
def answers_from_a_table_that_was_imported_later(patch: Patch) -> None:
    """Both the ledger and the approval say which table; either alone refuses."""
    patch.setattr(Ledger, "check_table", lambda self, run_id, table: None)
    patch.setattr(Policy, "check_still_agreed", lambda self, run_id, study, plan, *, table: None)


@bug
def a_branch_on_overflow(patch: Patch) -> None:
    honest = dpsgd._empty_unsound

    def mutant(inputs: list[torch.Tensor], backprops: list[torch.Tensor]) -> None:
        if not all(bool((values.abs() <= dpsgd.LARGEST).all()) for values in (*inputs, *backprops)):
            honest(inputs, backprops)

    put(patch, honest, mutant)


@bug
def time_spent_on_denormal_numbers(patch: Patch) -> None:
    patch.setattr(torch, "set_flush_denormal", lambda mode: False)


@bug
def replies_that_leave_when_they_are_ready(patch: Patch) -> None:
    patch.setattr(timing.ReplyGrid, "hold", lambda self, request, began: None)


@bug
def a_witness_that_is_never_read(patch: Patch) -> None:
    patch.setattr(witness.Witness, "check", lambda self, history: None)


@bug
def a_restore_that_charges_nothing(patch: Patch) -> None:
    put(patch, restore.reserved, lambda copy, *_: dict.fromkeys(copy.open_runs(), ()))


@bug
def fresh_noise_after_a_kill(patch: Patch) -> None:
    patch.setattr(draws.Draws, "noise", lambda self, slot, source: SecureNoise())


@bug
def a_second_draw_after_a_failure(patch: Patch) -> None:
    patch.setattr(hospital.Hospital, "_computed_once", lambda self, slot, compute: to_bytes(compute()))


@bug
def requests_that_never_expire(patch: Patch) -> None:
    patch.setattr(seals, "CLOCK_TOLERANCE_S", math.inf)


@bug
def receipts_that_a_coordinator_may_forget(patch: Patch) -> None:
    patch.setattr(history.History, "check_shown", lambda self, shown: None)


@bug
def partners_whose_ledgers_may_go_back(patch: Patch) -> None:
    patch.setattr(peers.Peers, "keep", lambda self, heads, known: None)
