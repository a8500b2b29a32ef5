"""Flattening: a patient's visits side by side in one row, for synthesizers of flat tables.

Column "x #2" of the wide table is column x at the second visit; it is missing for patients with one visit.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import tomli_w

from common.columns.cells import number_of
from common.study.schema import SINCE_LAST_VISIT, VISIT, VISITS, VisitsSchema
from common.study.study import Study, parse_study


def wide_study(study: Study) -> Study:
    """Return the study of the wide table: columns of the patient, then those of every visit.

    The target becomes that of the first visit, where it is of the visit. Rules about visits are left out.
    """
    schema = study.visits_table
    document = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    for section in ("rules", "courses"):
        document.pop(section, None)
    columns = list[dict[str, Any]]()
    for number in range(schema.visits_in_full + 1):
        for column in schema.columns:
            settings = column.model_dump(mode="json", by_alias=True, exclude_none=True)
            settings.pop("per", None)
            if number == 0 and column.per == "patient":
                columns.append(settings)
            elif number > 0 and column.name in _visit_columns(schema, number):
                missing = {"missing": True} if number > 1 else {}
                columns.append(settings | {"name": wide_name(column.name, number)} | missing)
    document["schema"] = {"columns": columns}
    target = study.evaluation.target
    if target in _visit_columns(schema, 1):
        document["evaluation"]["target"] = wide_name(target, 1)
    return parse_study(tomli_w.dumps(document), source="the flattened study")


def wide_name(name: str, number: int) -> str:
    """Return the name of a visit's column in the wide table."""
    return f"{name} #{number}"


def _visit_columns(schema: VisitsSchema, number: int) -> list[str]:
    """Return the columns of a visit that the wide table has; no time has passed before the first."""
    left_out = (VISIT, SINCE_LAST_VISIT) if number == 1 else (VISIT,)
    return [column.name for column in schema.columns if column.per == "visit" and column.name not in left_out]


def flatten(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return one row per patient.

    Args:
        rows: raw cells as `common.tables.visits.visit_rows` returns them.
        study: the study of visits.
    """
    schema = study.visits_table
    patients = rows[study.declared.patient].to_numpy()
    static = [column.name for column in schema.columns if column.per == "patient"]
    parts = [rows[rows[VISIT] == "1"][static].set_axis(patients[rows[VISIT] == "1"], axis=0)]
    for number in range(1, schema.visits_in_full + 1):
        is_visit = (rows[VISIT] == str(number)).to_numpy()
        names = _visit_columns(schema, number)
        part = rows.loc[is_visit, names].set_axis(patients[is_visit], axis=0)
        parts.append(part.rename(columns={name: wide_name(name, number) for name in names}))
    return pd.concat(parts, axis=1).fillna("").reset_index(drop=True)


def unflatten(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the visits of a wide table, as `common.tables.visits.visit_rows` returns them.

    A row has as many visits as its column `visits` says; what is missing in these stays missing.

    Args:
        table: raw cells of a wide table.
        study: the study of visits.
    """
    schema = study.visits_table
    static = [column.name for column in schema.columns if column.per == "patient"]
    lengths = pd.Series([number_of(cell) for cell in table[VISITS]], table.index).fillna(1).astype(int)
    parts = list[pd.DataFrame]()
    for number in range(1, schema.visits_in_full + 1):
        held = table[lengths >= number]
        names = _visit_columns(schema, number)
        part = held[[*static, *(wide_name(name, number) for name in names)]]
        part = part.rename(columns={wide_name(name, number): name for name in names})
        part[VISIT] = str(number)
        part[study.declared.patient] = held.index.astype(str)
        part["row"] = held.index
        parts.append(part)
    visits = pd.concat(parts).sort_values("row", kind="stable").drop(columns="row")
    columns = [study.declared.patient, *(column.name for column in schema.columns)]
    return visits.reindex(columns=columns).fillna("").reset_index(drop=True)
