"""Hospitals for an audit: the shipped ones, on public records, with ledgers that are thrown away.

The audited hospital's records go the way of a site's: a file, the code of `fedsynth site import`, the frozen table, and
the reader that an agent answers with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from client.consent.policy import Policy
from client.hospital import Hospital
from client.selftest.reader import LAST_DAY, LINE_BREAK, NOTE, PATIENT, VISIT, import_at_new_site
from client.shard import StreamedShard
from client.site.config import HOLDOUT_KEY
from client.site.state import KEY_BYTES
from common.columns.questions import images_of
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.ledger.receipts import receipts_to_json
from common.planning.phases import Records
from common.planning.planner import make_plan
from common.privacy.mechanisms import NoiseSource
from common.protocol.messages import EnrollReply, EnrollRequest
from common.protocol.signing import Identity
from common.secagg.terms import simulated_identities
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table, invented
from common.tables.patients import are_held_out, keyed_digests
from simulations.federation.hospitals import built_in_hospitals, built_in_study

RUN = "audit"
KEY = b"audit".ljust(KEY_BYTES, b".")
"""The key by which held-out patients are chosen: the same in every audit, so that it can be repeated."""


def alone_under_local_noise(study: Study, hospital: str) -> Study:
    """Return the study; under local noise, that of one of its hospitals alone."""
    facts = study.hospital(hospital)
    assert facts is not None, "a hospital outside the study"
    return study if study.privacy.noise == "distributed" else study.with_hospitals((facts,), cap_minimum=True)


@contextmanager
def throwaway_hospitals(
    study: Study, records: Mapping[str, Callable[[Study], Records]], noise: Callable[[str], NoiseSource]
) -> Iterator[dict[str, Hospital]]:
    """Yield simulated hospitals that have accepted the run `RUN`; their ledgers are deleted after the block.

    Args:
        study: study of the run.
        records: opens the records of each hospital, by its name.
        noise: returns the noise of a hospital.

    Raises:
        PolicyRefusal: a hospital does not accept the study.
    """
    plan = make_plan(study).to_json()
    request = EnrollRequest(RUN, study.to_toml(), study.fingerprint, plan, receipts_to_json({}))
    hospitals = {}
    with TemporaryDirectory(prefix="fedsynth-audit-") as folder, ExitStack() as stack:
        for name, open_records in records.items():
            ledger = Ledger(Path(folder) / name / "ledger.sqlite", cohort=name, delta=study.privacy.delta)
            stack.callback(ledger.close)
            hospitals[name] = Hospital(
                Policy(name, is_simulation=True),
                open_records,
                ledger,
                noise(name),
                identity=Identity.simulated(study.seed, name),
                identities=simulated_identities,
            )
            reply = hospitals[name].handle(request)
            if not isinstance(reply, EnrollReply):
                raise PolicyRefusal(Reason.UNAVAILABLE)
            if reply.reason != Reason.ACCEPTED:
                raise PolicyRefusal(Reason(reply.reason))
        yield hospitals


@contextmanager
def throwaway_hospital(study: Study, name: str, records: Records, noise: NoiseSource) -> Iterator[Hospital]:
    """Yield one simulated hospital, as `throwaway_hospitals` does.

    Args:
        study: study of the run.
        name: name of the hospital.
        records: its records.
        noise: its noise.
    """
    with throwaway_hospitals(study, {name: lambda _: records}, lambda _: noise) as hospitals:
        yield hospitals[name]


def imported(raw: pd.DataFrame, study: Study, name: str) -> StreamedShard:
    """Return a raw table as a site has it: imported from a file, frozen, and opened as an agent opens it.

    Args:
        raw: the raw table, with the column `PATIENT`.
        study: the study that it is opened for.
        name: name of the hospital.
    """
    with TemporaryDirectory(prefix="fedsynth-audit-") as folder:
        path = Path(folder) / "table.csv"
        raw.to_csv(path, index=False)
        table = import_at_new_site(path, name=name, patient_column=PATIENT)
        (table.site.state / HOLDOUT_KEY).write_bytes(KEY)
        return table.open_records(study)


def public_table(study: Study, hospital: str, rows: int) -> pd.DataFrame:
    """Return a raw table that needs no protection: the built-in study's, else rows drawn uniformly from the schema.

    Args:
        study: gives the schema.
        hospital: name of the hospital.
        rows: number of rows.
    """
    if study.table == built_in_study().table and hospital in (tables := built_in_hospitals()):
        return tables[hospital]
    return invented_patients(study, rows, 0)


def invented_patients(study: Study, rows: int, seed: int) -> pd.DataFrame:
    """Return a raw table of patients drawn uniformly from the schema, each with one row.

    Args:
        study: gives the declared columns, and those of patient and time in a study of visits.
        rows: number of rows.
        seed: seed of the draws.
    """
    raw, declared = invented(study.declared, rows, np.random.default_rng(seed)), study.declared
    if declared.patient is None or declared.time is None:
        return raw
    numbers = [str(number) for number in range(rows)]
    return raw.assign(**{declared.patient: numbers} | dict.fromkeys({declared.time} - {*raw.columns}, numbers))


def outlier(schema: Schema) -> pd.DataFrame:
    """Return a raw row with the largest number or last category in every column, so that few rows share its cells."""
    values = {column.name: [column.outlying_cell] for column in schema.columns if column.modeled}
    cells = format_table(conform(pd.DataFrame(values, dtype=object), schema), schema)
    for image in images_of(schema.columns):  # written, it would be a score: the sums of images are of pixels
        cells[image.name] = values[image.name]
    return cells


def shards_with_and_without(
    study: Study, hospital: str, rows: int, *, is_held_out: bool = False
) -> tuple[StreamedShard, StreamedShard]:
    """Return a hospital's records with and without one patient; both went through an import.

    The patient has two rows, the first of them an outlier amid the other patients with a line break in a note and a
    far-out date, the second one at the end. Neither may show: one patient is one row.

    Args:
        study: gives the schema and the fraction of patients that is held out.
        hospital: name of the hospital.
        rows: number of rows.
        is_held_out: whether the patient is held out, or trains.
    """
    table = _with_identities(public_table(study, hospital, rows))
    whole = with_patient(table, study, is_held_out=is_held_out)
    return imported(whole, study, hospital), imported(table, study, hospital)


def with_patient(table: pd.DataFrame, study: Study, *, is_held_out: bool = False) -> pd.DataFrame:
    """Return a raw table with the two rows of one patient more.

    Args:
        table: the raw table, with columns `PATIENT`, `NOTE` and `VISIT`.
        study: gives the schema and the fraction of patients that is held out.
        is_held_out: whether the patient is held out, or trains.
    """
    name = canary_name(study, is_held_out=is_held_out)
    first = outlier(study.table).assign(**{PATIENT: name, NOTE: LINE_BREAK, VISIT: LAST_DAY})
    second = invented(study.table, 1, np.random.default_rng(1)).assign(**{PATIENT: name, NOTE: "later", VISIT: ""})
    middle = len(table) // 2
    return pd.concat([table[:middle], first, table[middle:], second], ignore_index=True)[list(table.columns)]


def canary_name(study: Study, *, is_held_out: bool = False) -> str:
    """Return a name of a patient who is held out by the key of audits, or trains."""
    names = (f"canary {number}" for number in range(1000))
    fraction = study.evaluation.holdout_fraction
    return next(name for name in names if are_held_out(keyed_digests(KEY, [name]), fraction)[0] == is_held_out)


def _with_identities(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{PATIENT: [f"p{row}" for row in range(len(table))], NOTE: "none", VISIT: "2020-01-31"})
