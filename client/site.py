"""One hospital's machine: what site.toml says, the state folder, and the hospital that they make."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from client.consent.policy import MIN_ROWS, Approvals, Policy
from client.hospital import Hospital
from client.shard import StreamedShard
from common.errors import DataError, SiteError
from common.ledger.ledger import Ledger
from common.planning.plan import PHASES
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.protocol.signing import IDENTITY, Identity
from common.seeds import site_key
from common.study.schema import Frozen
from common.study.study import SLUG, Study, explain
from common.system.files import write_new
from common.tables.streaming import read_parts
from common.tables.table import check_table, first_rows, read_table

SITE, LEDGER, APPROVALS, HOLDOUT_KEY = "site.toml", "ledger.sqlite", "approvals", "holdout.key"
KEY_BYTES = 32

DECLARED_WITHIN = 0.1
"""`site check` says so where the declared and the true number of patients differ by more than this part."""


class Site(Frozen):
    """`site.toml`: it stays at the hospital. Relative paths start at the file's own folder.

    Attributes:
        name: the hospital's name in studies.
        cohort: whose budget this is; every study on these patients belongs to it.
        data: the table, CSV or Parquet.
        patient_column: tells patients apart; None where every row is a patient.
        declared_rows: the rounded public figure that studies must state.
        max_epsilon, delta: the cohort's lifetime budget: everything ever released is (max_epsilon, delta)-DP together.
        min_rows: studies that declare fewer are refused.
        phases: what the hospital takes part in.
        studies: fingerprints of studies of which every run is approved; others need an approval for each run.
        state: folder of ledger, approvals and holdout key.
        rehearsal: the noise is seeded by the study: predictable, for invented records only.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    cohort: str = Field(pattern=SLUG, max_length=64)
    data: Path = Field(strict=False)
    patient_column: str | None = Field(default=None, min_length=1)
    declared_rows: int = Field(ge=1)
    max_epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    min_rows: int = Field(default=MIN_ROWS, ge=1)
    phases: tuple[str, ...] = Field(default=PHASES, strict=False)
    studies: tuple[str, ...] = Field(default=(), strict=False)
    state: Path = Field(default=Path(), strict=False)
    rehearsal: bool = False

    @field_validator("phases")
    @classmethod
    def _are_known(cls, phases: tuple[str, ...]) -> tuple[str, ...]:
        for phase in phases:
            if phase not in PHASES:
                raise ValueError(f"phases: '{phase}' is none; choose of {', '.join(PHASES)}")
        return phases

    @field_validator("studies")
    @classmethod
    def _are_fingerprints(cls, studies: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(one) != 64 or set(one) - set("0123456789abcdef") for one in studies):
            raise ValueError(
                "studies: a fingerprint has 64 digits from 0 to f; copy it from `fedsynth study check` or remove it"
            )
        return studies

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.delta >= 1 / self.declared_rows:
            raise ValueError(
                f"delta = {self.delta:g} is not below 1 / declared_rows ({1 / self.declared_rows:.2g}); "
                "choose a smaller delta"
            )
        if self.declared_rows < self.min_rows:
            raise ValueError(
                f"declared_rows = {self.declared_rows} is below min_rows = {self.min_rows}; "
                "no study could be accepted: correct one of them"
            )
        return self

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER

    @property
    def ledger_cohort(self) -> str:
        """The ledger's name for the cohort. Rehearsed releases and real ones never share a ledger."""
        return f"{self.cohort} (rehearsal)" if self.rehearsal else self.cohort

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.state / APPROVALS)

    @property
    def policy(self) -> Policy:
        return Policy(
            self.name,
            max_epsilon=self.max_epsilon,
            delta=self.delta,
            declared_rows=self.declared_rows,
            min_rows=self.min_rows,
            phases=frozenset(self.phases),
            approved=frozenset(self.studies),
            approvals=self.approvals,
            is_rehearsal=self.rehearsal,
        )


