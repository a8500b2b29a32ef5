"""OMOP tables of an export as what they say about each visit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

from common.export.mapping import labels_of
from common.export.omop_facts import fact_key, shortened
from common.export.omop_files import Record, read_rows
from common.export.visit_texts import Grouped, VisitTexts
from common.study.study import Study

Says = Callable[[Record], tuple[str, str]]
"""Returns the column and the text of a row."""

VISIT_KEY = "visit_occurrence_id"


def omop_visits(folder: Path, form: str, study: Study) -> Iterator[VisitTexts]:
    """Yield what the tables say about each visit, in the order of the visits.

    Args:
        folder: of the export.
        form: its file format.
        study: with which it was written.

    Raises:
        DataError: rows are in another order, or belong to no visit.
        KeyError: a row names no column or label of the study.
    """
    tables = _tables(study)
    cursors = {
        table: Grouped(read_rows(folder, form, table, [VISIT_KEY, *names]), itemgetter(VISIT_KEY), table)
        for table, (names, _) in tables.items()
    }
    names = read_rows(folder, form, "person", ["person_id", "person_source_value"])
    persons = Grouped(names, itemgetter("person_id"), "person")
    person, patient = None, ""
    for visit in read_rows(folder, form, "visit_occurrence", [VISIT_KEY, "person_id"]):
        if visit["person_id"] != person:
            person = visit["person_id"]
            (patient,) = (row["person_source_value"] for row in persons.take(person))
        texts = VisitTexts(patient)
        for table, (_, says) in tables.items():
            for row in cursors[table].take(visit[VISIT_KEY]):
                texts.add(*says(row))
        yield texts
    for cursor in (*cursors.values(), persons):
        cursor.finish()


def _tables(study: Study) -> dict[str, tuple[list[str], Says]]:
    """Return the columns of each table that say something about a visit, and how they say it."""
    columns = {shortened(column.name): column.name for column in study.declared.columns}
    facts = {
        fact_key(column.name, label): (column.name, label)
        for column in study.declared.columns
        for label in labels_of(column)
    }

    def fact(name: str) -> tuple[list[str], Says]:
        return [name], lambda row: facts[row[name]]

    def value(name: str, *texts: str) -> tuple[list[str], Says]:
        return [name, *texts], lambda row: (columns[row[name]], next(row[text] for text in texts if row[text]))

    return {
        "condition_occurrence": fact("condition_source_value"),
        "drug_exposure": fact("drug_source_value"),
        "measurement": value("measurement_source_value", "value_source_value"),
        "observation": value("observation_source_value", "value_source_value", "value_as_string"),
        "note": value("note_source_value", "note_text"),
    }
