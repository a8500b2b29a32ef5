"""The frozen table of a site: the only file with records that the agent reads, and the check that it is unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from client.site.config import TABLE, Site
from common.errors import PolicyRefusal, Reason, SiteError, cause_of
from common.omop.sql import digest
from common.study.study import Study
from common.tables.frozen import digest_of, read_frozen
from common.tables.parts import Part

RECEIPT = "import.json"
"""File name of the latest import's description, beside the frozen table."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import did. Like the table, it stays at the site: every count is a fact about its patients.

    Attributes:
        sha256: digest of the frozen table's file. It stands in approvals and in the ledger.
        file: name of that file.
        time: UTC, ISO 8601, to the second.
        source: what was read.
        source_sha256: digest of the file that was read; of the text of an SQL query.
        dialect: how a CSV file was read, in words; empty for a plain one and for other formats.
        mapping_sha256: digest of the mapping that was applied; empty where there was none.
        unread: what the mapping could not read, one line per column, with the cells' texts; empty for nothing.
        patient_column: column that identifies the patient; None where every row stands for itself.
        rows_read: rows of the source.
        rows: rows of the frozen table.
        repeated: rows that were left out, because an earlier row is of the same patient.
        identical: rows kept though an earlier row is the same in every cell; counted only without a patient column.
        line_breaks: cells that hold a line break.
        visits: whether all rows of a patient were kept.
        definitions: digest of what a study takes from OMOP databases (`common.omop.sql.digest`), where the table was
            taken from one; empty for other tables.
        found: what is to be known about that database, one line per notice.
        images: digest of what site.toml declared about image files; empty where it declared none.
        images_read: how many images were read, also of rows that were left out.
        images_found: what is to be known about their files, one line per notice.
    """

    sha256: str
    file: str
    time: str
    source: str
    source_sha256: str
    dialect: str
    mapping_sha256: str
    unread: str
    patient_column: str | None
    rows_read: int
    rows: int
    repeated: int
    identical: int
    line_breaks: int
    visits: bool = False
    definitions: str = ""
    found: str = ""
    images: str = ""
    images_read: int = 0
    images_found: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


class FrozenTable:
    """The table that a site imported, as it was when this value was made. Another import needs another value.

    Raises:
        SiteError: nothing was imported, or with another `patient_column` or `visits` than site.toml has now.
    """

    def __init__(self, site: Site) -> None:
        self.imported = read_import(site)
        if self.imported.patient_column != site.patient_column:
            raise SiteError(
                "site.toml names another patient_column than the table was imported with; "
                "correct it, or run `fedsynth site import --replace`"
            )
        if self.imported.visits != site.visits:
            raise SiteError(
                f"site.toml says visits = {str(site.visits).lower()}, and the table was imported otherwise; "
                "correct it, or run `fedsynth site import --replace`"
            )
        self._path = site.state / TABLE / self.imported.file
        self._unchanged: tuple[int, ...] | None = None

    def digest(self) -> str:
        """Return the table's digest. The file is hashed again only if its size, times or inode changed.

        Raises:
            PolicyRefusal: the file is missing, or is not the one that was imported.
        """
        try:
            facts = self._path.stat()
            stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            if stamp != self._unchanged and digest_of(self._path) != self.imported.sha256:
                raise PolicyRefusal(Reason.UNAVAILABLE, _CHANGED)
        except OSError as problem:
            raise PolicyRefusal(
                Reason.UNAVAILABLE,
                f"cannot read the frozen table ({cause_of(problem)}); restore it from a backup, or import again",
            ) from None
        self._unchanged = stamp
        return self.imported.sha256

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[Part]:
        """Yield the records part by part; the digest is compared first.

        Args:
            columns: names of the wanted columns, None for all; columns that are not in the table are left out.

        Raises:
            ChangedError: the file is not the one that was imported.
        """
        return read_frozen(self._path, self.imported.sha256, columns)

    def parts_for(self, study: Study) -> Iterator[Part]:
        """Yield what a study reads: its columns, and the one that identifies the patient; as `parts` does."""
        return self.parts(study.read_names_with(self.imported.patient_column))


_CHANGED = "the frozen table was changed since it was imported; restore it from a backup, or import again"


def check_definitions(imported: Imported, study: Study) -> None:
    """Refuse a study on OMOP databases for which the imported table was not taken. Reads no record.

    Raises:
        SiteError: the table is a file's, or was taken by other definitions or by another version of fedsynth.
    """
    if study.extraction is not None and imported.definitions != digest(study.extraction):
        raise SiteError(
            f"the imported table was not taken from the database by the definitions of study {study.name}; name its "
            "file as `data` in site.toml, and run `fedsynth site import --replace`"
        )


def open_frozen(site: Site) -> FrozenTable:
    """Return the site's frozen table after its digest was compared.

    Raises:
        SiteError: nothing was imported, or the file is missing or changed.
    """
    table = FrozenTable(site)
    try:
        table.digest()
    except PolicyRefusal as problem:
        raise SiteError(str(problem)) from None
    return table


def read_import(site: Site) -> Imported:
    """Return the description of the latest import.

    Raises:
        SiteError: nothing was imported, or the description cannot be read.
    """
    path = site.state / TABLE / RECEIPT
    try:
        return Imported(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SiteError("no table is imported yet; run `fedsynth site import`, which reads it once") from None
    except (OSError, ValueError, TypeError):
        raise SiteError(f"cannot read '{path}'; restore it from a backup, or import again") from None


def frozen_path(site: Site, name: str) -> Path:
    """Return the path of a file in the folder of the frozen table."""
    return site.state / TABLE / name
