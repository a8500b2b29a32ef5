"""The sections of a study on OMOP databases: `[source]`, `[study_cohort]`, `[[features]]` and `[visits]`.

They say who is in the table and what its columns are, in concepts and days, so that every hospital makes the same table
from its own database. They are public, approved as text, and checked here without a database.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from common.omop.domains import DAY, PERSON_CONCEPTS, PERSON_ID, EntryDomain, EventDomain
from common.omop.entries import LARGEST_CONCEPT, check_values, check_window
from common.omop.windows import refuse_overlap
from common.settings import Frozen, Readable, is_unset

LONGEST_DAYS = 36_525
"""Most days of a window before or after the index date: a hundred years."""

LARGEST_BOUND, MOST_DECIMALS = 1e11, 6
"""Largest bound and most decimals of a value: values are summed exactly, as decimal numbers of 18 digits."""

MOST_LISTED, MOST_LABELS = 500, 1_000
"""Most concepts of a selection or label and most units; most labels of a feature, as of a categorical column."""

Concept = Annotated[int, Field(ge=1, le=LARGEST_CONCEPT)]
Days = Annotated[int, Field(ge=-LONGEST_DAYS, le=LONGEST_DAYS)]
Summary = Literal["any", "count", "first", "last", "mean", "time to event", "each visit"]
Result = Literal["yes-no", "count", "days", "follow-up", "number", "labels"]
"""What a feature's column holds."""

PERSON_NUMBERS = ("age", "year of birth")
"""Fields of a person that are numbers: years between year of birth and index date, and the year itself."""

KEYS: dict[Result, frozenset[str]] = {
    "yes-no": frozenset(),
    "count": frozenset({"upper"}),
    "days": frozenset(),
    "follow-up": frozenset(),
    "number": frozenset({"units", "other_units", "unit", "lower", "upper", "decimals"}),
    "labels": frozenset({"values"}),
}
"""Keys of a feature beyond name, domain, concepts, window and summary, by what its column holds."""

NEEDED: dict[Result, tuple[str, ...]] = {
    "yes-no": (),
    "count": ("upper",),
    "days": (),
    "follow-up": (),
    "number": ("lower", "upper"),
    "labels": ("values",),
}
"""Those of them that a feature must give."""


class OmopSource(Frozen):
    """`[source]`: where the hospitals' tables come from."""

    kind: Literal["omop"]


class Selection(Frozen):
    """Concepts, with all that `concept_ancestor` lists below them where `descendants` is true."""

    concepts: tuple[Concept, ...] = Field(default=(), max_length=MOST_LISTED, strict=False)
    descendants: bool = True

    @field_validator("concepts")
    @classmethod
    def _once(cls, concepts: tuple[int, ...]) -> tuple[int, ...]:
        repeated = sorted({concept for concept in concepts if concepts.count(concept) > 1})
        if repeated:
            raise ValueError(f"concept {repeated[0]} is listed twice; remove one")
        return concepts


