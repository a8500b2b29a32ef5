from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from common.columns.categorical import Categorical
from common.columns.numeric import Numeric
from common.evaluation.assessment import assess
from common.evaluation.attacks.catalog import ATTACKS
from common.evaluation.attacks.images import IMAGE_ATTACKS
from common.evaluation.images.evidence import ImageEvidence
from common.evaluation.report.html import render
from common.evaluation.report.json_schema import report_schema
from common.evaluation.statistics.data import EvaluationData
from common.study.schema import Schema
from tests.common.evaluation.report.test_html import patients
from tests.testbeds.images import compared_images

DOCS = Path(__file__).parents[4] / "docs"

SCHEMA = Schema(
    columns=(
        Numeric(name="<script>alert('age')</script>", lower=0, upper=1000, missing=True),
        Categorical(name="sex", categories=("female", "</script><b>male</b>")),
        Categorical(name="ill", categories=("no", "yes"), missing=True),
        Numeric(name="score", lower=0, upper=3),
    )
)

KINDS = {"string": str, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def faults(value: Any, part: dict[str, Any], whole: dict[str, Any], place: str = "$") -> list[str]:
    """Where a document breaks a JSON Schema made of the words that ours uses; an unknown word is a fault too."""
    known = {"$ref", "anyOf", "type", "const", "enum", "properties", "required", "additionalProperties", "items"}
    known |= {"prefixItems", "minItems", "maxItems", "title", "description", "default", "$schema", "$defs"}
    found = [f"{place}: unknown word {word}" for word in set(part) - known]
    if "$ref" in part:
        return found + faults(value, whole["$defs"][part["$ref"].rpartition("/")[2]], whole, place)
    if "anyOf" in part and all(faults(value, choice, whole, place) for choice in part["anyOf"]):
        found.append(f"{place}: none of the choices")
    if "const" in part and value != part["const"]:
        found.append(f"{place}: not {part['const']}")
    if "enum" in part and value not in part["enum"]:
        found.append(f"{place}: not one of {part['enum']}")
    kind = part.get("type")
    if kind in ("number", "integer"):
        is_right = isinstance(value, int if kind == "integer" else int | float) and not isinstance(value, bool)
    else:
        is_right = kind is None or isinstance(value, KINDS[kind])
    if not is_right:
        return [*found, f"{place}: not of type {kind}"]
    if isinstance(value, dict):
        properties, others = part.get("properties", {}), part.get("additionalProperties", True)
        found += [f"{place}: lacks {name}" for name in part.get("required", []) if name not in value]
        for name, item in value.items():
            if name not in properties and others is False:
                found.append(f"{place}: unknown key {name}")
            elif name in properties or isinstance(others, dict):
                found += faults(item, properties.get(name, others), whole, f"{place}.{name}")
    if isinstance(value, list):
        fixed = part.get("prefixItems", [])
        if not part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value)):
            found.append(f"{place}: {len(value)} items")
        for number, item in enumerate(value):
            kind_of_item = fixed[number] if number < len(fixed) else part.get("items", {})
            found += faults(item, kind_of_item, whole, f"{place}[{number}]")
    return found


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads((DOCS / "report.schema.json").read_text()) == report_schema()


def test_a_report_keeps_to_its_schema_and_a_changed_one_does_not() -> None:
    schema = json.loads((DOCS / "report.schema.json").read_text())
    train, holdout, made = patients(120, 0), patients(60, 1), patients(100, 2)
    asked = {"sensitive": ("sex",), "epsilon": 3.0, "delta": 1e-5, "images": compared_images(), "is_one_hospital": True}
    whole = assess(EvaluationData(train, holdout, made, SCHEMA, "ill", **asked))  # type: ignore[arg-type]
    document = json.loads(whole.to_json())
    assert faults(document, schema, schema) == []
    assert set(document["images"]) == {field.name for field in fields(ImageEvidence)} - {"sheet"}
    assert [attack["name"] for attack in document["privacy"]["attacks"]] == [*ATTACKS, *IMAGE_ATTACKS]
    page = render(whole, None, title="films")
    assert "Does taking part help a hospital?" in page
    assert "from held-out images to training images (control)" in page
    assert all(attack.title in page for attack in IMAGE_ATTACKS.values())
    assert document["fairness"]["columns"][0]["column"] == "sex"
    document["surplus"] = 1
    document["measures"]["tvd1"]["estimate"]["value"] = "small"
    del document["privacy"]["attacks"][0]["is_flagged"]
    assert len(faults(document, schema, schema)) == 3


@pytest.mark.parametrize("holdout", [0, 30])
def test_a_report_of_few_patients_keeps_to_its_schema(holdout: int) -> None:
    schema = report_schema()
    data = EvaluationData(patients(19, 0), patients(40, 1).head(holdout), patients(30, 2), SCHEMA, "ill")
    found = assess(data)
    assert faults(json.loads(found.to_json()), schema, schema) == []
    assert found.privacy.attacks == ()
    assert (found.prediction is None) == (holdout == 0)
