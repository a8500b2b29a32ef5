"""Declared rules about a patient's visits: which histories break them, and how a history is corrected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import model_validator

from common.settings import Frozen, Readable
from common.study.rules import Relation, Rule, repair
from common.study.schema import FIRST_VISIT, SINCE_LAST_VISIT, VISIT, VISITS, Schema

if TYPE_CHECKING:
    from common.study.study import Study

Booleans = npt.NDArray[np.bool_]

MIRRORED: dict[Relation, Relation] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The relation that holds between the same two columns named the other way round."""


class Course(Frozen):
    """What a column of the visit may not do from visit to visit.

    With `never`, its values do not decrease or increase: numbers, or labels in their declared order. With `ends_with`,
    a visit with this label is the patient's last.
    """

    column: Readable
    never: Literal["decreases", "increases"] | None = None
    ends_with: Readable | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.never is None) == (self.ends_with is None):
            raise ValueError(f"[[courses]] of '{self.column}' has never or ends_with, one of the two; correct it")
        return self

    def __str__(self) -> str:
        return f"{self.column} never {self.never}" if self.never else f"{self.column} ends with {self.ends_with}"

    def problem(self, schema: Schema) -> str | None:
        """Return why the course does not fit the modeled columns of a study of visits; None if it does."""
        if self.column not in schema.names or schema[self.column].per != "visit" or self.column == VISIT:
            return f"'{self}': '{self.column}' is not a column of the visit; correct it"
        column = schema[self.column]
        if self.ends_with is not None and self.ends_with not in column.labels:
            return f"'{self}': column '{self.column}' has no such label; choose one of those declared"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class HistoryRules:
    """All rules about the histories of a study of visits.

    Args:
        rules: hold at every visit; a column of the patient has one value for all visits.
        courses: hold from visit to visit.
        declared: the declared columns, with those of patient and time.
    """

    rules: Sequence[Rule]
    courses: Sequence[Course]
    declared: Schema

    @classmethod
    def of(cls, study: Study) -> HistoryRules:
        """Return the rules of a study of visits."""
        return cls(study.rules, study.courses, study.declared)

    def broken(self, frame: pd.DataFrame) -> Booleans:
        """Return which histories break any rule, by the number of their patient.

        Args:
            frame: conformed visits, those of a patient side by side and in order.
        """
        every = self._broken_each(frame)
        return np.any(list(every.values()), axis=0) if every else np.zeros(frame[VISIT].eq("1").sum(), dtype=np.bool_)

    def met(self, frame: pd.DataFrame, redraw: Callable[[int, int], pd.DataFrame], attempts: int) -> pd.DataFrame:
        """Return histories of which those that break a rule are drawn again, and corrected if that does not help.

        Args:
            frame: drawn visits.
            redraw: from a number of patients and the number of the attempt to their visits.
            attempts: how often to draw again.
        """
        for attempt in range(attempts):
            is_broken = self.broken(frame)
            if not is_broken.any():
                return frame
            fresh, owners = redraw(int(is_broken.sum()), attempt), owners_of(frame)
            order = np.concatenate([owners[~is_broken[owners]], np.flatnonzero(is_broken)[owners_of(fresh)]])
            frame = pd.concat([frame[~is_broken[owners]], fresh]).iloc[np.argsort(order, kind="stable")]
            frame = frame.reset_index(drop=True)
        return self.repair(frame)

    def violations(self, frame: pd.DataFrame) -> dict[str, float]:
        """Return the proportion of patients whose history breaks each rule."""
        return {rule: round(float(is_broken.mean()), 4) for rule, is_broken in self._broken_each(frame).items()}

    def _broken_each(self, frame: pd.DataFrame) -> dict[str, Booleans]:
        """Return which histories break each rule."""
        owners, timed, patients = owners_of(frame), self._timed(frame), int(frame[VISIT].eq("1").sum())
        visits = {str(rule): rule.broken(timed) for rule in self.rules}
        visits |= {str(course): self._broken_by(course, frame) for course in self.courses}
        return {rule: np.bincount(owners[broken], minlength=patients) > 0 for rule, broken in visits.items()}

    def _broken_by(self, course: Course, frame: pd.DataFrame) -> Booleans:
        """Return which visits break a course: are below an earlier value, or follow the last label."""
        if course.ends_with is not None:
            return self._after_end(course, frame)
        values = self._values(course, frame)
        return np.asarray(values.notna() & values.ne(self._bounded(course, frame)), dtype=np.bool_)

    def repair(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return histories that meet the courses, and the rules as far as these and bounds allow it.

        A history ends after the label that ends it. A value that may not decrease becomes the largest before it. A
        value that breaks a rule moves next to the other one, and so do others that a course ties to it; of a column of
        the patient, the farthest value that any visit asks for counts. Times do not move.

        Args:
            frame: conformed visits, those of a patient side by side and in order.
        """
        frame = frame.copy()
        for course in self.courses:
            if course.ends_with is not None:
                frame = frame[~self._after_end(course, frame)].reset_index(drop=True)
                owners = owners_of(frame)
                frame[VISITS] = np.bincount(owners)[owners].astype(str).astype(object)
        for course in self.courses:
            if course.never is not None:
                frame[course.column] = self._written(course, self._bounded(course, frame))
        for rule in self.rules:
            frame = self._repaired(rule, frame)
        return frame

    def _repaired(self, rule: Rule, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the histories with the right-hand value of a rule moved; the left-hand one, if right is the time."""
        if rule.right == self.declared.time:
            rule = Rule(left=rule.right, relation=MIRRORED[rule.relation], right=rule.left)
        schema, owners = rules_schema(self.declared), pd.Series(owners_of(frame))
        moved = repair(self._timed(frame), [rule], schema)
        for name in (rule.left, rule.right):
            if name == self.declared.time:
                continue
            values = moved[name].reset_index(drop=True)
            if self.declared.modeled_table[name].per == "patient":
                values = values.groupby(owners).transform("max" if name == rule.ascending[1] else "min")
            frame[name] = values.to_numpy()
            frame[name] = self._tied(name, frame, is_upward=name == rule.ascending[1])
        return frame

    def _tied(self, name: str, frame: pd.DataFrame, *, is_upward: bool) -> pd.Series:
        """Return a column whose values were moved in one direction, with others moved so that its courses hold.

        They move in the same direction, so that a rule that made the values move still holds.
        """
        values, owners = frame[name], pd.Series(owners_of(frame), index=frame.index)
        for course in self.courses:
            if course.column == name and course.never is not None:
                order = 1 if (course.never == "decreases") is is_upward else -1  # -1: earlier visits follow later ones
                by_patient = values[::order].groupby(owners[::order])
                values = (by_patient.cummax() if is_upward else by_patient.cummin())[::order]
        return values

    def _timed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the visits with their times, as far as times are synthesized."""
        if self.declared.time_column is None:
            return frame
        return frame.assign(**{str(self.declared.time): times_of(frame, self.declared)})

    def _after_end(self, course: Course, frame: pd.DataFrame) -> Booleans:
        ends = frame[course.column] == course.ends_with
        before = ends.astype(int).groupby(owners_of(frame)).cumsum() - ends.astype(int)
        return np.asarray(before > 0, dtype=np.bool_)

    def _values(self, course: Course, frame: pd.DataFrame) -> pd.Series:
        """Return numbers whose order is that of the column's values."""
        labels = self.declared.modeled_table[course.column].labels
        if not labels:
            return frame[course.column].astype(float)
        return frame[course.column].map({label: number for number, label in enumerate(labels)}).astype(float)

    def _bounded(self, course: Course, frame: pd.DataFrame) -> pd.Series:
        """Return the same, each no smaller (or no larger) than those before; missing stays missing."""
        by_patient = self._values(course, frame).groupby(owners_of(frame))
        return by_patient.cummax() if course.never == "decreases" else by_patient.cummin()

    def _written(self, course: Course, values: pd.Series) -> npt.NDArray[np.generic]:
        """Return the values of a column from their numbers."""
        labels = self.declared.modeled_table[course.column].labels
        if not labels:
            return values.to_numpy()
        return np.array([None if np.isnan(value) else labels[int(value)] for value in values], dtype=object)


def owners_of(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the number of each visit's patient, from 0; visit 1 begins a patient."""
    return np.asarray(frame[VISIT].eq("1").cumsum() - 1, dtype=np.int64)


def times_of(frame: pd.DataFrame, declared: Schema) -> pd.Series:
    """Return the time of every visit: the first one and the times in between, or a regular clock.

    On a regular clock, a first visit from which the history would run over the upper bound is moved back.

    Args:
        frame: conformed visits, those of a patient side by side and in order.
        declared: the declared columns, with a time.
    """
    column = declared.time_column
    assert column is not None, "checked by the caller"
    if declared.interval is None:
        return frame[FIRST_VISIT] + frame[SINCE_LAST_VISIT].fillna(0.0).groupby(owners_of(frame)).cumsum()
    number, visits = frame[VISIT].astype(float), frame[VISITS].astype(float)
    latest = column.grid.upper - (visits - 1) * declared.interval
    times = frame[FIRST_VISIT].clip(upper=latest) + (number - 1) * declared.interval
    return times.round(column.grid.decimals) + 0.0  # of -0.0, 0.0


def rules_schema(declared: Schema) -> Schema:
    """Return the columns that rules may name: the modeled ones, and of a table of visits its declared time."""
    if declared.time_column is None:
        return declared.modeled_table
    columns = [*declared.modeled_table.columns, declared.time_column]
    return Schema(columns=tuple(column.model_copy(update={"per": None}) for column in columns))