class StudyCohort(Selection):
    """`[study_cohort]`: whose rows the table has. The *cohort* without *study* is that of a ledger.

    The index date is the day of a person's first event of these concepts. The person belongs to the study cohort if one
    observation period holds the index date and the `prior_observation_days` before it, and the age (year of the index
    date minus year of birth) is in the range, both ends included. The rule looks at one person alone.
    """

    domain: EntryDomain
    concepts: tuple[Concept, ...] = Field(min_length=1, max_length=MOST_LISTED, strict=False)
    prior_observation_days: int = Field(default=0, ge=0, le=LONGEST_DAYS)
    age: tuple[int, int] = Field(default=(0, 120), strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.age
        if not 0 <= low <= high <= 150:
            raise ValueError(f"[study_cohort] age = [{low}, {high}] is no range of years; write the lower age first")
        return self


class Visits(Selection):
    """`[visits]`: which visits of a person are rows, for features with summary "each visit".

    A visit starts in the window around the index date. Without concepts, visits of every kind are rows.
    """

    window: tuple[Days, Days] = Field(strict=False)
    most_visits: int
    keep_visits: Literal["first", "last", "thinned"] | None = None

    @field_validator("window", mode="before")
    @classmethod
    def _pair(cls, window: Any) -> Any:
        return check_window(window, "[visits]")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.window[0] == self.window[1]:
            raise ValueError("[visits] window is one day; widen it, or use features with summary 'last'")
        return self


class Feature(Selection):
    """`[[features]]`: one column of the table.

    A feature of a person has a `field`. Any other has concepts, a window in days around the index date (both ends
    included), and a summary: `any` is yes or no, `count` a number of events, `first` and `last` the value of that event
    or, of events without values, its day after the index date, `mean` the mean value. "time to event" is the day of the
    first event while the patient is observed, or else the last day of the window on which the patient is. With "each
    visit" the column has a value for every visit: the last value there, or else yes or no.

    Values are numbers where `units` lists the unit concepts that are read, each with the factor to the study's unit (0
    stands for no unit), and labels where `values` says which concepts make which label.
    """

    name: Readable = Field(min_length=1, max_length=128)
    domain: Literal["person", EventDomain]
    field: Literal["sex", "race", "ethnicity", "age", "year of birth"] | None = None
    window: tuple[Days, Days] | None = Field(default=None, strict=False)
    summary: Summary | None = None
    values: dict[str, Annotated[tuple[Concept, ...], Field(max_length=MOST_LISTED)]] = Field(
        default={}, max_length=MOST_LABELS, strict=False, exclude_if=is_unset
    )
    units: dict[str, float] = Field(default={}, max_length=MOST_LISTED, exclude_if=is_unset)
    other_units: Literal["refuse", "drop"] | None = Field(default=None, exclude_if=is_unset)
    unit: Readable | None = None
    lower: float | None = None
    upper: float | None = None
    decimals: int | None = Field(default=None, ge=0, le=MOST_DECIMALS)
    description: Readable | None = None

    @field_validator("values", mode="before")
    @classmethod
    def _lists(cls, values: Any, others: ValidationInfo) -> Any:
        return check_values(values, _named(others))

    @field_validator("window", mode="before")
    @classmethod
    def _pair(cls, window: Any, others: ValidationInfo) -> Any:
        return check_window(window, _named(others))

    @field_validator("units")
    @classmethod
    def _factors(cls, units: dict[str, float], others: ValidationInfo) -> dict[str, float]:
        whose = _named(others)
        for key, factor in units.items():
            if not (key.isascii() and key.isdecimal() and int(key) <= LARGEST_CONCEPT and str(int(key)) == key):
                raise ValueError(f"{whose}, units: '{key}' is no concept id of a unit; write units = {{ 8840 = 1.0 }}")
            if not 1e-9 <= factor <= 1e9:
                raise ValueError(f"{whose}: factor {factor:g} of unit {key} is not from 1e-9 to 1e9; correct it")
        return units

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.domain == "person":
            self._check_person()
        else:
            self._check_event()
        given = {key for key in self.model_fields_set if getattr(self, key) not in (None, {}, ())}
        unused = (set().union(*KEYS.values()) & given) - KEYS[self.result]
        if self.domain == "person":
            unused |= given & {"concepts", "window", "summary", "units", "other_units"}
        if unused:
            raise ValueError(f"feature '{self.name}' has no use for {sorted(unused)[0]}; remove it")
        for key in NEEDED[self.result]:
            is_age = self.field == "age"  # its bounds are the study cohort's unless it has its own
            if getattr(self, key) in (None, {}) and not is_age:
                raise ValueError(f"feature '{self.name}' lacks {key}; add it")
        self._check_values()
        return self

    def _check_person(self) -> None:
        if self.field is None:
            fields = ", ".join((*PERSON_CONCEPTS, *PERSON_NUMBERS))
            raise ValueError(f"feature '{self.name}' is of the person and lacks field; choose from {fields}")

    def _check_event(self) -> None:
        if self.field is not None:
            raise ValueError(f"feature '{self.name}': field is for domain 'person'; remove it")
        if self.summary is None:
            raise ValueError(f"feature '{self.name}' lacks summary; choose from {', '.join(get_args(Summary))}")
        if not self.concepts and self.domain not in ("visit", "death"):
            raise ValueError(f"feature '{self.name}' lists no concepts; add the concept ids")
        if self.is_of_visit != (self.window is None):
            remedy = "its window is that of [visits]; remove window" if self.is_of_visit else "add window = [-365, 0]"
            raise ValueError(f"feature '{self.name}' with summary '{self.summary}': {remedy}")
        if self.domain in ("measurement", "observation"):
            if self.summary in ("first", "last", "mean") and not (self.units or self.values):
                raise ValueError(f"feature '{self.name}' has neither units for numbers nor values for labels; add one")
        elif self.summary == "mean":
            raise ValueError(f"feature '{self.name}': a {self.domain} has no mean; choose another summary")
        elif self.units or (self.values and self.domain != "visit"):
            raise ValueError(f"feature '{self.name}': a {self.domain} has no values; remove units and values")
        elif self.domain == "death" and self.summary not in ("any", "first", "time to event"):
            raise ValueError(f"feature '{self.name}': a person dies once; choose any, first or time to event")
        elif self.summary == "each visit" and self.domain == "visit" and not self.values:
            raise ValueError(f"feature '{self.name}' lacks values, the concepts of the kinds of visits; add it")
        if self.summary == "time to event" and self.window is not None and self.window[0] < 0:
            raise ValueError(f"feature '{self.name}': time to event starts at day 0 or later; correct window")
        if self.summary == "mean" and self.values:
            raise ValueError(f"feature '{self.name}': labels have no mean; choose summary 'first' or 'last'")

    def _check_values(self) -> None:
        """Refuse labels that share a concept, and bounds that values cannot be summed within."""
        listed = [concept for concepts in self.values.values() for concept in concepts]
        repeated = sorted(concept for concept, times in Counter(listed).items() if times > 1)
        if repeated or not all(self.values.values()):
            what = f"concept {repeated[0]} stands for two labels" if repeated else "a label has no concept"
            raise ValueError(f"feature '{self.name}': {what}; correct values")
        if any(abs(bound) > LARGEST_BOUND for bound in (self.lower or 0, self.upper or 0)):
            raise ValueError(f"feature '{self.name}': a bound is above {LARGEST_BOUND:g}; choose another unit")

    @property
    def is_of_visit(self) -> bool:
        """Whether the column has a value for every visit."""
        return self.summary == "each visit"

    @property
    def result(self) -> Result:
        """What the column holds."""
        if self.domain == "person":
            return "number" if self.field in PERSON_NUMBERS else "labels"
        if self.summary in ("any", "count"):
            return "count" if self.summary == "count" else "yes-no"
        if self.summary == "time to event":
            return "follow-up"
        if self.values:
            return "labels"
        if self.units:
            return "number"
        return "yes-no" if self.is_of_visit else "days"


class Extraction(Frozen):
    """What is taken from a hospital's OMOP database: all sections together, which fit each other."""

    source: OmopSource
    study_cohort: StudyCohort
    features: tuple[Feature, ...] = Field(min_length=2, max_length=500, strict=False)
    visits: Visits | None = None

    def ends_with_observation(self, feature: Feature) -> bool:
        """Return whether events after the end of the observation do not count: for a time to event, and its `any`."""
        same = (feature.domain, set(feature.concepts), feature.descendants, feature.window)
        return feature.summary in ("any", "time to event") and any(
            timed.summary == "time to event"
            and (timed.domain, set(timed.concepts), timed.descendants, timed.window) == same
            for timed in self.features
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for feature in self.features:
            if feature.name in (PERSON_ID, DAY):
                raise ValueError(f"feature '{feature.name}' has the name of a column that every table has; rename it")
        of_visit = [feature.name for feature in self.features if feature.is_of_visit]
        if of_visit and self.visits is None:
            raise ValueError(f"feature '{of_visit[0]}' has summary 'each visit'; add [visits] with window, most_visits")
        if self.visits is not None and not of_visit:
            raise ValueError("[visits] is given and no feature has summary 'each visit'; add one, or remove [visits]")
        for one, other in combinations(self.features, 2):
            refuse_overlap(one, other)
        return self


def _named(others: ValidationInfo) -> str:
    """Return the feature whose settings are checked, for messages."""
    return f"feature '{others.data.get('name', '')}'"
