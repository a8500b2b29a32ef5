"""The table as a dataset of a catalog: HealthDCAT-AP in Turtle.

Source: HealthDCAT-AP, the extension of DCAT-AP 3 for the European Health Data Space; W3C DCAT 3 and Turtle 1.1.
"""

from __future__ import annotations

import json

from common.dossier.card import highest_epsilon, trust
from common.dossier.facts import RunFacts

PREFIXES = """\
@prefix dcat: <http://www.w3.org/ns/dcat#> .
@prefix dct: <http://purl.org/dc/terms/> .
@prefix dpv: <https://w3id.org/dpv#> .
@prefix healthdcatap: <http://healthdataportal.eu/ns/health#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""


def turtle(facts: RunFacts) -> str:
    """Return the description of the synthetic table; what only its holder knows is left out, and a comment says so."""
    study = facts.study
    kind = "simulated" if facts.is_simulation else "synthetic"
    description = (
        f"Synthetic rows in the columns of study {study.name}, made by {len(study.hospitals)} hospitals. "
        f"{study.about.description or ''}".strip()
    )
    provenance = (
        f"Drawn from a model of noisy counts: epsilon {highest_epsilon(facts):.3f} at delta {study.privacy.delta:g} "
        f"for each {study.privacy.unit}. {trust(study)}"
    )
    lines = [
        PREFIXES,
        f"<urn:fedsynth:run:{facts.record['run_id']}>",
        "    a dcat:Dataset ;",
        f"    dct:title {_text(f'{study.name}: {kind} rows')} ;",
        f"    dct:description {_text(description)} ;",
        f"    dct:identifier {_text(facts.plan.digest)} ;",
        f"    dct:provenance [ a dct:ProvenanceStatement ; dct:description {_text(provenance)} ] ;",
        f"    dcat:keyword {', '.join(map(_text, ('synthetic data', 'differential privacy', study.name)))} ;",
        f"    healthdcatap:numberOfRecords {sum(h.declared_rows for h in study.hospitals)} ;",
        "    dcat:distribution [ a dcat:Distribution ;",
        '        dct:format "text/csv" ; dct:title "synthetic.csv"@en ] .',
        "",
        "# Left to the data holder: dct:publisher, dcat:contactPoint, dct:accessRights, healthdcatap:healthCategory,",
        "# healthdcatap:hdab, dpv:hasLegalBasis, dpv:hasPurpose.",
        "",
    ]
    return "\n".join(lines)


def _text(text: str) -> str:
    """Return a text as a Turtle literal; its escapes are those of JSON."""
    return f"{json.dumps(text, ensure_ascii=False)}@en"
