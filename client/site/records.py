"""What a hospital should know about its table under a study, before it agrees to a run."""

from __future__ import annotations

from client.site.config import Site
from client.site.images import image_notices
from client.site.imported import Imported, check_definitions, open_frozen
from client.site.state import load_identity
from common.errors import DataError
from common.harmonization.mapping import read_mapping
from common.study.study import Study
from common.tables.parts import join
from common.tables.roles import study_warnings, table_warnings
from common.tables.visits import check_records, patients_in

DECLARED_WITHIN = 0.1
"""Largest relative difference between the declared and the actual number of patients without a notice."""


def check_data(site: Site, study: Study) -> list[str]:
    """Return notices about the frozen table under this study. Their counts are exact: for the hospital only.

    Raises:
        SiteError: no table is imported, its file was changed since, or it was taken from a database by other
            definitions; or the mapping is not valid.
        DataError: the table does not fit the study's schema, or holds fewer patients than `min_rows`.
    """
    table = open_frozen(site)
    check_definitions(table.imported, study)
    raw = join(list(table.parts()))
    if study.has_visits and not site.visits:
        raise DataError(
            f"{site.name}: the study is of visits, and the import kept one row of each patient; set visits = true in "
            "site.toml and import again"
        )
    notices = check_records(raw, study, name=site.name, patient_column=site.patient_column)
    notices += [f"{site.name}: {notice}" for notice in _mapping_notices(site, table.imported, study)]
    notices += [f"{site.name}: {notice}" for notice in image_notices(site, table.imported, study, raw)]
    notices += [f"{site.name}: {warning}" for warning in study_warnings(study.declared, raw)]
    if site.unit == "record":
        notices.append(
            f"{site.name}: guarantees are about records; name patient_column, or one_row_per_patient, to make them "
            "about patients"
        )
    patients = patients_in(raw, study, site.patient_column)
    if patients < site.min_rows:
        raise DataError(
            f"{site.name}: the table has {patients} patients, below min_rows = {site.min_rows}; "
            "add patients or do not take part"
        )
    if abs(patients - site.declared_rows) > DECLARED_WITHIN * patients:
        notices.append(
            f"{site.name}: the table has {patients} patients and site.toml declares {site.declared_rows}; "
            "privacy is not affected, but noise and weights suit the table better when the two agree"
        )
    return notices + _agreement_notices(site, study)


def _agreement_notices(site: Site, study: Study) -> list[str]:
    """Return what the study says of this hospital otherwise than site.toml, so that its runs would be refused."""
    notices = []
    facts, identity = study.hospital(site.name), load_identity(site)
    is_needed = study.privacy.noise == "distributed" or (facts is not None and facts.identity is not None)
    if facts is not None and is_needed and (identity is None or facts.identity != identity.public):
        notices.append(
            f"{site.name}: the study lists another identity for this hospital, or none; its runs would be refused. "
            "Give the coordinator the identity that `fedsynth site init` printed"
        )
    if facts is None:
        notices.append(f"{site.name}: the study does not list this hospital; its runs would be refused")
    elif facts.declared_rows != site.declared_rows:
        notices.append(
            f"{site.name}: the study declares {facts.declared_rows} rows and site.toml {site.declared_rows}; "
            "its runs would be refused. Make them agree"
        )
    return notices


def _mapping_notices(site: Site, imported: Imported, study: Study) -> list[str]:
    """Return what the owner should know about the mapping: whether it was applied, and where it differs from the study.

    Args:
        site: the site.
        imported: description of the latest import.
        study: the study.
    """
    if site.mapping is None:
        applied = "it was imported with a mapping that site.toml no longer names; run `fedsynth site import --replace`"
        return [applied] if imported.mapping_sha256 else []
    mapping, digest = read_mapping(site.mapping)
    notices = mapping.notices(study.table)
    if digest != imported.mapping_sha256:
        notices.append(
            "the mapping was changed since the table was imported with it, or without one; "
            "run `fedsynth site import --replace` to apply it"
        )
    return [*notices, *imported.unread.splitlines()]


def warn_of_identifiers(site: Site) -> list[str]:
    """Return warnings about the first part of the frozen table: columns that identify people, or help to.

    Raises:
        SiteError: no table is imported, or its file was changed since.
    """
    part = next(iter(open_frozen(site).parts()))
    return table_warnings({name: cells.every() for name, cells in part.columns.items()}, site.patient_column)
