"""The study: one TOML file that all parties share, agreed by people, parsed once, identified by its fingerprint."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, model_validator

from common.columns.image import Image
from common.columns.kinds import KINDS
from common.columns.questions import images_of
from common.errors import StudyError, cause_of
from common.omop.columns import schema_section
from common.omop.definitions import Extraction, Feature, OmopSource, StudyCohort, Visits
from common.settings import Frozen, Place, explain, is_unset, toml_problem
from common.study.consistency import check_sections
from common.study.courses import Course
from common.study.limits import warnings
from common.study.rules import Rule
from common.study.schema import Schema, VisitsSchema
from common.study.sections import (
    About,
    Budget,
    EvaluationSettings,
    FederationRules,
    HospitalFacts,
    Privacy,
    Training,
)
from common.study.synthesizers import (
    AdversarialSettings,
    AnySynthesizerSettings,
    MaximumEntropySettings,
    SynthesizerSettings,
    settings_class,
)


class Study(Frozen):
    """A whole study. `declared` is the `[schema]` section, `table` the columns that are counted and synthesized.

    A study on OMOP databases has `source`, `study_cohort`, `features` and perhaps `visits` (`common.omop.definitions`);
    `[schema]` follows from the features.
    """

    about: About = Field(alias="study")
    source: OmopSource | None = Field(default=None, exclude_if=is_unset)
    study_cohort: StudyCohort | None = Field(default=None, exclude_if=is_unset)
    features: tuple[Feature, ...] = Field(default=(), strict=False, exclude_if=is_unset)
    visits: Visits | None = Field(default=None, exclude_if=is_unset)
    declared: Schema = Field(alias="schema")
    hospitals: tuple[HospitalFacts, ...] = Field(default=(), strict=False)
    synthesizer: AnySynthesizerSettings = MaximumEntropySettings()
    training: Training = Training()
    budget: Budget = Budget()
    privacy: Privacy
    federation: FederationRules = FederationRules()
    evaluation: EvaluationSettings
    rules: tuple[Rule, ...] = Field(default=(), strict=False)
    courses: tuple[Course, ...] = Field(default=(), strict=False, exclude_if=is_unset)

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_sections(self)
        return self

    @property
    def table(self) -> Schema:
        """The columns as which rows are counted and synthesized: as declared, or those of kept visits."""
        return self.declared.modeled_table

    @property
    def extraction(self) -> Extraction | None:
        """What is taken from a hospital's OMOP database; None where the hospital has a table."""
        if self.source is None or self.study_cohort is None:
            return None
        return Extraction(
            source=self.source, study_cohort=self.study_cohort, features=self.features, visits=self.visits
        )

    @property
    def has_visits(self) -> bool:
        """Whether a patient has several rows, one for each visit."""
        return self.declared.time is not None

    @property
    def images(self) -> tuple[Image, ...]:
        """The columns of images: one at most."""
        return images_of(self.declared.columns)

    @property
    def visits_table(self) -> VisitsSchema:
        """The columns of kept visits, for a study of visits."""
        assert isinstance(self.table, VisitsSchema), "a study of visits"
        return self.table

    @property
    def read_names(self) -> tuple[str, ...]:
        """The names of the columns of a hospital's table that the study reads, with those of patient and time."""
        named = [name for name in (self.declared.patient, self.declared.time) if name is not None]
        return tuple(dict.fromkeys([*named, *self.declared.read_names]))

    def read_names_with(self, patient_column: str | None) -> list[str]:
        """Return `read_names`, with the column that identifies the patient where a hospital has one."""
        return list(dict.fromkeys([*self.read_names, *filter(None, [patient_column])]))

    @property
    def threshold(self) -> int:
        """Number of hospitals that must send a vector and open their shares before a masked sum can be opened.

        Hospitals - dropouts, the largest number that tolerates the dropouts. Two disjoint sets of survivors cannot both
        reach it, since 2 x threshold > hospitals + colluders (Bonawitz et al. 2017, with colluders that answer twice).
        """
        return len(self.hospitals) - self.federation.dropouts

    @property
    def honest_survivors(self) -> int:
        """Number of honest hospitals in every sum that is opened: threshold - colluders, at least 1.

        From 2 (K - dropouts) > K + colluders follows K - dropouts - colluders > dropouts >= 0.
        """
        return self.threshold - self.federation.colluders

    @property
    def quorum(self) -> int:
        """Number of hospitals that must enroll: `min_hospitals`, or the threshold of masked sums."""
        is_shared = self.privacy.noise == "distributed"
        return max(self.federation.min_hospitals, self.threshold) if is_shared else self.federation.min_hospitals

    @property
    def adversarial(self) -> AdversarialSettings:
        """The synthesizer's settings, for a run with rounds."""
        assert isinstance(self.synthesizer, AdversarialSettings), "rounds need a synthesizer that trains in rounds"
        return self.synthesizer

    @property
    def name(self) -> str:
        """Return the name of the study."""
        return self.about.name

    @property
    def seed(self) -> int:
        """Return the seed of everything random that protects no patient."""
        return self.about.seed

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical JSON: keys sorted, defaults written out, layout and comments ignored."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """Return the canonical JSON that the fingerprint digests."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))

    def to_toml(self) -> str:
        """Return the text of a study file that `parse_study` reads back to an equal study."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return tomli_w.dumps({section: keys for section, keys in document.items() if keys})

    def hospital(self, name: str) -> HospitalFacts | None:
        """Return what the study says about a hospital; None if it is not in the study."""
        return next((hospital for hospital in self.hospitals if hospital.name == name), None)

    def training_rows(self, hospital: HospitalFacts) -> int:
        """Return the declared rows that are not held out: the public figure behind rates and weights."""
        return max(1, round(hospital.declared_rows * (1 - self.evaluation.holdout_fraction)))

    @property
    def warnings(self) -> list[str]:
        """Warnings about epsilon and delta that are allowed and unwise; none without noise."""
        if self.privacy.noise == "none" or not self.hospitals:
            return []
        fewest = min(hospital.declared_rows for hospital in self.hospitals)
        return warnings("[privacy] epsilon", self.privacy.epsilon, self.privacy.delta, fewest)

    @property
    def pooled_rows(self) -> int:
        """Training rows of all hospitals together."""
        return sum(self.training_rows(hospital) for hospital in self.hospitals)

    def epsilon_of(self, hospital: HospitalFacts) -> float:
        """Return what the hospital's part of a run may cost: its own epsilon where it has one, else the study's."""
        return self.privacy.epsilon if hospital.epsilon is None else hospital.epsilon

    def amended(self, **sections: dict[str, Any]) -> Study:
        """Return the study with some keys of some sections replaced, checked again; `None` values are skipped.

        Another kind of synthesizer takes the settings that every kind has, and its own defaults.

        Raises:
            StudyError: the result is not a valid study.
        """
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        kind = sections.get("synthesizer", {}).get("kind") or document["synthesizer"]["kind"]
        if kind != document["synthesizer"]["kind"]:
            shared = {
                key: value for key, value in document["synthesizer"].items() if key in SynthesizerSettings.model_fields
            }
            document["synthesizer"] = shared
        for section, keys in sections.items():
            document[section] |= {key: value for key, value in keys.items() if value is not None}
        return _build(document, "the command line")

    def with_hospitals(self, hospitals: tuple[HospitalFacts, ...], *, cap_minimum: bool = False) -> Study:
        """Return the study for these hospitals.

        Args:
            hospitals: replace those listed.
            cap_minimum: lower `min_hospitals` to their number; for simulations only.
        """
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        document["hospitals"] = [hospital.model_dump(exclude_none=True) for hospital in hospitals]
        if cap_minimum:
            minimum = min(self.federation.min_hospitals, len(hospitals))
            document["federation"]["min_hospitals"] = minimum
        return _build(document, "the hospitals")


def read_study(path: Path) -> Study:
    """Parse a study file.

    Raises:
        StudyError: the file cannot be read or is not a valid study; the text names section, key and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise StudyError(
            f"cannot read study '{path}': {cause_of(problem)}; check the path and its permissions"
        ) from None
    return parse_study(text, source=str(path))


