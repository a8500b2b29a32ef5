"""Import a hospital's table: read it once, strictly, under its people's eyes, and freeze it.

Everything that can go wrong with a file goes wrong here, where a person reads the message, and never while a hospital
answers. Whatever yields the parts of a raw table can be imported; today that is a file in one of the known formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import numpy as np

from client.site.config import TABLE, Site
from client.site.images import SiteImages, declared_digest
from client.site.imported import RECEIPT, Imported, frozen_path, read_import
from client.site.state import check_own_state, open_ledger
from common.columns.base import Texts
from common.columns.cells import count_rows, is_missing
from common.errors import DataError, SiteError, cause_of
from common.harmonization.source import LISTED_HERE, Source, open_source
from common.ledger.ledger import Ledger
from common.omop.domains import PERSON_ID
from common.omop.sql import digest
from common.system.files import write_synced, writing
from common.tables.formats import described, is_study
from common.tables.frozen import write_frozen
from common.tables.omop import extraction_of
from common.tables.parquet_folder import digest_of_table
from common.tables.parts import Part, PlainCells
from common.tables.patients import identifiers

PARTIAL = ".partial"
"""File name of a table that is being written."""


def import_table(site: Site, *, is_replacing: bool = False) -> Imported:
    """Read the site's table and freeze what the agent will answer from. The cohort's ledger is locked meanwhile.

    Args:
        site: the site; its `data` is read, and nothing else.
        is_replacing: import again although a table is imported; open runs over that table are refused from then on.

    Returns:
        What was done, with exact counts: for the hospital only.

    Raises:
        SiteError: a table is imported already and `is_replacing` is false, the mapping is not valid, or the state
            folder cannot be used.
        LedgerError: an agent or another import is running.
        DataError: the table cannot be read, has no rows, lacks the patient column, or has rows without a patient. The
            text names line or row, and the remedy, and no cell. The frozen table is then as it was before.
    """
    check_own_state(site)
    with closing(open_ledger(site)) as ledger:
        if not is_replacing:
            _refuse_second(site, ledger)
        return _freeze(site)


def _refuse_second(site: Site, ledger: Ledger) -> None:
    """Raise `SiteError` if a table is imported, with the runs that another table would end."""
    try:
        known = read_import(site)
    except SiteError:
        if not frozen_path(site, RECEIPT).exists():
            return
        raise
    runs = [run for run in ledger.runs() if not ledger.is_closed(run) and ledger.table(run) == known.sha256]
    ended = f" It would end every further answer to {', '.join(runs)}." if runs else ""
    raise SiteError(
        f"a table was imported on {known.time[:10]} and is frozen; --replace puts another in its place.{ended}"
    )


def _freeze(site: Site) -> Imported:
    """Read the source, write the frozen table, and then its description: a crash leaves the earlier table in use."""
    folder, partial = site.state / TABLE, frozen_path(site, PARTIAL)
    tally, source, images = Tally(), open_source(site.data, site.mapping, reading=site.read), SiteImages(site)
    _check_patient_column(site, source)
    with _written_whole(folder, partial):
        before = _source_digest(site.data)
        definitions = _definitions(site)  # after the digest: a study that is changed meanwhile is noticed
        parts = one_row_each(images.embedded(source.parts()), site.patient_column, tally, keeps_visits=site.visits)
        written = write_frozen(parts, partial)
        tally.check(site)
        if _source_digest(site.data) != before:
            raise DataError(f"table '{site.data}' changed while it was read; import it once it is complete")
        name = f"{written.sha256}.parquet"
        partial.rename(folder / name)
        imported = Imported(
            written.sha256,
            name,
            datetime.now(UTC).isoformat("T", "seconds"),
            str(site.data),
            before,
            "; ".join(described(site.data, site.read)),
            source.mapping_sha256,
            "\n".join(source.notices()),
            site.patient_column,
            rows_read=tally.rows,
            rows=written.rows,
            repeated=tally.repeated,
            identical=tally.identical,
            line_breaks=tally.line_breaks,
            visits=site.visits,
            definitions=definitions,
            found="\n".join(source.found),
            images=declared_digest(site),
            images_read=images.read,
            images_found="\n".join(images.notices()),
        )
        write_synced(frozen_path(site, RECEIPT), imported.to_json().encode(), mode=0o600)
        for path in folder.iterdir():
            if path.name not in (name, RECEIPT):
                path.unlink()
    return imported


def _check_patient_column(site: Site, source: Source) -> None:
    """Raise `SiteError` if site.toml names a patient column by the hospital's own name, which the mapping replaces."""
    mapping, name = source.mapping, site.patient_column
    if mapping is not None and name is not None and name not in mapping.columns and not mapping.keep_others:
        raise SiteError(
            f"patient_column '{name}' is not a column of the mapping '{site.mapping}'; write [columns.patient] with "
            'from = your column there, and patient_column = "patient" in site.toml'
        )


def _definitions(site: Site) -> str:
    """Return the digest of what the study in `data` takes from an OMOP database; empty where `data` is a table.

    Raises:
        SiteError: site.toml has another patient column or other visits than the study.
    """
    if not is_study(site.data):
        return ""
    extraction = extraction_of(site.data)
    visits = extraction.visits is not None
    if site.patient_column != PERSON_ID or site.visits != visits:
        raise SiteError(
            f'`data` in site.toml is a study on OMOP databases; write patient_column = "{PERSON_ID}" and visits = '
            f"{str(visits).lower()} there"
        )
    return digest(extraction)


