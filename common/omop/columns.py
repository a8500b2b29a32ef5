"""The columns of a table that features make: a study on OMOP databases declares features, and no `[[schema.columns]]`.

A feature says already what its column holds, so that a reader finds everything about a column in one place.
"""

from __future__ import annotations

from typing import Any

from common.omop.definitions import Extraction, Feature
from common.omop.domains import DAY, PERSON_ID

YES, NO = "yes", "no"
"""Labels of a feature with summary "any"."""


def schema_section(extraction: Extraction) -> dict[str, Any]:
    """Return the `[schema]` section of a study whose columns are features, as it would be written in the file."""
    columns = [column_settings(feature, extraction) for feature in extraction.features]
    visits = extraction.visits
    if visits is None:
        return {"columns": columns}
    low, high = visits.window
    day = {"kind": "numeric", "name": DAY, "lower": float(low), "upper": float(high), "unit": "days"}
    section: dict[str, Any] = {
        "columns": [day | {"description": "Day of the visit, from the index date"}, *columns],
        "patient": PERSON_ID,
        "time": DAY,
        "most_visits": visits.most_visits,
    }
    return section if visits.keep_visits is None else section | {"keep_visits": visits.keep_visits}


def column_settings(feature: Feature, extraction: Extraction) -> dict[str, Any]:
    """Return the settings of a feature's column, as in `[[schema.columns]]`.

    Args:
        feature: the feature.
        extraction: all of them, with the study cohort, whose ages are the default bounds of an age.
    """
    shared: dict[str, Any] = {"name": feature.name}
    if feature.description is not None:
        shared["description"] = feature.description
    if extraction.visits is not None and not feature.is_of_visit:
        shared["per"] = "patient"
    match feature.result:
        case "yes-no":
            return shared | {"kind": "categorical", "categories": [NO, YES]}
        case "labels":
            return shared | {"kind": "categorical", "categories": list(feature.values), "missing": True}
        case "count":
            return shared | _numbers(0, feature.upper)
        case "days":
            assert feature.window is not None, "checked by the feature"
            low, high = feature.window
            return shared | _numbers(low, max(high, low + 1)) | {"unit": "days", "missing": True}
        case "follow-up":
            assert feature.window is not None, "checked by the feature"
            return shared | _numbers(0, max(feature.window[1], 1)) | {"unit": "days"}
        case "number":
            return shared | _number_settings(feature, extraction)


def bounds(feature: Feature, extraction: Extraction) -> tuple[float, float]:
    """Return the bounds of a feature that is a number; an age has the study cohort's where it has none of its own.

    Args:
        feature: the feature.
        extraction: all of them.
    """
    low, high = extraction.study_cohort.age
    lower = float(low) if feature.lower is None else feature.lower
    upper = float(max(high, low + 1)) if feature.upper is None else feature.upper
    return lower, upper


def _number_settings(feature: Feature, extraction: Extraction) -> dict[str, Any]:
    settings = _numbers(*bounds(feature, extraction)) | {"decimals": feature.decimals or 0}
    if feature.domain != "person":
        settings["missing"] = True
    unit = "years" if feature.field == "age" and feature.unit is None else feature.unit
    return settings if unit is None else settings | {"unit": unit}


def _numbers(lower: float, upper: float | None) -> dict[str, Any]:
    assert upper is not None, "checked by the feature"
    return {"kind": "numeric", "lower": float(lower), "upper": float(upper)}
