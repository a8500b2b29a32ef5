"""Canaries in every column, every failure provoked: no cell may show in a reply, a log, a message or a file.

If one of these fails, an error text, a log line or a stored file carries a patient's data.
"""

from __future__ import annotations

import gzip
import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from client.site.config import Site
from client.site.creation import init_site
from client.site.opening import open_hospital
from common.arrays import Floats, Integers
from common.columns.base import Codes
from common.encoding import histogram_length
from common.errors import SiteError
from common.ledger.ledger import Ledger
from common.marginals.released import Asked
from common.planning.phases import COARSE, PAIRS, ROUNDS, PublicRun
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import to_bytes
from common.protocol.messages import (
    CountsReply,
    CountsRequest,
    EnrollRequest,
    Reply,
    Request,
    RoundRequest,
    Unavailable,
)
from common.study.sections import HospitalFacts
from common.synthesizers.registry import make_adversarial
from simulations.cli.main import app
from tests.testbeds.approving import file_approval
from tests.testbeds.clinic import STUDY as STUDY_TEXT
from tests.testbeds.clinic import clinic_study, clinic_table
from tests.testbeds.consent import agreed_to
from tests.testbeds.released import made_up_run

pytestmark = pytest.mark.usefixtures("quick_learners")

WORD, PATIENT, WARD, NUMBER = "canary-cell", "mrn-canary", "ward-canary", 90817.25
TEXTS = (WORD, PATIENT, WARD, str(NUMBER), "90817")
CANARIES = (
    *(text.encode() for text in TEXTS),
    *(text.encode("utf-16-le") for text in TEXTS),
    struct.pack("<d", NUMBER),
    struct.pack("<f", NUMBER),
    struct.pack("<q", int(NUMBER)),
)
"""What to look for: the texts, and the number as arrays would hold it."""

FACTS = (HospitalFacts(name="north", declared_rows=100), HospitalFacts(name="south", declared_rows=80))
STUDY = clinic_study(training={"rounds": 1, "steps": 2}, synthesizer={"pairs": 1}).with_hospitals(FACTS)
PLAN = make_plan(STUDY)


def planted() -> pd.DataFrame:
    """A table that fits the schema, with a canary in each column that may hold one."""
    table = clinic_table(100, seed=0)
    patients = [f"{PATIENT}-{row}" for row in range(len(table))]
    return table.assign(patient=patients, ward=WARD)


def spoilt(column: str, value: str) -> pd.DataFrame:
    table = planted()
    table.loc[7, column] = value
    return table


def as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


TABLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "fits": ("csv", lambda: as_csv(planted())),
    "unlisted category": ("csv", lambda: as_csv(spoilt("sex", WORD))),
    "out of range": ("csv", lambda: as_csv(spoilt("age", str(NUMBER)))),
    "too many decimals": ("csv", lambda: as_csv(spoilt("lab", "9.0817"))),
    "text for a number": ("csv", lambda: as_csv(spoilt("lab", WORD))),
    "number for a category": ("csv", lambda: as_csv(spoilt("outcome", str(NUMBER)))),
    "missing where not allowed": ("csv", lambda: as_csv(spoilt("age", ""))),
    "ragged": ("csv", lambda: as_csv(planted()) + f"{NUMBER},{WORD}\n".encode()),
    "unpaired quotes": ("csv", lambda: as_csv(planted()) + f'"{WORD}'.encode()),
    "not UTF-8": ("csv", lambda: as_csv(planted()) + WORD.encode() + b"\xff\n"),
    "null bytes": ("csv", lambda: as_csv(planted()) + f"{NUMBER},\0,{WORD},no,{PATIENT},{WARD}\n".encode()),
    "missing column": ("csv", lambda: as_csv(planted().assign(sex=WORD).drop(columns="age"))),
    "no patient column": ("csv", lambda: as_csv(planted().drop(columns="patient"))),
    "one patient many times": ("csv", lambda: as_csv(planted().assign(patient=PATIENT))),
    "blank patient": ("csv", lambda: as_csv(spoilt("patient", ""))),
    "column twice": ("csv", lambda: as_csv(planted().rename(columns={"sex": "age"}))),
    "no header": ("csv", lambda: as_csv(spoilt("sex", WORD)).split(b"\n", 1)[1]),
    "no header, near names": (
        "csv",
        lambda: f"{NUMBER},lab{WORD},{WORD}sex,outcome,{PATIENT},patient {WARD}\n".encode() * 2,
    ),
    "no header, a cell twice": ("csv", lambda: f"{NUMBER},{NUMBER},{WORD},{WORD},{PATIENT},{WARD}\n".encode() * 2),
    "header only": ("csv", lambda: as_csv(planted().iloc[:0])),
    "empty": ("csv", lambda: b""),
    "over-long text": ("csv", lambda: as_csv(spoilt("sex", WORD * 20_000))),
    "formula": ("csv", lambda: as_csv(spoilt("lab", f"=cmd|'{WORD}'!A1"))),
    "infinite": ("csv", lambda: as_csv(spoilt("age", "inf"))),
    "truncated gzip": ("csv.gz", lambda: gzip.compress(as_csv(planted()))[:-40]),
    "no Parquet": ("parquet", lambda: as_csv(planted())),
}


