"""What site.toml says: one hospital's name, data, limits and state folder."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from client.consent.approvals import Approvals
from client.consent.partners import PARTNERS, Partners
from client.consent.policy import MIN_ROWS, Policy
from common.errors import SiteError, cause_of
from common.planning.phases import PHASES
from common.settings import Frozen, explain
from common.study.sections import SLUG

SITE, LEDGER, APPROVALS, HOLDOUT_KEY = "site.toml", "ledger.sqlite", "approvals", "holdout.key"


class ConsentRules(Frozen):
    """`[consent]`: who must approve a run, and for how long.

    Attributes:
        approvers: how many different persons must approve a run: 1, or 2 (four eyes).
        days: days after which an approval ends; the agent then answers nothing more about the run.
    """

    approvers: int = Field(default=1, ge=1, le=2)
    days: int = Field(default=90, ge=1, le=366)


class Site(Frozen):
    """The content of `site.toml`, which stays at the hospital. Relative paths start at the folder of the file.

    Attributes:
        name: the hospital's name in studies.
        cohort: the patients whose privacy budget this is; every study on them draws on it.
        data: the table, CSV or Parquet.
        patient_column: column that identifies the patient; None where every row is a patient.
        declared_rows: the rounded, public number of patients that studies must state.
        max_epsilon, delta: lifetime budget of the cohort: all releases together are (max_epsilon, delta)-DP.
        min_rows: fewest declared patients of a study that the hospital accepts.
        phases: release phases that the hospital takes part in.
        state: folder of the ledger, the approvals, the pinned partners and the holdout key.
        rehearsal: the study seeds the noise, which is therefore predictable; for invented records only.
        consent: who must approve a run, and for how long.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    cohort: str = Field(pattern=SLUG, max_length=64)
    data: Path = Field(strict=False)
    patient_column: str | None = Field(default=None, min_length=1)
    declared_rows: int = Field(ge=1)
    max_epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    min_rows: int = Field(default=MIN_ROWS, ge=1)
    phases: tuple[str, ...] = Field(default_factory=lambda: tuple(PHASES), strict=False)
    state: Path = Field(default=Path(), strict=False)
    rehearsal: bool = False
    consent: ConsentRules = Field(default_factory=ConsentRules)

    @field_validator("phases")
    @classmethod
    def _are_known(cls, phases: tuple[str, ...]) -> tuple[str, ...]:
        for phase in phases:
            if phase not in PHASES:
                raise ValueError(f"phases: unknown phase '{phase}'; choose from {', '.join(PHASES)}")
        return phases

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
                "no study could be accepted; correct one of them"
            )
        return self

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER

    @property
    def ledger_cohort(self) -> str:
        """Name of the cohort in the ledger; rehearsed releases and real ones never share a ledger."""
        return f"{self.cohort} (rehearsal)" if self.rehearsal else self.cohort

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.state / APPROVALS, self.consent.approvers)

    @property
    def partners(self) -> Partners:
        return Partners(self.state / PARTNERS)

    @property
    def policy(self) -> Policy:
        return Policy(
            self.name,
            max_epsilon=self.max_epsilon,
            delta=self.delta,
            declared_rows=self.declared_rows,
            min_rows=self.min_rows,
            phases=frozenset(self.phases),
            consent=self.approvals,
            partners=self.partners,
            is_rehearsal=self.rehearsal,
        )


def read_site(path: Path) -> Site:
    """Read a site.toml.

    Args:
        path: the file, or its folder.

    Raises:
        SiteError: the file cannot be read or is not a valid site; the text names key, limit and remedy.
    """
    file = path / SITE if path.is_dir() else path
    try:
        return parse_site(file.read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as problem:
        raise SiteError(
            f"cannot read '{file}': {cause_of(problem)}; name it with --site, or create it with `fedsynth site init`"
        ) from None


def parse_site(text: str, file: Path) -> Site:
    """Parse the text of a site.toml; `file` is where it is or will be, and its folder is where relative paths start.

    Raises:
        SiteError: not a valid site; the text names key, limit and remedy.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise SiteError(f"'{file}' is not valid TOML: {problem}") from None
    for key in ("data", "state"):
        relative = document.get(key, "." if key == "state" else None)
        if isinstance(relative, str):
            document[key] = str(file.parent.resolve() / relative)
    try:
        return Site.model_validate(document)
    except ValidationError as problem:
        raise SiteError(f"{file}: {explain(problem, _known_keys)}") from None


def _known_keys(location: tuple[Any, ...]) -> Sequence[str]:
    return list((ConsentRules if location[0] == "consent" and len(location) > 1 else Site).model_fields)
