"""The layout of report.json as a JSON Schema, derived from the values that it is written from.

Run `python -m common.evaluation.report.json_schema > docs/report.schema.json` after a change.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter

from common.evaluation.assessment import REPORT_VERSION, Assessment
from common.evaluation.statistics.handling import HANDLING


def report_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of report.json: every object closed, every key required."""
    schema = TypeAdapter(Assessment).json_schema(mode="serialization")
    fixed = {"version": {"const": REPORT_VERSION}, "handling": {"const": HANDLING}}
    schema["properties"] = fixed | schema["properties"]
    # The document adds to every attack whether any of its findings is flagged.
    schema["$defs"]["AttackResult"]["properties"]["is_flagged"] = {"type": "boolean"}
    del schema["$defs"]["ImageEvidence"]["properties"]["sheet"]  # a picture of synthetic images, for the page alone
    for definition in (schema, *schema["$defs"].values()):
        if definition.get("type") == "object":
            definition |= {"additionalProperties": False, "required": list(definition["properties"])}
    schema["title"] = "report.json of fedsynth"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report_schema(), indent=1) + "\n")