REFUSED = {
    "no header", "no header, near names", "no header, a cell twice", "header only", "blank patient",
    "ragged", "unpaired quotes", "not UTF-8", "no patient column", "column twice", "empty",
    "truncated gzip", "no Parquet",
}  # fmt: skip
"""What import refuses; there is then no table to answer from."""

UNANSWERED = {"missing column"}
"""Imported, but not what the study asks for."""

TOO_FEW = {"one patient many times"}
"""A hospital answers nevertheless; its own check complains."""


@pytest.fixture(autouse=True)
def _everything_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        # Torch would log the shape of every gradient: no cell, and a minute of it.
        caplog.set_level(logging.INFO if name.startswith("torch.autograd") else logging.DEBUG, logger=name)


def make_site(folder: Path, data: Path) -> Site:
    settings = {
        "name": "north",
        "cohort": "clinic",
        "data": str(data),
        "patient_column": "patient",
        "declared_rows": 100,
        "max_epsilon": 10.0,
        "delta": 1e-4,
    }
    return init_site(folder, settings)


HISTOGRAM = np.arange(histogram_length(STUDY.table, PLAN.cells), dtype=np.int64)
NOTHING = np.empty(0, dtype=np.int64)
ONE_PAIR = Asked(np.array([0, 3]))
PUBLIC = made_up_run(STUDY, PLAN, {PAIRS: ONE_PAIR})
ENROLL = EnrollRequest("run-1", STUDY.to_toml(), STUDY.fingerprint, PLAN.to_json(), "{}")


def training() -> RoundRequest:
    weights = make_adversarial(STUDY.synthesizer, PUBLIC.encoder).initial_weights(0)
    return RoundRequest("run-1", 1, PUBLIC.released.arrays(), weights)


def requests() -> Iterator[Request]:
    """A run, and what a careless or hostile coordinator may ask besides."""
    train = training()
    yield ENROLL
    yield replace(ENROLL, run_id="run-2", plan="{}")
    yield replace(ENROLL, run_id="run\n2")
    yield CountsRequest("run-1", "histograms")
    yield CountsRequest("run-3", "histograms")
    yield CountsRequest("run-1", COARSE, {"histograms": HISTOGRAM[:-1]}, NOTHING)
    yield CountsRequest("run-1", COARSE, {"histograms": HISTOGRAM}, NOTHING)
    yield CountsRequest("run-1", PAIRS, {"histograms": HISTOGRAM}, np.array([0, 9]), ONE_PAIR.weights)
    yield CountsRequest("run-1", PAIRS, {"histograms": HISTOGRAM}, ONE_PAIR.columns, ONE_PAIR.weights)
    yield replace(train, round=2)
    yield replace(train, weights={name: np.full_like(value, np.nan) for name, value in train.weights.items()})


def silent(place: str, *contents: bytes) -> None:
    for content in contents:
        for canary in CANARIES:
            assert canary not in content, f"{canary!r} in {place}"


def files_below(folder: Path, left_out: Sequence[Path] = ()) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path not in left_out]


