"""Create a site: site.toml, an empty ledger and keys, in a folder that only this account can read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from client.consent.policy import MIN_ROWS
from client.site.config import APPROVALS, HOLDOUT_KEY, SITE, ConsentRules, Site, TimingSettings, parse_site
from client.site.state import KEY_BYTES
from common.errors import DataError, SiteError
from common.harmonization.source import open_source
from common.ledger.ledger import Ledger
from common.ledger.witness import Witness
from common.omop.domains import PERSON_ID
from common.planning.phases import PHASES
from common.protocol.signing import IDENTITY, Identity, create_node_key, fingerprint, node_fingerprint
from common.system.files import write_new, writing
from common.tables.formats import is_study, suffix_of
from common.tables.omop import extraction_of
from common.tables.raw import near_name
from common.tables.reading import Reading

NODE_KEY = "node.key"
"""File name of the SuperNode's private key."""

COMMENTS = {
    "name": "name of this hospital in studies",
    "cohort": "the patients whose privacy budget this is: every study on them draws on it",
    "data": "the table that `fedsynth site import` reads: any format of docs/inputs.md, a file with an SQL query, or a "
    "study on OMOP databases; "
    "a relative path starts at this file's folder",
    "mapping": "file that maps this table to the columns of studies, as `fedsynth site map` proposes it; without it, "
    "the table has them already",
    "patient_column": "column that identifies the patient; without visits, the first row of each patient is used",
    "visits": "true: the import keeps all rows of a patient, for studies of visits",
    "one_row_per_patient": "true: every row is another patient, though no column shows it. "
    "Without this and patient_column, guarantees are about records",
    "declared_rows": "number of patients or records with two significant digits; public, and studies must state it",
    "max_epsilon": "lifetime budget of the cohort: all releases together are (max_epsilon, delta)-DP",
    "delta": "delta of the cohort, at most 1 / (10 x declared_rows); fixed when the ledger is created",
    "allow_large_epsilon": "true: max_epsilon may be above 20, which protects nobody in the worst case",
    "min_rows": "fewest declared patients of a study that this hospital accepts",
    "phases": "release phases that this hospital takes part in",
    "state": "folder of the frozen table, the ledger, the approvals and the holdout key",
    "rehearsal": "true: the noise is predictable and protects no patient; for invented records only",
    "consent": "how many persons must approve a run (1 or 2), and after how many days an approval ends",
    "ledger": "witness: file outside the state folder that names the ledger's last entry, so that an old copy of the "
    "folder is noticed",
    "read": "how the table is written, instead of detecting it: separator, quote, decimal, thousands, "
    "encoding, comment, footer, sheet, database, schemas, timeout",
    "images": "a table [images.COLUMN] for each column whose cells name image files: folder, size, how to read them "
    "(docs/images.md)",
    "timing": "grid_s: replies from records leave at multiples of this number of seconds; above a round's time",
}
"""Comment that `site init` writes above each key."""


def check_source(data: Path, mapping: Path | None, reading: Reading, patient_column: str | None) -> None:
    """Refuse a table that cannot be read, or that lacks the patient column; a file that is not there may come later.

    Args:
        data: the hospital's table.
        mapping: file that maps its columns; None for none.
        reading: what is declared about the file.
        patient_column: column that identifies the patient, after the mapping; None for none.

    Raises:
        DataError: the table cannot be read; the text names file, cause and remedy.
        SiteError: it has no such patient column.
    """
    if is_study(data):
        extraction_of(data)
        return
    is_query = suffix_of(data) == ".sql"  # the database may be out of reach of the account that creates the site
    if is_query or not data.exists() or (mapping is not None and not mapping.exists()):
        return
    part = next(iter(open_source(data, mapping, reading=reading).parts()))
    if not part.columns:
        raise DataError(f"cannot use table '{data}': it is empty; give a table with a header and rows")
    if patient_column is not None and patient_column not in part.columns:
        raise SiteError(
            f"--patient-column '{patient_column}' is not in '{data}'; {near_name(patient_column, list(part.columns))}"
        )


