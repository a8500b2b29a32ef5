"""The folder of studies that a console drafts: for each its table, its draft, its study file and its simulations."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, ValidationError

from common.errors import FedSynthError, StudyError, cause_of
from common.settings import Frozen
from common.study.sections import SLUG
from common.study.study import Study, parse_study
from common.system.files import write_synced, writing
from common.tables.formats import known_suffixes, read_parts, suffix_of
from common.tables.reading import Reading, parse_reading
from common.tables.roles import declared_role
from simulations.checking import TablesToCheck, check_study
from simulations.console.form import Document, StudyForm
from simulations.drafting import NamedColumns, study_name
from simulations.drafting_columns import ColumnRefused
from simulations.drafting_notices import draft_text
from simulations.drafting_tables import draft_table

DRAFT, STUDY = "draft.json", "study.toml"

LONGEST_NAME = 64
"""Most characters of a study's name."""

BY_PERSON = "you left it out"
"""Reason why a column is left out that nobody else gave."""


class SavedDraft(Frozen):
    """A draft as it is kept.

    Attributes:
        table: path of the table.
        reading: what is declared about its file, as KEY=VALUE.
        columns: the columns of the table, in order.
        target, patient_column, site_column, time_column: what a person said about columns; with a time, rows are
            visits.
        most_visits: most visits of a patient, where a person said so.
        kinds: the kinds that a person chose, by column.
        left_out: columns that are not in the study, and why.
        roles: what the columns of the study tell about a person, by column.
        notices: what a person should know about the draft.
        checked: what the check of study and table said after it was last saved.
        document: the study; None before it was drafted.
    """

    table: str
    reading: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    target: str | None = None
    patient_column: str | None = None
    site_column: str | None = None
    time_column: str | None = None
    most_visits: int | None = None
    kinds: dict[str, str] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    roles: dict[str, str] = Field(default_factory=dict)
    notices: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    document: Document | None = None

    @property
    def path(self) -> Path:
        return Path(self.table)

    @property
    def how(self) -> Reading:
        return parse_reading(self.reading)

    @property
    def study(self) -> Study | None:
        """The study that is drafted or saved; None before the draft."""
        return None if self.document is None else parse_study(tomli_w.dumps(self.document), source="the draft")

    @property
    def digest(self) -> str:
        """What tells this state of the draft from another: a form of an earlier one is refused."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Studies, one folder each.

    Attributes:
        path: created with the first study.
    """

    path: Path

    def names(self) -> tuple[str, ...]:
        """Return the names of all studies, sorted."""
        return tuple(sorted(path.parent.name for path in self.path.glob(f"*/{DRAFT}")))

    def folder(self, name: str) -> Path:
        return self.path / name

    def study_file(self, name: str) -> Path | None:
        """Return the study file, or None before the study was saved."""
        path = self.folder(name) / STUDY
        return path if path.is_file() else None

    def draft(self, name: str) -> SavedDraft:
        """Return a draft. Raises `StudyError` where its file is damaged."""
        path = self.folder(name) / DRAFT
        try:
            return SavedDraft.model_validate_json(path.read_bytes())
        except (OSError, ValidationError, ValueError) as problem:
            raise StudyError(
                f"'{path}' is damaged ({cause_of(problem)}); restore it, or remove the folder and draft again"
            ) from None

    def add(self, name: str, table: Path, content: bytes | None, reading: tuple[str, ...]) -> str:
        """Take a table for a new study and return the study's name.

        Args:
            name: of the study; "" for that of the table's file.
            table: path of the table, or the name of the file that a browser sent.
            content: what the browser sent; None reads the path.
            reading: what is declared about the file, as KEY=VALUE.

        Raises:
            StudyError: there is a study of that name, the name is none, or the table is a query on a database.
            DataError: the table cannot be read.
        """
        name = name or study_name(table)
        if len(name) > LONGEST_NAME or re.fullmatch(SLUG, name) is None:
            raise StudyError("the name has lower-case letters and digits, with single hyphens between them, at most 64")
        folder = self.folder(name)
        if folder.exists():
            raise StudyError(f"there is a study '{name}' already; choose another name")
        if "\0" in str(table):
            raise StudyError("the path holds a character that no path has; correct it")
        _refuse_databases(table, reading)
        if content is not None and suffix_of(table) is None:
            raise StudyError(f"the file's name does not end in {known_suffixes()}; save it as one of these")
        created: list[Path] = []
        with writing(folder, remedy="choose another folder with --studies"):
            folder.mkdir(mode=0o700, parents=True)
            created.append(folder)
        path = table.resolve()
        try:
            if content is not None:
                path = (folder / f"table{suffix_of(table)}").resolve()
                with writing(path, remedy="make room"):
                    write_synced(path, content, mode=0o600)
                created.append(path)
            columns = tuple(map(str, next(iter(read_parts(path, reading=parse_reading(reading)))).columns))
            self._keep(name, SavedDraft(table=str(path), reading=reading, columns=columns))
        except (FedSynthError, OSError):
            for trace in reversed(created):  # a table that cannot be used leaves nothing behind
                trace.rmdir() if trace.is_dir() else trace.unlink()
            raise
        return name

    def make_draft(self, name: str, named: NamedColumns) -> SavedDraft:
        """Draft the study by reading its table, as `study draft` does. Raises as `draft_table` does."""
        asked = self.draft(name).model_copy(
            update={
                "target": named.target,
                "patient_column": named.patient,
                "site_column": named.site,
                "time_column": named.time,
                "most_visits": named.most_visits,
                "kinds": dict(named.kinds),
            }
        )
        drafted = _drafted(name, asked)
        self._keep(name, drafted)
        return drafted

    def save(self, name: str, form: StudyForm, wanted: dict[str, str]) -> SavedDraft:
        """Save what a form says, and check the table against it.

        A column whose kind differs from that of the draft is drafted again with its kind, as by `study draft --kind`.

        Args:
            name: the study.
            form: valid.
            wanted: kinds of columns that were left out and are to come in.

        Raises:
            ColumnRefused: a column is not of the kind that a person chose.
        """
        before = self.draft(name)
        assert before.document is not None, "a form shows a draft"
        document = form.document
        old = {entry["name"]: entry["kind"] for entry in before.document["schema"]["columns"]}
        changed = {column: kind for column, kind in form.kinds.items() if kind != old[column]} | wanted
        kinds = {**before.kinds, **changed}
        left_out = before.left_out | dict.fromkeys(form.dropped, BY_PERSON)
        notices = before.notices
        if changed:
            again = _redrafted(name, before.model_copy(update={"kinds": kinds}), document, changed)
            assert again.document is not None, "it was drafted"
            document, notices = again.document, again.notices
            left_out = {column: reason for column, reason in left_out.items() if column not in changed}
        study = parse_study(tomli_w.dumps(document), source="the form")
        saved = before.model_copy(
            update={
                "kinds": kinds,
                "left_out": left_out,
                "notices": notices,
                "roles": _roles(study),
                "target": study.evaluation.target,
                "document": _document(study),
                "checked": _checked(study, before),
            }
        )
        with writing(self.folder(name) / STUDY, remedy="make room"):
            write_synced(self.folder(name) / STUDY, draft_text(study, list(notices)).encode())
        self._keep(name, saved)
        return saved

    def _keep(self, name: str, draft: SavedDraft) -> None:
        path = self.folder(name) / DRAFT
        with writing(path, remedy="make room"):
            write_synced(path, draft.model_dump_json(indent=1).encode(), mode=0o600)


