"""Rows of a synthetic table as rows of OMOP tables: persons, their observation, visits, and the facts of visits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from common.arrays import Integers
from common.errors import DataError
from common.export.entries import MappedColumn, mapped_columns, person_labels
from common.export.mapping import PERSON_LABELS, VISIT_KINDS, ExportMapping
from common.export.moments import Moments, day_of, moments_of
from common.export.omop_facts import facts_of, shortened
from common.export.omop_tables import CDM_VERSION, EVENTS, NAME, STANDARD_ALGORITHM, TEXT
from common.export.provenance import Provenance
from common.export.rows import Rows
from common.study.schema import Schema

Frames = dict[str, pd.DataFrame]
"""Rows by the table of OMOP; every table of `TABLES` whose rows there are, with columns that are not empty."""


@dataclass(frozen=True)
class OmopWriter:
    """Turns chunks of rows into rows of OMOP tables. It counts rows, so that keys continue from chunk to chunk.

    Attributes:
        declared: the study's columns.
        mapping: where they go.
    """

    declared: Schema
    mapping: ExportMapping
    _written: dict[str, int] = field(default_factory=dict)

    def frames(self, rows: Rows) -> Frames:
        """Return the next rows of every table. Raises `DataError` for a table that the study does not declare."""
        moments = moments_of(rows, self.declared, self.mapping)
        days = _days(moments.starts)
        has_times = any(isinstance(moment, datetime) for moment in moments.starts)
        times = np.array(moments.starts, dtype="datetime64[s]") if has_times else None
        visits = self._next("visit_occurrence", len(rows))
        frames = {
            "person": self._persons(rows, moments),
            "observation_period": self._periods(rows, moments),
            "visit_occurrence": self._visits(rows, moments, visits),
        }
        for domain, frame in self._events(rows).items():
            index, events = frame.pop("row").to_numpy(), EVENTS[domain]
            frame[events.key] = self._next(events.table, len(frame))
            frame["person_id"] = rows.persons[index]
            frame["visit_occurrence_id"] = visits[index]
            frame[events.date] = days[index]
            frame[f"{domain}_type_concept_id"] = STANDARD_ALGORITHM
            if times is not None:
                frame[f"{events.date}time"] = times[index]
            if domain == "drug":
                frame["drug_exposure_end_date"] = days[index]
            frames[events.table] = frame
        return frames

    @cached_property
    def _columns(self) -> tuple[MappedColumn, ...]:
        return mapped_columns(self.declared, self.mapping)

    def _next(self, table: str, count: int) -> Integers:
        """Return the keys of the next rows of a table."""
        before = self._written.get(table, 0)
        self._written[table] = before + count
        return np.arange(before + 1, before + count + 1)

    def _persons(self, rows: Rows, moments: Moments) -> pd.DataFrame:
        first = rows.firsts
        if any(len(name) > TEXT for name in rows.names[first]):
            raise DataError(
                f"column '{self.declared.patient}': a patient has a name of more than {TEXT} characters; number the "
                "patients"
            )
        births = [moments.birth_dates[index] for index in first]
        frame = {
            "person_id": rows.persons[first],
            "year_of_birth": [moments.birth_years[index] or self.mapping.unknown_birth_year for index in first],
            "month_of_birth": pd.array([None if day is None else day.month for day in births], dtype="Int64"),
            "day_of_birth": pd.array([None if day is None else day.day for day in births], dtype="Int64"),
            "person_source_value": rows.names[first],
        }
        for fact in PERSON_LABELS:
            texts, frame[f"{fact}_concept_id"] = person_labels(rows, self.mapping, fact)
            frame[f"{fact}_source_value"] = np.array([shortened(text) or None for text in texts], dtype=object)
        return pd.DataFrame(frame)

    def _periods(self, rows: Rows, moments: Moments) -> pd.DataFrame:
        first = rows.firsts
        ends, starts = _days(moments.ends), _days([moments.starts[index] for index in first])
        return pd.DataFrame(
            {
                "observation_period_id": rows.persons[first],
                "person_id": rows.persons[first],
                "observation_period_start_date": starts,
                "observation_period_end_date": np.maximum.reduceat(ends, first),
                "period_type_concept_id": STANDARD_ALGORITHM,
            }
        )

    def _visits(self, rows: Rows, moments: Moments, keys: Integers) -> pd.DataFrame:
        name = self.mapping.starts_of(self.declared)
        texts = [None] * len(rows) if name is None else [shortened(text) or None for text in rows.cells[name]]
        frame: dict[str, Any] = {
            "visit_occurrence_id": keys,
            "person_id": rows.persons,
            "visit_concept_id": VISIT_KINDS[self.mapping.visit][0],
            "visit_type_concept_id": STANDARD_ALGORITHM,
            "visit_source_value": np.array(texts, dtype=object),
            "preceding_visit_occurrence_id": pd.array(
                [key - 1 if visit > 1 else None for key, visit in zip(keys, rows.visits, strict=True)], dtype="Int64"
            ),
        }
        for end, values in (("start", moments.starts), ("end", moments.ends)):
            frame[f"visit_{end}_date"] = _days(values)
            if any(isinstance(moment, datetime) for moment in values):
                frame[f"visit_{end}_datetime"] = np.array(values, dtype="datetime64[s]")
        return pd.DataFrame(frame)

    def _events(self, rows: Rows) -> dict[str, pd.DataFrame]:
        """Return the facts of the rows by domain, in the order of rows and columns, each with its `row`."""
        parts: dict[str, list[pd.DataFrame]] = {}
        for mapped in self._columns:
            for domain, frame in facts_of(mapped, rows):
                parts.setdefault(domain, []).append(frame)
        events = {}
        for domain in (domain for domain in EVENTS if domain in parts):
            frame = pd.concat(parts[domain], ignore_index=True)
            order = np.argsort(frame["row"].to_numpy(), kind="stable")
            events[domain] = frame.iloc[order].reset_index(drop=True)
        return events


def _days(moments: list[date]) -> Any:
    return np.array([day_of(moment) for moment in moments], dtype="datetime64[D]")


def source_frame(provenance: Provenance, mapping: ExportMapping) -> pd.DataFrame:
    """Return cdm_source: one row, which says that the data are synthetic, what they cost and of which study."""
    released = np.array([mapping.release_date or mapping.index_date], dtype="datetime64[D]")
    return pd.DataFrame(
        {
            "cdm_source_name": [shortened(f"synthetic: {provenance.study.name}", NAME)],
            "cdm_source_abbreviation": ["synthetic"],
            "cdm_holder": ["no hospital: synthetic" if provenance.run_id else "not known: exported without a run"],
            "source_description": [provenance.description],
            "source_documentation_reference": [f"study fingerprint {provenance.study.fingerprint}"],
            "cdm_etl_reference": ["fedsynth export --to omop"],
            "source_release_date": released,
            "cdm_release_date": released,
            "cdm_version": ["5.4"],
            "cdm_version_concept_id": [CDM_VERSION],
            "vocabulary_version": ["none"],
        }
    )
