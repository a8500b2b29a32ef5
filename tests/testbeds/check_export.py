"""Check exports against OMOP CDM 5.4 and FHIR: `python -m tests.testbeds.check_export FOLDER...` prints the errors."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from common.export.fhir import RESOURCES
from common.export.mapping import read_mapping
from tests.testbeds.omop_cdm import load_export


def check_omop(folder: Path, form: str) -> str:
    """Load an export into the model; any violation is an error of the database."""
    mapping = read_mapping(folder / "mapping.toml")
    concepts = {column.concept for column in mapping.columns} | {column.unit_concept for column in mapping.columns}
    concepts |= {value.concept for column in mapping.columns for value in column.values.values()}
    connection = load_export(folder, form, concepts)
    tables = json.loads((folder / "export.json").read_text())["counts"]
    for table, count in tables.items():
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,), table
    return f"{sum(tables.values()):,} rows loaded with 0 errors"


def check_fhir(folder: Path) -> str:
    """Validate every resource, and that each reference has its target."""
    from fhir.resources.R4B import get_fhir_model_class

    names, references, count = set(), set(), 0
    for kind in RESOURCES:
        model = get_fhir_model_class(kind)
        for line in (folder / f"{kind}.ndjson").open(encoding="utf-8"):
            resource = json.loads(line)
            model.model_validate(resource)
            assert resource["meta"]["security"][0]["code"] == "HTEST"
            names.add(f"{kind}/{resource['id']}")
            references |= {resource[key]["reference"] for key in ("subject", "encounter", "context") if key in resource}
            count += 1
    assert len(names) == count
    assert references <= names
    return f"{count:,} resources valid with 0 errors"


def main(folders: list[str]) -> None:
    """Check each folder and print what was found, with processor seconds."""
    for name in folders:
        started, folder = time.process_time(), Path(name)
        facts = json.loads((folder / "export.json").read_text())
        result = check_fhir(folder) if facts["to"] == "fhir" else check_omop(folder, facts["format"])
        print(f"{name}: {result} ({time.process_time() - started:.1f} s)")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
