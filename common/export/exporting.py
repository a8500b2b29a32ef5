"""An export: a folder with tables or resources, the study and mapping that explain them, and what they are."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from common.errors import StudyError
from common.export.fhir import RESOURCES, FhirWriter, local_code
from common.export.mapping import PRESENCE, ExportMapping, labels_of
from common.export.omop import OmopWriter, source_frame
from common.export.omop_facts import fact_key, shortened
from common.export.omop_files import SINKS, Sink, arrow_table
from common.export.omop_tables import TABLES
from common.export.provenance import Provenance
from common.export.rows import FLAT, OF_PATIENTS, OF_VISITS, Rows, flat_rows, long_rows, visit_rows
from common.release import sha256_of
from common.study.schema import Schema
from common.system.files import PARTIAL, refuse_existing, writing
from common.system.folder import RunFolder

MANIFEST, STUDY, MAPPING = "export.json", "study.toml", "mapping.toml"
"""Files of an export that say what it is, and with which it is read back."""

FORMATS = {"omop": tuple(SINKS), "fhir": ("ndjson",)}
"""File formats of each target; the first one unless another is chosen."""


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """What a table is exported to.

    Attributes:
        to: a target of `FORMATS`.
        form: a file format of the target.
    """

    to: str
    form: str

    @classmethod
    def of(cls, to: str, form: str | None = None) -> ExportTarget:
        """Return a target that a person chose, with its first format unless they chose one. Raises `StudyError`."""
        if to not in FORMATS:
            raise StudyError(f"--to '{to}' is not a target; choose from {', '.join(FORMATS)}")
        chosen = form or FORMATS[to][0]
        if chosen not in FORMATS[to]:
            raise StudyError(f"--format '{chosen}' is not a format of {to}; choose from {', '.join(FORMATS[to])}")
        return cls(to, chosen)


def rows_of(table: Path, declared: Schema) -> Iterator[Rows]:
    """Yield the rows of a table, or of the folder of a run.

    Args:
        table: a folder, or a CSV file.
        declared: the study's columns.

    Raises:
        StudyError: the file is no CSV file.
        DataError: it cannot be read, or does not fit the study.
    """
    if declared.time is not None and table.is_dir():
        return visit_rows(table / OF_VISITS, table / OF_PATIENTS, declared)
    path = table / FLAT if table.is_dir() else table
    if path.suffix.lower() != ".csv":
        raise StudyError(f"'{path.name}' is no CSV file, which keeps cells as they are; write the table as CSV")
    return flat_rows(path, declared) if declared.time is None else long_rows(path, declared)


def export(
    table: Path, provenance: Provenance, mapping: ExportMapping, target: ExportTarget, out: Path
) -> dict[str, int]:
    """Write a table as OMOP tables or FHIR resources into a new folder, which appears whole or not at all.

    Args:
        table: as `rows_of` takes it.
        provenance: the study, and what the table cost.
        mapping: where the columns go.
        target: to what, in which file format.
        out: folder that does not exist.

    Returns:
        The number of rows by table, or of resources by type.

    Raises:
        StudyError: the mapping does not fit the study, two columns would read the same, or the folder exists.
        DataError: the table cannot be read, or does not fit the study.
    """
    refuse_existing(out)
    mapping.check(provenance.study.declared)
    _refuse_ambiguous(provenance.study.declared, mapping, target.to)
    chunks = rows_of(table, provenance.study.declared)
    write = _write_omop if target.to == "omop" else _write_fhir
    with new_folder(out) as folder:
        counts = write(chunks, provenance, mapping, folder, target.form)
        facts = {
            "to": target.to,
            "format": target.form,
            "synthetic": True,
            "description": provenance.description,
            "fingerprint": provenance.study.fingerprint,
            "epsilon": provenance.epsilon,
            "run": provenance.run_id,
            "simulation": provenance.is_simulation,
            "counts": counts,
            "is_one_table": not table.is_dir(),
        }
        files = RunFolder(folder)
        files.write(STUDY, provenance.study.to_toml())
        files.write(MAPPING, mapping.to_toml())
        written = sorted(path for path in folder.iterdir() if path.is_file())
        files.write_json(MANIFEST, facts | {"files": {path.name: sha256_of(path) for path in written}})
    return counts


def _refuse_ambiguous(declared: Schema, mapping: ExportMapping, to: str) -> None:
    """Raise `StudyError` where two columns or labels are the same text in the target: one would become the other.

    Args:
        declared: the study's columns.
        mapping: where they go.
        to: a target of `FORMATS`.
    """
    taken: dict[tuple[bool, str], str] = {}
    presence = {column.name for column in declared.columns if mapping.of(column.name).to in PRESENCE}
    for column in declared.columns:
        keys = [(False, shortened(column.name) if to == "omop" else local_code(column.name))]
        keys += [(True, fact_key(column.name, label)) for label in labels_of(column) if to == "omop" and presence]
        for key in keys:
            other = taken.setdefault(key, column.name)
            if other != column.name and (not key[0] or presence & {other, column.name}):
                raise StudyError(
                    f"columns '{other}' and '{column.name}' would both be '{key[1]}' in the export; rename one of "
                    "them, or send it to observation"
                )


def _write_omop(
    chunks: Iterator[Rows], provenance: Provenance, mapping: ExportMapping, folder: Path, form: str
) -> dict[str, int]:
    counts, writer = dict.fromkeys(TABLES, 0), OmopWriter(provenance.study.declared, mapping)
    sink: Sink = SINKS[form](folder)

    def append(table: str, rows: pa.Table) -> None:
        counts[table] += rows.num_rows
        sink.append(table, rows)

    try:
        for rows in filter(len, chunks):
            for table, frame in writer.frames(rows).items():
                append(table, arrow_table(table, frame))
        append("cdm_source", arrow_table("cdm_source", source_frame(provenance, mapping)))
    finally:
        sink.close()
    return counts


def _write_fhir(
    chunks: Iterator[Rows], provenance: Provenance, mapping: ExportMapping, folder: Path, form: str
) -> dict[str, int]:
    counts, writer = dict.fromkeys(RESOURCES, 0), FhirWriter(provenance, mapping)
    with ExitStack() as opened:
        files = {
            kind: opened.enter_context((folder / f"{kind}.{form}").open("w", encoding="utf-8", newline="\n"))
            for kind in RESOURCES
        }
        for rows in filter(len, chunks):
            for kind, lines in writer.lines(rows).items():
                counts[kind] += len(lines)
                files[kind].writelines(lines)
    return counts


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder to write into, which gets its name at the end of the block; after an error it is removed.

    Raises:
        StudyError: the folder cannot be written.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = out.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
        folder.mkdir()
        try:
            yield folder
            folder.rename(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
