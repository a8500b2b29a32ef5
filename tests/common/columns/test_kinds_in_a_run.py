"""A table of all kinds of columns, from a study to a report and conditional rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from common.errors import StudyError
from common.model import load_model
from common.study.study import parse_study
from common.tables.checking import check_table
from common.tables.conforming import format_table, invented
from common.tables.formats import read_table
from simulations.federation.prepare import prepare
from simulations.federation.run import Options, simulate
from tests.testbeds.all_kinds import COLUMNS
from tests.testbeds.clinic import clinic_study


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = clinic_study(synthesizer={"fit_steps": 20}).model_dump(mode="json", by_alias=True, exclude_none=True)
    document["schema"]["columns"] = [*COLUMNS, {"name": "died", "kind": "boolean"}]
    document["evaluation"] = {"target": "died"}
    document["rules"] = [{"left": "crp", "relation": "<=", "right": "age"}]
    document["training"]["rounds"] = 0
    study = parse_study(tomli_w.dumps({section: keys for section, keys in document.items() if keys}))
    tables = {
        name: invented(study.table, 80, np.random.default_rng(seed)) for seed, name in enumerate(("north", "south"))
    }
    for raw in tables.values():
        raw.loc[:19, "crp"] = "ND"
        raw.loc[20:39, "age"] = "> 89"
    folder = tmp_path_factory.mktemp("run") / "out"
    simulate(prepare(study, tables), folder, Options(rows=200))
    return folder


@pytest.mark.slow
class TestRuns:
    def test_synthesize_all_kinds(self, out: Path) -> None:
        model = load_model(out / "model")
        synthetic = read_table(out / "synthetic.csv")
        assert tuple(synthetic.columns) == model.study.table.written_names
        assert check_table(synthetic, model.study.table, name="synthetic") == []
        assert {"ND", "> 89"} <= {*synthetic["crp"], *synthetic["age"]}
        assert synthetic["id"].is_unique

    def test_report_every_modeled_column(self, out: Path) -> None:
        columns = json.loads((out / "report.json").read_text())["columns"]
        schema = load_model(out / "model").study.table
        assert {column["name"] for column in columns} == set(schema.names)
        units = {column["name"]: column["unit"] for column in columns}
        assert (units["admitted"], units["left"]) == ("days since 1970-01-01", "days since admitted")

    def test_sample_with_an_item_of_a_set(self, out: Path) -> None:
        model = load_model(out / "model")
        drawn = format_table(model.sample(20, 0, given={"drugs: insulin": "yes"}), model.study.table)
        assert all("insulin" in cell or cell == "" for cell in drawn["drugs"])
        with pytest.raises(StudyError, match="part of a prefix"):
            model.sample(5, 0, given={"icd": "J45"})