@pytest.mark.parametrize("case", TABLES)
def test_no_cell_shows_whatever_the_table_is_like(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    ending, content = TABLES[case]
    data = tmp_path / f"table.{ending}"
    data.write_bytes(content())
    site = make_site(tmp_path / "site", data)
    imported = CliRunner().invoke(app, ["site", "import", "--site", str(tmp_path / "site")])
    assert imported.exit_code == (5 if case in REFUSED else 0)
    silent("site import", imported.output.encode(), imported.stderr.encode())
    if case in REFUSED:
        assert not list((tmp_path / "site" / "table").iterdir())
        with pytest.raises(SiteError, match="no table is imported"), open_hospital(site):
            pass
    else:
        answer_and_check(site, case, tmp_path)
    frozen = list((tmp_path / "site" / "table").glob("*.parquet"))
    silent("the state folder", *files_below(tmp_path / "site", frozen))
    out, err = capfd.readouterr()
    silent("the screen", out.encode(), err.encode())
    silent("the log", caplog.text.encode())
    assert not any(record.exc_info for record in caplog.records)


def answer_and_check(site: Site, case: str, folder: Path) -> None:
    file_approval(site, STUDY)
    with open_hospital(site) as north:
        replies = [north.handle(request) for request in requests()]
    answered = [type(reply) for reply in replies if isinstance(reply, CountsReply)]
    # Which requests are answered does not depend on the cells.
    assert answered == [CountsReply] * (0 if case in UNANSWERED else 3)
    assert isinstance(replies[-1], Unavailable)
    silent("replies", *map(to_bytes, replies))
    study = folder / "study.toml"
    study.write_text(STUDY.to_toml())
    checked = CliRunner().invoke(app, ["site", "check", str(study), "--site", str(folder / "site")])
    assert checked.exit_code == (5 if case in UNANSWERED | TOO_FEW else 0)
    silent("site check", checked.output.encode(), checked.stderr.encode())


class Leaking(Shard):
    """A shard whose every use fails with cells in the exception's text, notes and causes."""

    def __init__(self) -> None:
        pass

    def _fail(self) -> None:
        try:
            raise ValueError(f"could not convert string to float: '{WORD}'")
        except ValueError as cause:
            failure = RuntimeError(f"{PATIENT} has {NUMBER}")
            failure.add_note(WARD)
            raise failure from cause

    def histograms(self, cells: int) -> Integers:
        self._fail()
        raise AssertionError

    def encoded(self, public: PublicRun) -> Codes:
        self._fail()
        raise AssertionError

    def held_out(self, public: PublicRun) -> Codes:
        self._fail()
        raise AssertionError


class Drunk(SecureNoise):
    """Noise that fails with a count in the text, or is no number."""

    def named(self, *names: str | int) -> Drunk:
        return self

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        raise OverflowError(f"{NUMBER} in a cell of {WORD}")

    def gaussian(self, count: int, std: float) -> Floats:
        return np.full(count, np.nan)


@pytest.mark.parametrize("cause", ["leaking records", "failing noise"])
def test_no_cell_shows_when_reading_counting_or_training_fails(
    cause: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    is_leaking = cause == "leaking records"
    shard = Leaking() if is_leaking else Shard(planted(), STUDY, key=b"key", patient_column="patient")
    noise = SecureNoise() if is_leaking else Drunk()
    ledger = Ledger(tmp_path / "ledger.sqlite", cohort="clinic", delta=1e-4)
    policy = Policy("north", max_epsilon=10.0, delta=1e-4, consent=agreed_to(STUDY))
    north = Hospital(policy, lambda study: shard, ledger, noise)
    replies: list[Reply] = [north.handle(request) for request in (*requests(), training())]
    ledger.close()
    assert {type(reply) for reply in replies[3:]} == {Unavailable}
    assert {to_bytes(reply) for reply in replies[3:]} == {to_bytes(Unavailable("north"))}
    out, err = capfd.readouterr()
    silent("replies", *map(to_bytes, replies))
    silent("the log", caplog.text.encode(), out.encode(), err.encode())
    silent("the ledger", *files_below(tmp_path))
    assert not any(record.exc_info for record in caplog.records)


def test_weights_that_are_not_finite_stay_though_paid_for(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite", cohort="clinic", delta=1e-4)
    policy = Policy("north", max_epsilon=10.0, delta=1e-4, consent=agreed_to(STUDY))
    table = Shard(planted(), STUDY, key=b"key", patient_column="patient")
    north = Hospital(policy, lambda study: table, ledger, Drunk())
    north.handle(ENROLL)
    assert to_bytes(north.handle(training())) == to_bytes(Unavailable("north"))
    assert [line.slot.phase for line in ledger.lines()] == [ROUNDS]
    assert to_bytes(north.handle(training())) == to_bytes(Unavailable("north"))
    assert len(ledger.lines()) == 1
    ledger.close()


def test_simulation_writes_no_identifier_and_no_ward(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards, study, out = tmp_path / "shards", tmp_path / "study.toml", tmp_path / "out"
    shards.mkdir()
    study.write_text(STUDY_TEXT)
    for name in ("north", "south"):
        (shards / f"{name}.csv").write_bytes(as_csv(planted()))
    done = CliRunner().invoke(
        app,
        ["simulate", "--study", str(study), "--data", str(shards), "--patient-column", "patient", "--out", str(out)],
    )
    assert done.exit_code == 0
    silent("the output folder", *files_below(out))
    silent("the screen", done.output.encode(), done.stderr.encode())
    silent("the log", caplog.text.encode())
