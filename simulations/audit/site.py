"""A hospital for an audit: the shipped one, on public records, with a ledger that is thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import PolicyRefusal, Reason
from common.ledger.ledger import Ledger
from common.ledger.receipts import receipts_to_json
from common.planning.planner import make_plan
from common.privacy.mechanisms import NoiseSource
from common.protocol.messages import EnrollReply, EnrollRequest
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table
from simulations.federation.hospitals import built_in_hospitals, built_in_study

RUN = "audit"
KEY = b"audit"


@contextmanager
def throwaway_hospital(
    study: Study, name: str, open_shard: Callable[[Study], Shard], noise: NoiseSource
) -> Iterator[Hospital]:
    """Yield a simulated hospital that has accepted the run `RUN`; its ledger is deleted after the block.

    Raises:
        PolicyRefusal: the hospital does not accept the study.
    """
    with TemporaryDirectory(prefix="fedsynth-audit-") as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite", cohort=name, delta=study.privacy.delta)
        try:
            hospital = Hospital(Policy(name, is_simulation=True), open_shard, ledger, noise)
            plan = make_plan(study).to_json()
            request = EnrollRequest(RUN, study.to_toml(), study.fingerprint, plan, receipts_to_json({}))
            reply = hospital.handle(request)
            if not isinstance(reply, EnrollReply):
                raise PolicyRefusal(Reason.UNAVAILABLE)
            if reply.reason != Reason.ACCEPTED:
                raise PolicyRefusal(Reason(reply.reason))
            yield hospital
        finally:
            ledger.close()


def public_table(study: Study, hospital: str, rows: int) -> pd.DataFrame:
    """Return a raw table that needs no protection: the built-in study's, else rows drawn uniformly from the schema.

    Args:
        study: gives the schema.
        hospital: name of the hospital.
        rows: number of rows.
    """
    if study.table == built_in_study().table and hospital in (tables := built_in_hospitals()):
        return tables[hospital]
    return draw_rows(study.table, rows, np.random.default_rng(0))


def draw_rows(schema: Schema, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return raw rows whose values are uniform over what each column allows.

    Args:
        schema: the columns.
        rows: number of rows.
        rng: source of randomness.
    """
    return format_table(pd.DataFrame({column.name: column.draw(rows, rng) for column in schema.each()}), schema)


def outlier(schema: Schema) -> pd.DataFrame:
    """Return a raw row with the largest number or last category in every column, so that few rows share its cells."""
    values = {column.name: [column.outlying_cell] for column in schema.each()}
    return format_table(conform(pd.DataFrame(values, dtype=object), schema), schema)


def shards_with_and_without(study: Study, hospital: str, rows: int) -> tuple[Shard, Shard]:
    """Return a hospital's records with and without one outlier, who is not held out.

    Args:
        study: gives the schema and the seed.
        hospital: name of the hospital.
        rows: number of rows.
    """
    rng = np.random.default_rng(1)
    table, patient = public_table(study, hospital, rows), outlier(study.table)
    absent = Shard(table, study, key=KEY)
    while True:
        present = Shard(pd.concat([table, patient], ignore_index=True), study, key=KEY)
        if len(present.training) > len(absent.training):
            return present, absent
        patient = draw_rows(study.table, 1, rng)
