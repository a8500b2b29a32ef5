"""Propose a site's mapping: read its table, write the proposal for a person to check, and say what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.dictionary.dictionary import read_dictionary
from common.dictionary.standards.registry import import_file
from common.errors import DataError, SiteError
from common.harmonization.evidence import Described
from common.harmonization.mapping import parse_mapping
from common.harmonization.proposal_text import proposal_text
from common.harmonization.proposing import MappingProposal, propose
from common.harmonization.source import open_source
from common.study.study import Study
from common.system.files import write_synced, writing
from common.tables.formats import AS_WRITTEN, described, read_table
from common.tables.raw import refuse_empty
from common.tables.reading import Reading


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """How a mapping is proposed and written.

    Attributes:
        out: file to write.
        force: write over a file that is there.
        patient_column: local column that identifies the patient; None leaves it to the names.
        reading: what is declared about the table's file.
        dictionary: data dictionary of the hospital, which says what columns and codes mean; None for none.
    """

    out: Path
    force: bool = False
    patient_column: str | None = None
    reading: Reading = AS_WRITTEN
    dictionary: Path | None = None


def described_by(path: Path) -> dict[str, Described]:
    """Return what a data dictionary says of each column: a file of `site dictionary`, or any standard that it imports.

    Raises:
        StudyError: the file cannot be read, or is no description of columns.
    """
    is_own = path.suffix == ".toml"
    entries = read_dictionary(path).columns if is_own else import_file(path).entries
    described = {}
    for entry in entries:
        label, unit = entry.value("description") or "", entry.value("unit")
        described[entry.name] = Described(f"{label} [{unit}]" if label and unit else label, entry.meanings)
    return described


def write_mapping(study: Study, data: Path, options: MappingOptions) -> tuple[MappingProposal, list[str]]:
    """Write a proposed mapping of a table to a study.

    Args:
        study: the study.
        data: the hospital's table.
        options: how it is proposed and written.

    Returns:
        The proposal, and notices with cells and counts: for the hospital only.

    Raises:
        SiteError: the file exists and `force` is false, or cannot be written.
        DataError: the table cannot be read, has no rows, lacks the patient column, or resembles the study in nothing.
    """
    if options.out.exists() and not options.force:
        raise SiteError(f"'{options.out}' exists and may hold a person's work; choose another --out, or add --force")
    raw = read_table(data, options.reading)
    refuse_empty(raw, data.name)
    if options.patient_column is not None and options.patient_column not in raw.columns:
        raise DataError(f"{data.name}: there is no column '{options.patient_column}'; correct --patient-column")
    words = {} if options.dictionary is None else described_by(options.dictionary)
    proposal = propose(raw, study.table, patient_column=options.patient_column, described=words)
    if proposal.is_empty:
        raise DataError(
            f"{data.name}: no column resembles one of study {study.name}; is the first line the header? Else write the "
            "mapping by hand (docs/harmonize.md)"
        )
    text = proposal_text(proposal, study.name)
    parse_mapping(text, options.out)  # it is never written half, or so that it cannot be read
    with writing(options.out, error=SiteError):
        write_synced(options.out, text.encode(), mode=0o600)
    source = open_source(data, options.out, reading=options.reading)
    for _ in source.parts():
        pass
    return proposal, [*described(data, options.reading), *source.notices()]