def _refuse_databases(table: Path, reading: tuple[str, ...]) -> None:
    """Raise `StudyError` for a query: a database may write files when it runs one, and a page runs no such text."""
    how = parse_reading(reading)
    if suffix_of(table) == ".sql" or how.database is not None or how.schemas is not None:
        raise StudyError("a console reads files and asks no database; run `fedsynth study draft` for an SQL query")


def _drafted(name: str, draft: SavedDraft) -> SavedDraft:
    assert draft.target is not None, "a person chose a target"
    named = NamedColumns(
        draft.target, draft.patient_column, draft.site_column, draft.time_column, draft.most_visits, draft.kinds
    )
    drafted = draft_table(draft.path, draft.how, named, name=name)
    study = drafted.study
    return draft.model_copy(
        update={
            "patient_column": study.declared.patient or draft.patient_column,
            "left_out": dict(drafted.left_out),
            "notices": drafted.notices,
            "roles": _roles(study),
            "checked": (),
            "document": _document(study),
        }
    )


def _redrafted(name: str, draft: SavedDraft, document: Document, changed: dict[str, str]) -> SavedDraft:
    """Return the draft with some columns drafted again, and all else as a form says it.

    Args:
        name: the study.
        draft: with all kinds that a person chose.
        document: the study as the form says it.
        changed: the columns that are drafted again, and their kinds.
    """
    for column in changed:
        if column in (draft.patient_column, draft.site_column):
            raise ColumnRefused(column, f"{draft.left_out[column]}; draft again without it to take it in")
    again = _drafted(name, draft)
    assert again.document is not None, "it was drafted"
    entries = {entry["name"]: entry for entry in again.document["schema"]["columns"]}
    kept = {entry["name"]: entry for entry in document["schema"]["columns"]}
    kept |= {column: entries[column] for column in changed}  # drafting refuses a kind that does not fit its column
    columns = [kept[column] for column in draft.columns if column in kept]
    return again.model_copy(update={"document": {**document, "schema": {**document["schema"], "columns": columns}}})


def _checked(study: Study, draft: SavedDraft) -> tuple[str, ...]:
    """Return what `study check --data` says of the study and its table, in lines."""
    try:
        findings = check_study(study, TablesToCheck(draft.path, draft.how, patient_column=draft.patient_column))
    except FedSynthError as problem:
        return (f"The table does not fit: {problem}",)
    return (*findings.notices, *(f"warning: {text}" for text in findings.warnings))


def _document(study: Study) -> dict[str, Any]:
    document: dict[str, Any] = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {section: keys for section, keys in document.items() if keys}


def _roles(study: Study) -> dict[str, str]:
    roles = {column.name: declared_role(column) for column in study.declared.columns}
    return {name: role.sentence for name, role in roles.items() if role.reason}