def read_site(path: Path) -> Site:
    """The site that a site.toml describes.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        SiteError: the file cannot be read or is not a valid site; the text names key, limit and remedy.
    """
    file = path / SITE if path.is_dir() else path
    try:
        return _parse(file.read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as problem:
        cause = type(problem).__name__
        raise SiteError(f"cannot read '{file}' ({cause}); name it with --site, or make it with `site init`") from None


def _parse(text: str, file: Path) -> Site:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SiteError(f"'{file}' is not valid TOML: {problem}") from None
    for key in ("data", "state"):
        place = document.get(key, "." if key == "state" else None)
        if isinstance(place, str):
            document[key] = str(file.parent.resolve() / place)
    try:
        return Site.model_validate(document)
    except ValidationError as problem:
        raise SiteError(f"{file}: {explain(problem, _known_keys)}") from None


def _known_keys(place: tuple[Any, ...]) -> Sequence[str]:
    return list(Site.model_fields)


COMMENTS = {
    "name": "this hospital, as studies name it",
    "cohort": "whose budget this is: every study on these patients draws on it",
    "data": "the table: CSV or Parquet; a relative path starts at this file",
    "patient_column": "tells patients apart; only the first row of each is used. Without it every row is a patient",
    "declared_rows": "rounded number of patients: public, and what studies must state",
    "max_epsilon": "lifetime cap of the cohort: everything ever released is (max_epsilon, delta)-DP together",
    "delta": "the cohort's one delta, below 1 / declared_rows; fixed when the ledger is made",
    "min_rows": "studies that declare fewer patients are refused",
    "phases": "what this hospital takes part in",
    "studies": "fingerprints of studies of which every run is approved; other runs need `fedsynth site approve`",
    "state": "folder of ledger, approvals and holdout key",
    "rehearsal": "true: predictable noise that protects nobody, for invented records only",
}
"""What `site init` writes beside each key."""


def init_site(folder: Path, settings: dict[str, Any]) -> Site:
    """A new folder with site.toml, an empty ledger and a fresh holdout key, for the eyes of this account only.

    Raises:
        SiteError: the folder exists and is not empty, cannot be written, or the settings are not a valid site.
    """
    defaults = {"min_rows": MIN_ROWS, "phases": list(PHASES), "studies": [], "state": ".", "rehearsal": False}
    values = defaults | {key: value for key, value in settings.items() if value is not None}
    lines = [
        f"# {comment}\n{tomli_w.dumps({key: values[key]})}" if key in values else f"# {comment}\n# {key} =\n"
        for key, comment in COMMENTS.items()
    ]
    text = "# One hospital's machine. This file stays here.\n\n" + "\n".join(lines)
    site = _parse(text, folder / SITE)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SiteError(f"'{folder}' is not empty and nothing in it is overwritten; choose another folder")
        for new in (folder, site.state / APPROVALS):
            new.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.chmod(0o700)
        write_new(folder / SITE, text.encode(), mode=0o600)
        write_new(site.state / HOLDOUT_KEY, os.urandom(KEY_BYTES), mode=0o600)
        for path in (site.ledger, site.ledger.with_suffix(".lock")):
            write_new(path, b"", mode=0o600)  # whoever opens them keeps their permissions
    except OSError as problem:
        raise SiteError(f"cannot write to '{folder}' ({type(problem).__name__}); check its permissions") from None
    _open_ledger(site).close()
    return site


@contextmanager
def open_hospital(site: Site) -> Iterator[Hospital]:
    """The hospital that answers for this site, for as long as the block runs; its ledger is locked meanwhile.

    Records are read at the first request that needs them, after the policy has said yes. Imports no torch: that
    waits for the first round of training.

    Raises:
        SiteError: the state folder is missing, incomplete or open to other accounts.
        FedSynthError: the ledger is held by another process, damaged, or older than its head file.
    """
    check_state(site)
    key = (site.state / HOLDOUT_KEY).read_bytes()
    noise: NoiseSource | Callable[[Study], NoiseSource] = _seeded_noise if site.rehearsal else SecureNoise()
    ledger = _open_ledger(site)
    try:
        yield Hospital(site.policy, partial(_open_shard, site, key), ledger, noise, identity=_identity(site))
    finally:
        ledger.close()


def _identity(site: Site) -> Identity | None:
    """The key that studies list; None where none was made, and masked phases are refused."""
    path = site.state / IDENTITY
    return Identity.load(path) if path.exists() else None


def check_state(site: Site) -> None:
    """Raise `SiteError` unless the state folder is complete and closed to other accounts."""
    for path in (site.state, site.state / APPROVALS, site.ledger, site.state / HOLDOUT_KEY):
        try:
            mode = path.stat().st_mode
        except OSError as problem:
            cause = type(problem).__name__
            raise SiteError(f"cannot use '{path}' ({cause}); `fedsynth site init` makes the state folder") from None
        if stat.S_IMODE(mode) & 0o077:
            raise SiteError(f"other accounts can reach '{path}'; take that away with `chmod go-rwx {path}`")
    if (site.state / HOLDOUT_KEY).stat().st_size != KEY_BYTES:
        raise SiteError(f"'{site.state / HOLDOUT_KEY}' does not hold {KEY_BYTES} bytes; restore it from a backup")


def check_owner(site: Site) -> None:
    """Raise `SiteError` where another account owns the state: the agent could not read what this one writes."""
    owner = site.state.stat().st_uid
    if owner != os.geteuid():
        raise SiteError(f"'{site.state}' belongs to account {owner}, which the agent runs as; run this as that account")


def _open_ledger(site: Site) -> Ledger:
    return Ledger(site.ledger, cohort=site.ledger_cohort, delta=site.delta)


def _open_shard(site: Site, key: bytes, study: Study) -> StreamedShard:
    if site.rehearsal:  # so that a rehearsal holds out whom a simulation of the same study does
        key = site_key(study.seed, site.name)
    columns = [*study.table.names, *filter(None, [site.patient_column])]
    return StreamedShard(read_parts(site.data, columns), study, key=key, patient_column=site.patient_column)


def _seeded_noise(study: Study) -> NoiseSource:
    return SeededNoise(study.seed)


def check_data(site: Site, study: Study) -> list[str]:
    """What the hospital should know about its table under this study. Counts are exact: for the hospital's eyes only.

    Raises:
        DataError: the table does not fit the study's schema, or holds fewer patients than `min_rows`.
    """
    raw = read_table(site.data)
    notices = check_table(raw, study.table, name=site.name, patient_column=site.patient_column)
    if site.patient_column is None:
        notices.append(f"{site.name}: every row counts as a patient; name patient_column if one can have several rows")
    patients = len(first_rows(raw, site.patient_column))
    if patients < site.min_rows:
        raise DataError(
            f"{site.name}: the table has {patients} patients, below min_rows = {site.min_rows}; "
            "add patients or take no part"
        )
    if abs(patients - site.declared_rows) > DECLARED_WITHIN * patients:
        notices.append(
            f"{site.name}: the table has {patients} patients and site.toml declares {site.declared_rows}; "
            "the promise holds, but weights and rates fit better when they agree"
        )
    facts, identity = study.hospital(site.name), _identity(site)
    is_needed = study.privacy.noise == "distributed" or (facts is not None and facts.identity is not None)
    if facts is not None and is_needed and (identity is None or facts.identity != identity.public):
        notices.append(
            f"{site.name}: the study lists another identity for this hospital, or none; its runs would be refused: "
            "give the coordinator what `fedsynth site init` printed"
        )
    if facts is None:
        notices.append(f"{site.name}: the study does not list this hospital; its runs would be refused")
    elif facts.declared_rows != site.declared_rows:
        notices.append(
            f"{site.name}: the study declares {facts.declared_rows} rows and site.toml {site.declared_rows}; "
            "its runs would be refused: make them agree"
        )
    return notices
