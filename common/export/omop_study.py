"""The mapping of a study for which nobody wrote one: columns of an OMOP study keep the concepts of their features."""

from __future__ import annotations

from common.export.mapping import ColumnMapping, Concept, Destination, ExportMapping
from common.omop.definitions import Feature
from common.study.study import Study

FACTS: dict[str, Destination] = {"sex": "gender", "race": "race", "ethnicity": "ethnicity", "age": "age"}
"""Where the fields of a person go; a year of birth is an observation."""


def default_mapping(study: Study) -> ExportMapping:
    """Return where the columns of a study without a mapping go: all are observations, but for the features of OMOP.

    The column of a feature keeps its concept and those of its labels, where that is one.

    Values of a measurement are measurements, and facts of a person go to the person. Everything else is an observation:
    a table does not say on which day of its window a condition or drug began. Several concepts of a feature or label
    are none: a cell does not say which of them it was.
    """
    features = () if study.extraction is None else study.extraction.features
    return ExportMapping(columns=tuple(_column(feature) for feature in features))


def _column(feature: Feature) -> ColumnMapping:
    to: Destination = "observation"
    if feature.domain == "person":
        to = FACTS.get(feature.field or "", to)
    elif feature.domain == "measurement" and feature.result in ("number", "labels"):
        to = "measurement"
    units = [int(unit) for unit, factor in feature.units.items() if factor == 1.0]
    return ColumnMapping(
        name=feature.name,
        to=to,
        concept=_only(feature.concepts),
        values={label: Concept(concept=_only(concepts)) for label, concepts in feature.values.items()},
        unit_concept=_only(tuple(units)),
    )


def _only(concepts: tuple[int, ...]) -> int:
    """Return the only concept, or 0, which is OMOP's for none."""
    return concepts[0] if len(concepts) == 1 else 0
