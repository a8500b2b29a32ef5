"""The table as a dataset of a catalog: HealthDCAT-AP in Turtle.

Source: HealthDCAT-AP, the extension of DCAT-AP 3 for the European Health Data Space; W3C DCAT 3, CSVW and Turtle 1.1.
"""

from __future__ import annotations

import json

from common.columns.base import TableColumn
from common.columns.date import Date
from common.columns.questions import plain_numbers
from common.dossier.card import highest_epsilon, trust
from common.dossier.facts import RunFacts, TableFile, address, table_files

PREFIXES = """\
@prefix csvw: <http://www.w3.org/ns/csvw#> .
@prefix dcat: <http://www.w3.org/ns/dcat#> .
@prefix dct: <http://purl.org/dc/terms/> .
@prefix healthdcatap: <http://healthdataportal.eu/ns/health#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""

EU = "http://publications.europa.eu/resource/authority"
"""Authority tables of the EU Publications Office."""

CSV = "http://www.iana.org/assignments/media-types/text/csv"

LEFT_TO_HOLDER = (
    "dct:accessRights",
    "dct:publisher",
    "dcat:contactPoint",
    "dcatap:applicableLegislation",
    "healthdcatap:hdab",
    "healthdcatap:healthCategory",
    "dpv:hasLegalBasis",
    "dpv:hasPurpose",
)
"""Properties that only the data holder knows; those of `dcatap:applicableLegislation` also in each distribution."""


def turtle(facts: RunFacts, base: str = ".") -> str:
    """Return the description of the synthetic table; what only its holder knows is left out, and a comment says so.

    Args:
        facts: of a finished run.
        base: the run's folder, as seen from the file.
    """
    study, tables = facts.study, table_files(facts.folder)
    kind = "simulated" if facts.is_simulation else "synthetic"
    description = (
        f"Synthetic rows in the columns of study {study.name}, made by {len(study.hospitals)} hospitals. "
        f"{study.about.description or ''}".strip()
    )
    noise = (
        "no noise was added"
        if study.privacy.noise == "none"
        else f"epsilon {highest_epsilon(facts):.3f} at delta {study.privacy.delta:g} for each {study.privacy.unit}"
    )
    provenance = f"Drawn from a model of noisy counts: {noise}. {trust(study)}"
    keywords = ", ".join(map(_text, ("synthetic data", "differential privacy", study.name)))
    lines = [
        PREFIXES,
        f"<urn:fedsynth:run:{facts.record['run_id']}>",
        "    a dcat:Dataset ;",
        f"    dct:title {_text(f'{study.name}: {kind} rows')} ;",
        f"    dct:description {_text(description)} ;",
        f"    dct:identifier {_plain(facts.plan.digest)} ;",
        f"    dct:type <{EU}/dataset-type/SYNTHETIC_DATA> ;",
        f"    dct:provenance [ a dct:ProvenanceStatement ; rdfs:label {_text(provenance)} ] ;",
        f"    dcat:theme <{EU}/data-theme/HEAL> ;",
        f"    dcat:keyword {keywords} ;",
        *_records(facts, tables),
        *(_distribution(table, base) for table in tables),
        f"    healthdcatap:hasStructuredData {'true' if tables else 'false'} .",
        "",
        f'<{EU}/dataset-type/SYNTHETIC_DATA> a skos:Concept ; skos:prefLabel "Synthetic data"@en .',
        f'<{EU}/data-theme/HEAL> a skos:Concept ; skos:prefLabel "Health"@en .',
        f"<{EU}/file-type/CSV> a dct:MediaTypeOrExtent .",
        f"<{CSV}> a dct:MediaType .",
        "",
        f"# Left to the data holder: {', '.join(LEFT_TO_HOLDER)}.",
        "",
    ]
    return "\n".join(lines)


def _records(facts: RunFacts, tables: tuple[TableFile, ...]) -> list[str]:
    """Return the number of rows and the description of every column; nothing where no table is in the folder."""
    if not tables:
        return []
    columns = {column.name: column for column in facts.study.declared.columns}
    described = " , ".join(_table(table, columns) for table in tables)
    return [
        f'    healthdcatap:numberOfRecords "{tables[0].rows}"^^xsd:nonNegativeInteger ;',
        "    healthdcatap:hasVariables [ a csvw:TableGroup ;",
        f"        dct:title {_text(f'Columns of {facts.study.name}')} ;",
        f"        csvw:table {described} ] ;",
    ]


def _table(table: TableFile, columns: dict[str, TableColumn]) -> str:
    described = " ,\n            ".join(_column(name, columns.get(name)) for name in table.columns)
    return f"[ a csvw:Table ; dct:title {_text(table.name)} ; csvw:column\n            {described} ]"


def _column(name: str, column: TableColumn | None) -> str:
    """Return a column of a table; None is one that visits are given."""
    about = (
        "number of the visit or patient, or of visits"
        if column is None
        else column.description or f"a column of kind {column.kind}"
    )
    return (
        f"[ a csvw:Column ; csvw:name {_plain(name)} ; csvw:title {_text(name)} ; "
        f'csvw:datatype "{_datatype(column)}" ; dct:description {_text(about)} ]'
    )


def _datatype(column: TableColumn | None) -> str:
    """Return the type of CSVW that all cells of a column have."""
    if column is not None and (plain := plain_numbers(column)) is not None and not plain.decimal:
        return "decimal" if plain.decimals else "integer"
    if isinstance(column, Date) and column.date_format == "%Y-%m-%d":
        return "date"
    return "integer" if column is None else "string"


def _distribution(table: TableFile, base: str) -> str:
    return (
        f"    dcat:distribution [ a dcat:Distribution ; dct:title {_text(table.name)} ;\n"
        f"        dcat:accessURL <{address(base, table.name)}> ; dct:format <{EU}/file-type/CSV> ;\n"
        f"        dcat:mediaType <{CSV}> ] ;"
    )


def _text(text: str) -> str:
    """Return a text as a Turtle literal in English; its escapes are those of JSON."""
    return f"{_plain(text)}@en"


def _plain(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
