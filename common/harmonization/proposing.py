"""Propose a mapping: which local column belongs to which column of a study, and how its cells are converted.

It looks at names, labels and values of a table at the hospital, and at the study, which is public. Nothing that it
finds changes the study. Everything that it is unsure of is marked for a person to check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from common.columns.base import TableColumn
from common.columns.date import Date
from common.harmonization.conventions import Conventions
from common.harmonization.derived_proposals import derived, patient_identifier
from common.harmonization.evidence import NOT_DESCRIBED, Described, LocalColumn
from common.harmonization.suggesting_labels import suggest_labels
from common.harmonization.suggesting_numbers import suggest_date, suggest_number
from common.harmonization.suggestion import LIKELY, MISFIT, POSSIBLE, Proposed, Suggestion, similarity
from common.harmonization.words import WORDS_FOR_MISSING
from common.study.schema import Schema

CANDIDATES = 4
"""Local columns whose cells are compared with a study's column, those with the most similar names."""

RIVAL = 8
"""Percent. Another local column whose confidence is at most this much lower has to be checked."""


@dataclass(frozen=True)
class MappingProposal:
    """A whole mapping.

    Attributes:
        columns: what is proposed, in the study's order; a patient's identifier first.
        missing: texts that mean missing in all columns.
        unused: local columns that no proposal reads.
    """

    columns: tuple[Proposed, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is proposed for any column."""
        return all(item.suggestion is None for item in self.columns)


def propose(
    raw: pd.DataFrame,
    schema: Schema,
    *,
    patient_column: str | None = None,
    described: Mapping[str, Described] = MappingProxyType({}),
) -> MappingProposal:
    """Return a mapping of a hospital's table to the columns of a study.

    Args:
        raw: the table, at the hospital.
        schema: the study's columns.
        patient_column: the local column that identifies the patient; None leaves it to the names.
        described: what the hospital's data dictionary says of its columns, by name.
    """
    local = [
        LocalColumn.of(str(name), Counter(raw[name]), described.get(str(name), NOT_DESCRIBED)) for name in raw.columns
    ]
    wanted = [column for column in schema.columns if column.modeled]
    if schema.time is not None and schema.time_column is None:
        wanted.append(Date(name=schema.time, lower="1850-01-01", upper="2150-12-31"))  # it orders the visits
    conventions = Conventions(_missing(local, wanted))
    free = [column for column in local if column.name != patient_column]
    matched = _matched(wanted, free, conventions)
    proposed = [item if item.suggestion is not None else derived(item, column, local) for item, column in
                zip(matched, wanted, strict=True)]  # fmt: skip
    patient = patient_identifier(local, patient_column, {source for item in proposed for source in item.sources})
    if patient is not None and schema.patient is not None:
        patient = replace(patient, name=schema.patient)
    columns = ([] if patient is None else [patient]) + proposed
    used = {source for item in columns for source in item.sources}
    unused = tuple(column.name for column in local if column.name not in used)
    return MappingProposal(tuple(columns), conventions.missing, unused)


def _missing(local: Sequence[LocalColumn], wanted: Sequence[TableColumn]) -> tuple[str, ...]:
    """Return words for missing that occur in the table and that no column of the study declares."""
    occurring = {text for column in local for text in column.missing_texts if text in WORDS_FOR_MISSING}
    return tuple(sorted(text for text in occurring if all(text not in _declared(column) for column in wanted)))


def _declared(column: TableColumn) -> tuple[str, ...]:
    labels = column.modeled[0].labels
    return labels if labels else tuple(column.model_dump().get("missing_codes", ()))


def _matched(wanted: Sequence[TableColumn], local: Sequence[LocalColumn], conventions: Conventions) -> list[Proposed]:
    """Return the best local column for every column of the study, each used once, the surest pairs first."""
    pairs: list[tuple[int, str, str, Suggestion]] = []
    nearest: dict[str, tuple[float, str]] = {}
    for column in wanted:
        scores = sorted(((similarity(column, other.names), other) for other in local), key=lambda pair: -pair[0])
        nearest[column.name] = (scores[0][0], scores[0][1].name) if scores else (0.0, "")
        for score, other in scores[:CANDIDATES]:
            if score < POSSIBLE:
                break
            suggestion = _suggestion(column, other, conventions)
            confidence = round(score * (1 - MISFIT * (1 - suggestion.fit)))
            if confidence >= POSSIBLE:
                pairs.append((confidence, column.name, other.name, suggestion))
    chosen: dict[str, tuple[int, str, Suggestion]] = {}
    for confidence, name, source, suggestion in sorted(pairs, key=lambda pair: -pair[0]):
        if name not in chosen and source not in [taken for _, taken, _ in chosen.values()]:
            chosen[name] = (confidence, source, suggestion)
    proposed = []
    for column in wanted:
        score, name = nearest[column.name]
        if column.name not in chosen:
            proposed.append(Proposed(column.name, None, round(score), name))
            continue
        confidence, source, suggestion = chosen[column.name]
        taken = [other for _, other, _ in chosen.values()]
        rivals = [other for rival, of, other, _ in pairs
                  if of == column.name and other not in taken and rival >= confidence - RIVAL]  # fmt: skip
        proposed.append(Proposed(column.name, _with_checks(suggestion, confidence, rivals), confidence))
    return proposed


def _with_checks(suggestion: Suggestion, confidence: int, rivals: Sequence[str]) -> Suggestion:
    """Return the suggestion with checks of its local column, where the name is not clear."""
    checks = [f"'{rivals[0]}' has a similar name: which is it, or is it the first_present of both?"] if rivals else []
    if confidence < LIKELY:
        checks.append("is it this column?")
    return replace(suggestion, checks=(*checks, *suggestion.checks))


def _suggestion(column: TableColumn, local: LocalColumn, conventions: Conventions) -> Suggestion:
    """Return how the local column would become the study's, by what the study's holds."""
    modeled, settings = column.modeled, column.model_dump()
    if "date_format" in settings:
        return suggest_date(local, str(settings["date_format"]), conventions)
    if len(modeled) == 1 and modeled[0].labels:
        return suggest_labels(column, local, modeled[0].labels, conventions)
    if len(modeled) == 1 and (grid := modeled[0].grid) is not None:
        return suggest_number(column, local, grid, conventions)
    share = local.share({text: not column.check([text]) for text in local.texts})
    checks = () if share > 0.95 else ("compare how the items are written and separated",)
    return Suggestion({"from": local.name}, share, (), checks)
