"""The files of a run that a dossier is made from, read and checked to be of the same run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import quote

from common.errors import StudyError
from common.planning.plan import Plan
from common.release import TABLES, digests_of
from common.study.study import Study, read_study
from common.system.folder import RunFolder

RUN, REPORT, AUDIT = "run.json", "report.json", "audit.json"

FINDING = frozenset({"name", "target", "claimed", "epsilon_lower", "is_refuted"})
"""What a dossier repeats of each finding of an audit."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """What one hospital's own files say, for its own copy of the dossier.

    Attributes:
        hospital: its name.
        epsilon, limit, delta: spent or reserved over the cohort's life, the limit, and their delta.
        entries, head: number of entries of the ledger, and the hash of the last.
        decisions: who decided what about this run, in words.
        table: digest of the frozen table that answered; "" where the run is not in the ledger.
    """

    hospital: str
    epsilon: float
    limit: float
    delta: float
    entries: int
    head: str
    decisions: tuple[str, ...]
    table: str


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table of the run: its file, its number of rows, and the names of its columns."""

    name: str
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A finished run.

    Attributes:
        folder: of the run.
        record: run.json.
        study, plan: of the model's folder.
        report: report.json; None where no hospital's report is at hand, as in a coordinator's folder.
        audit: audit.json of the same study; None where nobody ran it, or it is elsewhere.
        cohort: what one hospital adds; None in a coordinator's dossier.
    """

    folder: Path
    record: dict[str, Any]
    study: Study
    plan: Plan
    report: dict[str, Any] | None
    audit: dict[str, Any] | None = None
    cohort: Cohort | None = None

    @property
    def is_simulation(self) -> bool:
        return bool(self.record.get("simulation"))

    @property
    def attacks(self) -> list[dict[str, Any]]:
        """The attacks of the report; none without one, and none in a report of visits."""
        return [] if self.report is None or self.is_of_visits else list(self.report["privacy"]["attacks"])

    @property
    def is_of_visits(self) -> bool:
        """Whether the report is of a table of visits: it holds measures and a verdict, and no attacks."""
        return self.report is not None and self.report.get("kind") == "visits"


def read_run(folder: Path) -> RunFacts:
    """Read the folder of a finished run; a hospital adds its `cohort` afterwards.

    Raises:
        StudyError: it is not the folder of a finished run, or its files are of different runs.
    """
    if not folder.is_dir() or not (folder / RUN).is_file():
        raise StudyError(f"'{folder}' is not the folder of a run; name the folder that holds {RUN}")
    files = RunFolder(folder)
    record = files.read_json(RUN)
    if not isinstance(record, dict) or record.get("status") != "finished":
        raise StudyError(f"the run in '{folder}' is not finished; a dossier is about a finished run")
    model = folder / "model"
    study = read_study(model / "study.toml")
    try:
        plan = Plan.from_json((model / "plan.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise StudyError(f"'{model / 'plan.json'}' cannot be read; restore the model's folder") from None
    if (study.fingerprint, plan.digest) != (record.get("fingerprint"), record.get("plan")):
        raise StudyError(f"model and {RUN} in '{folder}' are of different runs; restore the folder as the run left it")
    return RunFacts(folder, record, study, plan, files.read_json(REPORT))


def check_tables(facts: RunFacts) -> None:
    """Raise `StudyError` for a table or image that is not as the run wrote it; one that is elsewhere is not checked."""
    written = facts.record.get("files", {})
    for name, sha256 in digests_of(facts.folder).items():
        if name in written and sha256 != written[name]:
            raise StudyError(
                f"'{facts.folder / name}' was changed after the run, by its SHA-256 in {RUN}; restore it, or remove it "
                "from the folder to describe the run without it"
            )


def read_audit(path: Path, study: Study) -> dict[str, Any]:
    """Return the findings of `fedsynth audit` about a study.

    Raises:
        StudyError: the file is not such a file, or is about another study.
    """
    facts = RunFolder(path.parent).read_json(path.name) if path.is_file() else None
    if not _is_audit(facts):
        raise StudyError(f"'{path}' is not an {AUDIT} of `fedsynth audit`; name that file")
    if facts.get("fingerprint") != study.fingerprint:
        raise StudyError(f"'{path}' is about another study; run `fedsynth audit --study` with the study of the run")
    return facts


def _is_audit(facts: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a document has all that a dossier repeats of an audit; infinite figures are null there."""
    if not isinstance(facts, dict) or not isinstance(facts.get("findings"), list):
        return False
    is_whole = isinstance(facts.get("verdict"), str) and isinstance(facts.get("confidence"), float)
    return is_whole and all(isinstance(finding, dict) and finding.keys() >= FINDING for finding in facts["findings"])


def address(base: str, name: str) -> str:
    """Return the relative URL of a file of the run; `base` is the run's folder, as seen from the page or entry."""
    return quote(f"{base}/{name}".removeprefix("./"))


def table_files(folder: Path) -> tuple[TableFile, ...]:
    """Return the tables of the run that are in its folder. Cells hold no line ends, so a line is a row."""
    tables = []
    for path in (folder / name for name in TABLES if (folder / name).is_file()):
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
            tables.append(TableFile(path.name, sum(1 for _ in file), tuple(header)))
    return tuple(tables)
