"""What site.toml says: one hospital's name, data, limits and state folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from client.consent.approvals import Approvals
from client.consent.budget import LifetimeBudget
from client.consent.decisions import MOST_DAYS, Quorum
from client.consent.partners import PARTNERS, Partners
from client.consent.policy import MIN_ROWS, Policy
from common.errors import SiteError, cause_of
from common.ledger.history import History
from common.planning.phases import PHASES
from common.privacy.events import Event
from common.settings import Frozen, explain, toml_problem
from common.study.limits import DeclaredRows, delta_problem, epsilon_problem, warnings
from common.study.sections import SLUG, Unit
from common.tables.image_settings import ImageFiles
from common.tables.reading import Reading

SITE, LEDGER, APPROVALS, HOLDOUT_KEY, TABLE = "site.toml", "ledger.sqlite", "approvals", "holdout.key", "table"


class ConsentRules(Frozen):
    """`[consent]`: who must approve a run, and for how long.

    Attributes:
        approvers: how many different persons must approve a run: 1, or 2 (four eyes).
        days: days after which an approval ends; the agent then answers nothing more about the run.
    """

    approvers: int = Field(default=1, ge=1, le=2)
    days: int = Field(default=90, ge=1, le=MOST_DAYS)


class LedgerSettings(Frozen):
    """`[ledger]` of site.toml.

    Attributes:
        witness: file with a second copy of the ledger's head, outside the state folder; None keeps none.
    """

    witness: Path | None = Field(default=None, strict=False)


class TimingSettings(Frozen):
    """`[timing]` of site.toml.

    Attributes:
        grid_s: seconds between the marks at which replies from records leave; 0 lets them leave at once.
    """

    grid_s: float = Field(default=1.0, ge=0, le=60)


class Site(Frozen):
    """The content of `site.toml`, which stays at the hospital. Relative paths start at the folder of the file.

    Attributes:
        name: the hospital's name in studies.
        cohort: the patients whose privacy budget this is; every study on them draws on it.
        data: the table that `fedsynth site import` reads: a file of `common.tables.formats.READERS`, or a query. The
            agent never opens it.
        mapping: file that says how the table becomes the columns of studies (`common.harmonization.mapping`); None
            takes the table's columns as they are.
        patient_column: column that identifies the patient; None where there is none. With a mapping, one that it makes.
        visits: the import keeps all rows of a patient, for studies of visits; other studies use the first row of each.
        one_row_per_patient: the hospital declares that every row is another patient, where no column can show it.
        declared_rows: the public number of patients or records that studies must state, with two significant digits.
        max_epsilon, delta: lifetime budget of the cohort: all releases together are (max_epsilon, delta)-DP.
        allow_large_epsilon: max_epsilon may be above 20.
        min_rows: fewest declared patients of a study that the hospital accepts.
        phases: release phases that the hospital takes part in.
        state: folder of the frozen table, the ledger, the approvals, the pinned partners and the holdout key.
        rehearsal: the study seeds the noise, which is therefore predictable; for invented records only.
        consent: who must approve a run, and for how long.
        ledger_settings, timing: the tables `[ledger]` and `[timing]`.
        read: how the table's file is written, instead of detecting it.
        images: the columns whose cells name image files, after the mapping, and how these files are read.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    cohort: str = Field(pattern=SLUG, max_length=64)
    data: Path = Field(strict=False)
    mapping: Path | None = Field(default=None, strict=False)
    patient_column: str | None = Field(default=None, min_length=1)
    visits: bool = False
    one_row_per_patient: bool = False
    declared_rows: DeclaredRows = Field(ge=1)
    max_epsilon: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    allow_large_epsilon: bool = False
    min_rows: int = Field(default=MIN_ROWS, ge=1)
    phases: tuple[str, ...] = Field(default_factory=lambda: tuple(PHASES), strict=False)
    state: Path = Field(default=Path(), strict=False)
    rehearsal: bool = False
    consent: ConsentRules = Field(default_factory=ConsentRules)
    ledger_settings: LedgerSettings = Field(default=LedgerSettings(), alias="ledger")
    timing: TimingSettings = TimingSettings()
    read: Reading = Reading()
    images: dict[str, ImageFiles] = Field(default_factory=dict)

    @field_validator("phases")
    @classmethod
    def _are_known(cls, phases: tuple[str, ...]) -> tuple[str, ...]:
        for phase in phases:
            if phase not in PHASES:
                raise ValueError(f"phases: unknown phase '{phase}'; choose from {', '.join(PHASES)}")
        return phases

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in (
            delta_problem(self.delta, self.declared_rows, ""),
            epsilon_problem("max_epsilon", self.max_epsilon, is_allowed=self.allow_large_epsilon),
        ):
            if problem is not None:
                raise ValueError(problem)
        if self.patient_column is not None and self.one_row_per_patient:
            raise ValueError(
                "patient_column and one_row_per_patient exclude each other: with the column, the first row of each "
                "patient is used; remove one of them"
            )
        if self.visits and self.patient_column is None:
            raise ValueError("visits = true keeps all rows of a patient; add patient_column, which says whose they are")
        if self.declared_rows < self.min_rows:
            raise ValueError(
                f"declared_rows = {self.declared_rows} is below min_rows = {self.min_rows}; "
                "no study could be accepted; correct one of them"
            )
        if self.witness is not None and self.witness.resolve().is_relative_to(self.state.resolve()):
            raise ValueError(
                "[ledger] witness is inside the state folder, so whoever restores an old copy of the folder restores "
                "the witness too; choose another path, such as a mounted share"
            )
        return self

    @property
    def unit(self) -> Unit:
        """What the hospital can promise that a row stands for."""
        return "patient" if self.patient_column is not None or self.one_row_per_patient else "record"

    @property
    def warnings(self) -> list[str]:
        """Warnings about the cohort's budget, allowed and unwise."""
        return warnings("max_epsilon", self.max_epsilon, self.delta, self.declared_rows)

    @property
    def witness(self) -> Path | None:
        return self.ledger_settings.witness

    @property
    def ledger(self) -> Path:
        return self.state / LEDGER

    @property
    def ledger_cohort(self) -> str:
        """Name of the cohort in the ledger; rehearsed releases and real ones never share a ledger."""
        return f"{self.cohort} (rehearsal)" if self.rehearsal else self.cohort

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.state / APPROVALS, Quorum(self.consent.approvers, self.consent.days))

    @property
    def partners(self) -> Partners:
        return Partners(self.state / PARTNERS)

    def budget(self, history: History, more: Iterable[Event] = ()) -> LifetimeBudget:
        """Return the cohort's lifetime budget; `more` are the events of one more run."""
        return LifetimeBudget.of(
            history.committed(self.name, self.max_epsilon), more, limit=self.max_epsilon, delta=self.delta
        )

    @property
    def policy(self) -> Policy:
        return Policy(
            self.name,
            max_epsilon=self.max_epsilon,
            delta=self.delta,
            declared_rows=self.declared_rows,
            unit=self.unit,
            visits_of=self.patient_column if self.visits else None,
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
        return parse_site(file.read_text(encoding="utf-8-sig"), file)
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
        raise SiteError(f"'{file}' is {toml_problem(text, problem)}") from None
    images = document.get("images")
    files = [("data", document), ("mapping", document), ("state", document), ("witness", document.get("ledger"))]
    files += [("folder", table) for table in (images.values() if isinstance(images, dict) else ())]
    for key, table in files:
        relative = table.get(key, "." if key == "state" else None) if isinstance(table, dict) else None
        if isinstance(table, dict) and isinstance(relative, str):
            table[key] = str(file.parent.resolve() / relative)
    try:
        return Site.model_validate(document)
    except ValidationError as problem:
        raise SiteError(f"{file}: {explain(problem, _known_keys)}") from None


def _known_keys(location: tuple[Any, ...]) -> Sequence[str]:
    tables: dict[Any, type[Frozen]] = {"consent": ConsentRules, "ledger": LedgerSettings, "timing": TimingSettings}
    tables |= {"read": Reading, "images": ImageFiles}
    fields = tables[location[0]].model_fields if len(location) > 1 else Site.model_fields
    return [field.alias or name for name, field in fields.items()]
