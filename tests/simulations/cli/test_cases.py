"""Cases of `docs/cases.md` that need the whole way of a file: draft, check, and import at a site."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.site.config import read_site
from client.site.imported import FrozenTable
from common.study.study import read_study
from common.tables.conforming import conform, format_table
from common.tables.parts import join
from tests.testbeds.command_line import fedsynth, output_of

pytestmark = pytest.mark.usefixtures("quick_learners")

ROWS = 120


def patients(**columns: list[str]) -> pd.DataFrame:
    """Return a table of patients; columns are in the place of others."""
    rng = np.random.default_rng(7)
    table = {
        "age": [str(age) for age in rng.integers(18, 90, ROWS)],
        "sex": rng.choice(["F", "M"], ROWS).tolist(),
        "crp": [f"{value:.1f}" for value in rng.gamma(2, 20, ROWS)],
        "died": rng.choice(["no", "yes"], ROWS, p=[0.7, 0.3]).tolist(),
    }
    return pd.DataFrame(table | columns, dtype=object)


def marked(column: str, mark: str, every: int) -> Callable[[Path], Path]:
    """Return what writes a table in which every so many cells of a column hold a mark."""

    def write(folder: Path) -> Path:
        cells = patients()[column].tolist()
        cells[::every] = [mark] * len(cells[::every])
        patients(**{column: cells}).to_csv(folder / "t.csv", index=False)
        return folder / "t.csv"

    return write


def with_units(folder: Path) -> Path:
    patients(crp=[f"{cell} mg/L" for cell in patients()["crp"]]).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def line_breaks(folder: Path) -> Path:
    notes = ["pasted:\n" + "70,F,1.0,yes\n" * 40 if row == 3 else "fine\n" * (row % 2) for row in range(ROWS)]
    patients().assign(note=notes).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def line_break_in_header(folder: Path) -> Path:
    table = patients()
    table.insert(2, "CRP\n(high sensitivity)", table.pop("crp"))
    table.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def parts(folder: Path) -> Path:
    (folder / "t.parquet").mkdir()
    for number, start in enumerate(range(0, ROWS, 40)):
        patients().iloc[start : start + 40].to_parquet(folder / "t.parquet" / f"part-{number}.parquet")
    return folder / "t.parquet"


CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "02 line breaks in cells": (line_breaks, {"crp": {"kind": "numeric"}}),
    "02 line break in the header": (line_break_in_header, {"age": {"kind": "numeric"}}),
    "06 ages over 89": (marked("age", "> 89", 9), {"age": {"kind": "numeric", "above": "> 89"}}),
    "06 below detection": (marked("crp", "<0.6", 7), {"crp": {"kind": "numeric", "below": "<0.6"}}),
    "06 a dot for missing": (marked("crp", ".", 11), {"crp": {"kind": "numeric", "missing_codes": (".",)}}),
    "06 not done": (marked("crp", "ND", 11), {"crp": {"kind": "numeric", "missing_codes": ("ND",)}}),
    "06 units in cells": (with_units, {"crp": {"kind": "numeric", "unit": "mg/L"}}),
    "21 folder of Parquet parts": (parts, {"crp": {"kind": "numeric"}}),
}
"""What writes the table, and what a draft has to declare."""


def ran(*arguments: object, code: int = 0) -> str:
    result = fedsynth(*arguments)
    assert result.exit_code == code, output_of(result)
    return output_of(result)


@pytest.mark.parametrize("name", CASES)
def test_a_case_goes_from_the_file_to_a_frozen_table(name: str, tmp_path: Path) -> None:
    write, declared = CASES[name]
    table, study, site = write(tmp_path), tmp_path / "s.toml", tmp_path / "site"
    ran("study", "draft", table, "--target", "died", "--out", study)
    assert "fits the schema" in ran("study", "check", study, "--data", table)
    columns = {column.name: column for column in read_study(study).table.columns}
    for column, settings in declared.items():
        assert {key: getattr(columns[column], key) for key in settings} == settings
    ran("site", "init", site, "--name", "north", "--data", table, "--declared-rows", ROWS, "--max-epsilon", 5)
    ran("site", "import", "--site", site)
    frozen = join(list(FrozenTable(read_site(site / "site.toml")).parts()))
    assert len(frozen) == ROWS
    assert frozen["died"].tolist() == patients()["died"].tolist()
    schema = read_study(study).table
    again = format_table(conform(frozen, schema), schema)  # what a synthetic table can hold
    for column, settings in declared.items():
        for text in (settings.get("above"), settings.get("below"), *settings.get("missing_codes", ())):
            assert text is None or text in set(again[column])


@pytest.mark.slow
def test_texts_of_cases_are_synthesized_as_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    labels = {
        "zip": ["01002", "02139", "10001"],
        "icd9": ["038.9", "250", "250.0", "250.00"],
        "snomed": ["450229981000132101", "450229981000132104", "733031000000104112"],
        "alcohol": ["Heavy", "Moderate", "None"],
    }
    ages, crp = (patients()[name].tolist() for name in ("age", "crp"))
    ages[::6], crp[::6], crp[1::12] = (["> 89"] * 20, ["<0.6"] * 20, ["ND"] * 10)
    amounts = {"mol": [f"{value:.7f}" for value in rng.uniform(1e-6, 1e-5, ROWS)]}
    days = {"admitted": [f"2023{month:02d}{day:02d}" for month, day in rng.integers(1, 13, (ROWS, 2))]}
    drawn = {name: rng.choice(texts, ROWS).tolist() for name, texts in labels.items()}
    patients(age=ages, crp=crp, **drawn, **amounts, **days).to_csv(tmp_path / "t.csv", index=False)
    study, out = tmp_path / "s.toml", tmp_path / "out"
    ran("study", "draft", tmp_path / "t.csv", "--target", "died", "--out", study)
    quick = study.read_text().replace("fit_steps = 200", "fit_steps = 5\nchains = 64")
    # So little noise that the 20 patients of a text are seen whatever it is.
    study.write_text(re.sub(r"(?m)^epsilon = .*", "epsilon = 50.0\nallow_large_epsilon = true", quick))
    ran("simulate", "--study", study, "--data", tmp_path / "t.csv", "--hospitals", 2, "--out", out, "--no-report")
    rows = pd.read_csv(out / "synthetic.csv", dtype=str, keep_default_na=False)
    for name, texts in labels.items():
        assert set(rows[name]) == set(texts), name
    assert "> 89" in set(rows["age"])
    assert rows.loc[rows["age"] != "> 89", "age"].astype(int).between(0, 89).all()
    assert "<0.6" in set(rows["crp"])
    assert rows.loc[~rows["crp"].isin(["<0.6", "ND", ""]), "crp"].astype(float).between(0.5, 1000).all()
    assert rows["mol"].astype(float).between(5e-7, 2e-5).all()
    assert rows["admitted"].str.fullmatch(r"2023(0[1-9]|1[0-2])\d\d").all()
