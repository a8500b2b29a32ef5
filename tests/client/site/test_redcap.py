"""From a German REDCap export to the table that a study reads, as docs/harmonize.md shows it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd

from client.site.mapping import MappingOptions, write_mapping
from common.harmonization.source import open_source
from common.study.study import read_study
from common.tables.checking import check_table
from common.tables.conforming import conform
from common.tables.parts import join
from simulations.federation.hospitals import hospitals_from_directory
from tests.testbeds.command_line import fedsynth, output_of
from tests.testbeds.redcap_export import write_raw_redcap, write_redcap

EDIT = ('from = "Station"\n', 'from = "Station"\nother = "other"\n')


def test_an_export_is_mapped_but_for_one_label(tmp_path: Path) -> None:
    study, table = write_redcap(tmp_path)
    out = tmp_path / "klinikum.toml"
    result = fedsynth("site", "map", study, "--data", table, "--out", out, "--patient-column", "Patienten-ID")
    assert result.exit_code == 0, output_of(result)
    assert "'Geriatrie' (25 rows)" in output_of(result)
    assert "5 of 12 columns need a check" in output_of(result)
    text = out.read_text(encoding="utf-8")
    assert EDIT[0] in text
    assert "# CHECK: is each column of the right answer?" in text
    out.write_text(text.replace(*EDIT), encoding="utf-8")

    study.rename(tmp_path.parent / "study-of-redcap.toml")
    agreed = read_study(tmp_path.parent / "study-of-redcap.toml")
    notices: list[str] = []
    raw = hospitals_from_directory(tmp_path, notices=notices)["klinikum"]
    assert notices == []
    assert check_table(raw, agreed.table, name="klinikum", patient_column="patient", target="died") == []
    assert raw["ward"].value_counts()["other"] == 25
    assert set(raw["comorbidities"]) <= {
        "; ".join(items) if items else "none"
        for items in ((), ("diabetes",), ("hypertension",), ("cancer",), ("diabetes", "hypertension"),
                      ("diabetes", "cancer"), ("hypertension", "cancer"), ("diabetes", "hypertension", "cancer"))
    }  # fmt: skip
    assert raw["creatinine"].replace("", "88").astype(float).between(20, 900).all()


def test_codes_of_a_raw_export_come_from_the_data_dictionary(tmp_path: Path) -> None:
    study, table, dictionary = write_raw_redcap(tmp_path)
    out = tmp_path / "rohdaten.toml"
    described = ("--dictionary", dictionary, "--patient-column", "patid")
    assert fedsynth("site", "map", study, "--data", table, "--out", out, *described).exit_code == 0
    recipes = tomllib.loads(out.read_text(encoding="utf-8"))["columns"]
    assert recipes["sex"]["labels"] == {"1": "female", "2": "male", "3": "other"}
    assert (recipes["smoking"]["labels"], recipes["smoking"]["missing"]) == (
        {"0": "never", "1": "former", "2": "current"},
        ["9"],  # "keine Angabe"
    )
    assert recipes["comorbidities"]["items"] == {
        "diabetes": "vorerk___1",
        "hypertension": "vorerk___2",
        "cancer": "vorerk___3",
    }
    assert (recipes["creatinine"]["unit"], recipes["age"]["from"]) == ("mg/dL", ["gebdat", "aufn_dat"])
    assert "Geriatrie" in out.read_text(encoding="utf-8")


def test_raw_codes_and_labels_give_the_same_table(tmp_path: Path) -> None:
    study, table, dictionary = write_raw_redcap(tmp_path)
    schema, tables = read_study(study).table, []
    for data, options in ((table, ("patid", dictionary)), (tmp_path / "klinikum.csv", ("Patienten-ID", None))):
        out = tmp_path / f"{data.stem}-map.toml"
        write_mapping(read_study(study), data, MappingOptions(out, patient_column=options[0], dictionary=options[1]))
        tables.append(conform(join(list(open_source(data, out).parts())), schema))
    pd.testing.assert_frame_equal(tables[0], tables[1])