def omop_settings(data: Path) -> dict[str, Any]:
    """Return the keys of site.toml that follow from `data` where it is a study on OMOP databases; else none.

    Raises:
        StudyError: the study is not valid.
        DataError: it is no study on OMOP databases.
    """
    if not is_study(data):
        return {}
    return {"patient_column": PERSON_ID, "visits": extraction_of(data).visits is not None}


def init_site(folder: Path, settings: dict[str, Any]) -> Site:
    """Create a folder with site.toml, an empty ledger and a new holdout key, which only this account can read.

    Args:
        folder: does not exist yet, or is empty.
        settings: values of site.toml by key; a key whose value is None keeps its default.

    Raises:
        SiteError: the folder is not empty or cannot be written, the witness exists, or the settings are not valid.
        LedgerError: the witness cannot be written.
    """
    defaults = {
        "visits": False,
        "one_row_per_patient": False,
        "allow_large_epsilon": False,
        "rehearsal": False,
        "min_rows": MIN_ROWS,
        "phases": list(PHASES),
        "state": ".",
        "consent": ConsentRules().model_dump(),
        "ledger": {},
        "read": {},
        "images": {},
        "timing": TimingSettings().model_dump(),
    }
    values = defaults | {key: value for key, value in settings.items() if value is not None}
    lines = [
        f"# {comment}\n{tomli_w.dumps({key: values[key]})}" if key in values else f"# {comment}\n# {key} =\n"
        for key, comment in COMMENTS.items()
    ]
    text = "# The site of one hospital. This file stays here.\n\n" + "\n".join(lines)
    site = parse_site(text, folder / SITE)
    _check_witness(site.witness)
    with writing(folder, remedy="check its permissions", error=SiteError):
        if folder.exists() and any(folder.iterdir()):
            raise SiteError(f"'{folder}' is not empty, and nothing in it is overwritten; choose another folder")
        for new in (folder, site.state / APPROVALS):
            new.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.chmod(0o700)
        write_new(folder / SITE, text.encode(), mode=0o600)
        write_new(site.state / HOLDOUT_KEY, os.urandom(KEY_BYTES), mode=0o600)
        for path in (site.ledger, site.ledger.with_suffix(".lock")):
            write_new(path, b"", mode=0o600)  # opening them later keeps these permissions
    Ledger(site.ledger, cohort=site.ledger_cohort, delta=site.delta).close()
    if site.witness is not None:
        Witness(site.witness).create(Ledger.view(site.ledger).head)
    return site


def _check_witness(path: Path | None) -> None:
    """Raise `SiteError` if the new ledger's witness could not be written, or would replace another ledger's."""
    if path is None:
        return
    if path.exists():
        raise SiteError(f"'{path}' exists and may be the witness of another ledger; choose another --witness")
    if not path.parent.is_dir():
        raise SiteError(f"there is no folder for the witness '{path}'; mount or create it, or choose another --witness")


@dataclass(frozen=True, slots=True)
class SiteKeys:
    """The parts of a site's two keys that may leave it.

    Attributes:
        identity: the public identity key, which the study lists under [[hospitals]].
        identity_fingerprint, node_fingerprint: what people compare by telephone.
        node_public: the SuperNode's public key file, which the coordinator enrolls.
    """

    identity: str
    identity_fingerprint: str
    node_public: Path
    node_fingerprint: str


def create_site_keys(state: Path, node: Path) -> SiteKeys:
    """Create the identity key and the SuperNode's key of a site.

    Args:
        state: folder for the identity key, which only the agent's account can read.
        node: folder for the SuperNode's key; it never holds data.

    Raises:
        StudyError: a key exists already, or cannot be written.
    """
    with writing(node, remedy="choose another --node"):
        node.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = Identity.create(state / IDENTITY)
    create_node_key(node / NODE_KEY)
    public = node / f"{NODE_KEY}.pub"
    return SiteKeys(identity.public, fingerprint(identity.public), public, node_fingerprint(public))
