"""Folders of several synthetic tables of one run, which `sample --datasets` writes and `combine` reads."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.columns.cells import number_of
from common.errors import DataError, StudyError
from common.inference.combining import Pooled, pool
from common.inference.estimands import Estimand
from common.planning.phases import PublicRun, measurements_of
from common.release import IMAGES, digest_of_images, draw_images, sha256_of, written_table
from common.seeds import seed_for
from common.study.rules import repair
from common.study.schema import Schema
from common.study.study import read_study
from common.system.files import writing
from common.system.folder import RunFolder
from common.tables.conforming import conform
from common.tables.formats import read_table
from common.tables.image_files import read_images
from common.tables.writing import WRITERS

DATASETS, STUDY = "datasets.json", "study.toml"
"""Files beside the tables: which they are, and the study with their columns."""

FILES = "files"
"""Key in `datasets.json`: the SHA-256 (hex) of every table, by file name, and of each table's images, by folder."""

COLUMNS = ("estimand", "estimate", "variance")
"""Columns of a file of estimates, one line for each estimand of each table."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What a folder of tables says of itself.

    Attributes:
        fingerprint: of the study.
        datasets: number of tables.
        rows: of each.
        patients: about how many the run counted, by its noisy sums.
        seed: of the draws.
    """

    fingerprint: str
    datasets: int
    rows: int
    patients: int
    seed: int

    def __post_init__(self) -> None:
        numbers = (self.datasets, self.rows, self.patients, self.seed)
        if any(type(number) is not int for number in numbers) or min(self.datasets, self.rows) < 1:
            raise ValueError("datasets, rows, patients and seed are whole numbers, the first two at least 1")


def write_datasets(public: PublicRun, facts: DatasetFacts, out: Path) -> Iterator[Path]:
    """Draw tables, write each as CSV, and yield their paths; `datasets.json` comes last, when all are whole.

    Images of a table are drawn from the released model of images, in a folder of their own: tables differ in their
    rows' classes and scores, and not in that model.

    Args:
        public: the run.
        facts: how many tables of how many rows.
        out: folder, created if it does not exist.

    Raises:
        StudyError: the run counted no tables, rows are visits, or the folder has tables already.
    """
    if public.study.has_visits:
        raise StudyError(
            f"rows of study {public.study.name} are visits, several of a patient; --datasets and `combine` need one "
            "row for each patient, since textbook variances take rows as independent: leave --datasets out"
        )
    from common.synthesizers.maximum_entropy.posterior import PosteriorSettings, posterior_codes  # torch

    measurements = measurements_of(public)
    if measurements is None:
        raise StudyError(
            "--datasets needs a run that counted tables of columns; this one counted none; leave --datasets out"
        )
    with writing(out):
        folder = RunFolder(out)
        folder.write(STUDY, public.study.to_toml())
        settings = PosteriorSettings(facts.datasets, facts.rows, facts.seed)
        digests = {}
        for number, codes in enumerate(posterior_codes(measurements, settings), start=1):
            rng = np.random.default_rng(seed_for(facts.seed, "datasets", number))
            frame = public.encoder.redrawn(rng).decode(codes, rng)
            frame = repair(frame, public.study.rules, public.study.table)
            images = draw_images(public, frame, seed_for(facts.seed, number), folder=_images(number))
            for path, image in images.files().items() if images else ():
                folder.write(path, image)
            content = WRITERS["csv"](written_table(public, frame, images), public.study.table)
            table = folder.write(_name(number), content)
            digests[table.name] = sha256_of(table)
            if public.study.images:
                digests[_images(number)] = digest_of_images(out, _images(number))
            yield table
        folder.write_json(DATASETS, asdict(facts) | {FILES: digests})


def facts_of(public: PublicRun, datasets: int, rows: int, seed: int) -> DatasetFacts:
    """Return the facts of tables to draw.

    Args:
        public: the run.
        datasets: number of tables.
        rows: of each.
        seed: of the draws.
    """
    measurements = measurements_of(public)
    patients = 0 if measurements is None else round(measurements.total)
    return DatasetFacts(public.study.fingerprint, datasets, rows, patients, seed)