def parse_study(text: str, *, source: str = "study") -> Study:
    """Parse the text of a study. Raises `StudyError` as `read_study` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise StudyError(f"{source} is {toml_problem(text, problem)}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets within brackets
        raise StudyError(f"{source} is not a study; it holds a number or a nesting that is too long") from None
    return _build(document, source)


def _build(document: dict[str, Any], source: str) -> Study:
    try:
        return Study.model_validate(_with_schema(document))
    except ValidationError as problem:
        raise StudyError(f"{source}: {explain(problem, lambda place: known_keys(document, place))}") from None


def _with_schema(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with the `[schema]` that follows from its features, where it has a source and no schema.

    Raises:
        ValidationError: a section about the source is absent or not valid.
    """
    if "source" not in document or "schema" in document:
        return document
    sections = {key: document[key] for key in Extraction.model_fields if key in document}
    return document | {"schema": schema_section(Extraction.model_validate(sections))}


_SECTIONS: dict[str, type[Frozen]] = {
    "study": About,
    "source": OmopSource,
    "study_cohort": StudyCohort,
    "features": Feature,
    "visits": Visits,
    "hospitals": HospitalFacts,
    "training": Training,
    "budget": Budget,
    "privacy": Privacy,
    "federation": FederationRules,
    "evaluation": EvaluationSettings,
    "rules": Rule,
    "courses": Course,
}


def known_keys(document: dict[str, Any], place: Place) -> list[str]:
    """Return the keys that the section holding `place` accepts, as written in the file."""
    match place:
        case (_,):
            return [field.alias or name for name, field in Study.model_fields.items()]
        case ("schema", "columns", int(index), *_):
            return list(KINDS[document["schema"]["columns"][index]["kind"]].model_fields)
        case ("schema", *_):
            return list(Schema.model_fields)
        case ("synthesizer", *_):
            return list(settings_class(document["synthesizer"]).model_fields)
        case (section, *_) if section in _SECTIONS:
            return list(_SECTIONS[section].model_fields)
    return []