@contextmanager
def _written_whole(folder: Path, partial: Path) -> Iterator[None]:
    """Make the folder, and remove what an import that failed or was killed has left of its file."""
    with writing(folder, remedy="make room, or check the state folder's permissions", error=SiteError):
        folder.mkdir(mode=0o700, exist_ok=True)
        partial.unlink(missing_ok=True)
        try:
            yield
        finally:
            partial.unlink(missing_ok=True)


def _source_digest(path: Path) -> str:
    try:
        return digest_of_table(path)
    except OSError as problem:
        raise DataError(f"cannot use table '{path}': {cause_of(problem)}; correct `data` in site.toml") from None


@dataclass
class Tally:
    """Counts of what an import meets, while it goes through the rows.

    Attributes:
        rows: rows so far.
        repeated, identical, line_breaks: as in `Imported`.
        blank: rows without a patient.
        first_blank: number of the first of them, from 1.
    """

    rows: int = 0
    repeated: int = 0
    identical: int = 0
    line_breaks: int = 0
    blank: int = 0
    first_blank: int = 0

    def check(self, site: Site) -> None:
        """Raise `DataError` if the table has no rows, or rows without a patient."""
        if self.blank:
            raise DataError(
                f"patient column '{site.patient_column}' is blank in {count_rows(self.blank)}, first in row "
                f"{self.first_blank} after the header; fill in or drop these rows"
            )
        if not self.rows:
            raise DataError(f"table '{site.data}' has no rows; give a table with a header and rows")


def one_row_each(
    parts: Iterable[Part], patient_column: str | None, tally: Tally, *, keeps_visits: bool = False
) -> Iterator[Part]:
    """Yield the first row of each patient, in order; without a patient column, every row.

    The rule looks at one patient at a time. It takes about 100 bytes of memory for every patient.

    Args:
        parts: parts of a raw table.
        patient_column: column that identifies the patient; None where every row stands for itself.
        tally: collects what was met.
        keeps_visits: yield every row of a patient, not only the first.

    Raises:
        DataError: the patient column is not in the table.
    """
    known_digests: set[bytes] = set()
    for part in parts:
        tally.line_breaks += sum(map(_line_breaks, (cells.every() for cells in part.columns.values())))
        if patient_column is None:
            identities = list(map(repr, zip(*(cells.every() for cells in part.columns.values()), strict=True)))
        else:
            cells = part.cells(patient_column) if patient_column in part.columns else ()
            identities = identifiers(part.columns, cells, patient_column)
        is_new = np.zeros(part.rows, dtype=np.bool_)
        for row, identity in enumerate(identities):
            if patient_column is not None and is_missing(identity):
                tally.blank += 1
                tally.first_blank = tally.first_blank or tally.rows + row + 1
                continue
            digest = blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            is_new[row] = digest not in known_digests
            known_digests.add(digest)
        repeated_rows = part.rows - int(is_new.sum())
        if patient_column is None:
            tally.identical += repeated_rows
            is_new[:] = True
        elif keeps_visits:
            is_new[:] = [not is_missing(identity) for identity in identities]
        else:
            tally.repeated += repeated_rows
        tally.rows += part.rows
        yield _rows(part, is_new)


def _rows(part: Part, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Part:
    """Return the chosen rows of a part."""
    columns = {name: PlainCells(cells.every()[chosen]) for name, cells in part.columns.items()}
    return Part(int(chosen.sum()), dict(columns))


def _line_breaks(texts: Texts) -> int:
    return sum("\n" in text or "\r" in text for text in texts)


def sentences(imported: Imported) -> list[str]:
    """Return what a person at the hospital reads after an import. The counts are exact: for their eyes only."""
    lines = [f"Read {imported.source}: {count_rows(imported.rows_read)}."]
    if imported.dialect:
        lines.append(
            f"note {imported.dialect}; if that is wrong, declare it under [read] in site.toml and import again"
        )
    if imported.images:
        lines.append(
            f"note {imported.images_read} images were read: the frozen table holds their pixels, and no file name and "
            "nothing else of the files"
        )
    notices = (imported.found, imported.unread, imported.images_found)
    lines += [f"note {text}" for notice in notices for text in notice.splitlines()]
    if imported.unread:
        lines.append(f"note {LISTED_HERE}")
    if imported.repeated:
        lines.append(
            f"note {count_rows(imported.repeated)} left out: only the first row of each patient is used "
            f"(patient column '{imported.patient_column}')"
        )
    if imported.identical:
        lines.append(
            f"note {count_rows(imported.identical)} repeat an earlier row in every cell and are kept; if a patient "
            "can have several rows, name patient_column in site.toml and import again"
        )
    if imported.line_breaks:
        cells = "1 cell holds" if imported.line_breaks == 1 else f"{imported.line_breaks} cells hold"
        lines.append(f"note {cells} line breaks, which belong to the cell and start no row")
    unit = "one for each patient" if imported.patient_column is not None else "each taken for one record"
    unit = "each a visit of its patient" if imported.visits else unit
    lines += [
        f"Frozen: {count_rows(imported.rows)}, {unit}. The agent answers from this file only:",
        f"    {imported.file}",
        f"    SHA-256 {imported.sha256}, which approvals and ledger will name",
        "These counts are facts about your patients: do not pass them on.",
    ]
    return lines