def read_datasets(folder: Path) -> tuple[DatasetFacts, Schema, Iterator[pd.DataFrame]]:
    """Return the facts of a folder of tables, their columns, and the tables.

    Raises:
        StudyError: the folder is another one or incomplete, `datasets.json` is damaged or of another study, or a table
            or its images were changed after they were drawn: intervals depend on the number of rows. A change is found
            when the table is read.
    """
    record = RunFolder(folder).read_json(DATASETS) if folder.is_dir() else None
    if not isinstance(record, dict) or set(record) != {*DatasetFacts.__dataclass_fields__, FILES}:
        raise StudyError(f"'{folder}' is no folder of `fedsynth sample --datasets`, or one that was not finished")
    study, digests = read_study(folder / STUDY), record.pop(FILES)
    try:
        facts = DatasetFacts(**record)
    except ValueError as problem:
        raise StudyError(f"{DATASETS} in '{folder}' is damaged ({problem}); draw the tables again") from None
    if facts.fingerprint != study.fingerprint:
        raise StudyError(f"{DATASETS} and {STUDY} in '{folder}' are of different studies; draw the tables again")
    entries = (_name, _images) if study.images else (_name,)
    is_as_many = isinstance(digests, dict) and len(digests) == len(entries) * facts.datasets  # before names are made
    if not is_as_many or set(digests) != {entry(number + 1) for number in range(facts.datasets) for entry in entries}:
        raise StudyError(f"{DATASETS} in '{folder}' does not list {facts.datasets} tables; draw them again")

    def tables() -> Iterator[pd.DataFrame]:
        for number in range(1, facts.datasets + 1):
            path = folder / _name(number)
            if not path.is_file() or sha256_of(path) != digests[path.name]:
                raise StudyError(f"'{path}' is missing, or was changed after it was drawn; draw the tables again")
            if study.images and digest_of_images(folder, _images(number)) != digests[_images(number)]:
                raise StudyError(
                    f"images in '{folder / _images(number)}' are missing, or were changed after they were drawn; draw "
                    "the tables again"
                )
            raw = read_images(read_table(path), study.images, folder, path.name)
            if len(raw) != facts.rows:
                raise StudyError(f"'{path}' does not have as many rows as {DATASETS} names; draw the tables again")
            yield conform(raw, study.table)

    return facts, study.table, tables()


def pool_tables(estimands: Sequence[Estimand], facts: DatasetFacts, tables: Iterator[pd.DataFrame]) -> list[Pooled]:
    """Return the pooled estimates of built-in estimands.

    Args:
        estimands: what to estimate.
        facts: of the folder.
        tables: its tables.
    """
    estimates = [[estimand.estimate(table) for estimand in estimands] for table in tables]
    ratio = facts.rows / max(facts.patients, 1)
    columns = zip(estimands, zip(*estimates, strict=True), strict=True)
    return [pool(str(estimand), [q for q, _ in of], [v for _, v in of], ratio) for estimand, of in columns]


def pool_file(path: Path) -> list[Pooled]:
    """Return the pooled estimates of a CSV file with a line for each estimand of each table.

    Raises:
        DataError: the file cannot be read, lacks a column, or holds something else than numbers.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"cannot read '{path}'; name a CSV file with the columns {', '.join(COLUMNS)}") from None
    if not lines or not set(COLUMNS) <= set(lines[0]):
        raise DataError(f"'{path}' lacks a column of {', '.join(COLUMNS)}, or has no line; add them")
    estimates: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        estimates[line["estimand"]].append((number_of(line["estimate"] or ""), number_of(line["variance"] or "")))
    return [pool(name, [q for q, _ in of], [v for _, v in of]) for name, of in estimates.items()]


def _name(number: int) -> str:
    return f"dataset-{number:03d}.csv"


def _images(number: int) -> str:
    """Return the folder of a table's images, from the folder of the tables."""
    return f"{IMAGES}/{number:03d}"
