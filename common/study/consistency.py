"""What the sections of a study must agree on: each is valid by itself, and they may still contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.columns.base import Column
from common.omop.columns import schema_section
from common.omop.windows import straddles
from common.protocol.signing import shared_key
from common.study.courses import rules_schema
from common.study.limits import delta_problem
from common.study.rules import contradiction
from common.study.schema import Schema
from common.study.sections import HospitalFacts
from common.study.synthesizers import HistoryGanSettings, MaximumEntropySettings

if TYPE_CHECKING:
    from common.study.study import Study


MOST_ENCODER_ROUNDS = 100
"""Most rounds of counts by latent class: each is a release, and a vector that hospitals send."""


def check_sections(study: Study) -> None:
    """Raise `ValueError` where sections, each valid by itself, contradict each other; the text names both keys."""
    _check_hospitals(study)
    _check_extraction(study)
    if study.has_visits:
        _check_visits(study)
    elif isinstance(study.synthesizer, HistoryGanSettings):
        raise ValueError(
            "[synthesizer] kind = 'history-gan' is for tables of visits; add patient, time and most_visits to "
            "[schema], or choose 'marginal-gan'"
        )
    _check_columns(study)
    if study.images:
        _check_images(study)
    for hospital in study.hospitals:
        _check_budget(study, hospital)
    if study.training.rounds and not study.synthesizer.has_rounds:
        raise ValueError(
            f"[training] rounds = {study.training.rounds}: synthesizer '{study.synthesizer.kind}' does not train in "
            "rounds; set rounds = 0 or leave it out"
        )
    if study.synthesizer.latent_classes and (study.training.rounds or 0) > MOST_ENCODER_ROUNDS:
        raise ValueError(
            f"[training] rounds = {study.training.rounds}: synthesizer '{study.synthesizer.kind}' takes at most "
            f"{MOST_ENCODER_ROUNDS}; lower it or leave it out"
        )
    if study.privacy.noise == "distributed":
        _check_distributed(study)


def _check_extraction(study: Study) -> None:
    """Refuse sections about an OMOP database that are incomplete, or that contradict the others."""
    extraction = study.extraction
    if extraction is None:
        sections = ("[source]", "[study_cohort]", "[[features]]", "[visits]")
        values = (study.source, study.study_cohort, study.features, study.visits)
        first = next((section for section, value in zip(sections, values, strict=True) if value), None)
        if first is not None:
            raise ValueError(f'{first} is for studies on OMOP databases; add [source] kind = "omop" and [study_cohort]')
        return
    if study.declared != Schema.model_validate(schema_section(extraction)):
        raise ValueError("[schema] follows from [[features]] in a study on OMOP databases; remove it")
    if study.privacy.unit != "patient":
        raise ValueError('[source] kind = "omop" knows who a patient is; set [privacy] unit = "patient"')
    features = {feature.name: feature for feature in extraction.features}
    target = features.get(study.evaluation.target)
    for feature in extraction.features:
        if target is not None and straddles(feature, target):
            raise ValueError(
                f"feature '{feature.name}' has the window {list(feature.window or ())} and overlaps "
                f"{list(target.window or ())} of the target '{target.name}', whose events it would give away; end it "
                "before the target's window starts"
            )


def _check_visits(study: Study) -> None:
    """Refuse what is not done with tables of visits."""
    if study.privacy.unit != "patient":
        raise ValueError('[schema] patient names who has the visits; set [privacy] unit = "patient"')
    settings = study.synthesizer
    if not isinstance(settings, MaximumEntropySettings | HistoryGanSettings):
        raise ValueError(
            f"[synthesizer] kind = '{settings.kind}' makes no visits; choose 'maximum-entropy' or 'history-gan'"
        )
    not_done = {
        "[synthesizer] independent": settings.independent,
        "[synthesizer] triples": settings.triples,
        "[synthesizer] votes": settings.takes_votes,
        "[evaluation] private": study.evaluation.private,
        "[evaluation] time": study.evaluation.time,
    }
    setting = next((name for name, value in not_done.items() if value), None)
    if setting is not None:
        instead = "; `fedsynth site evaluate` measures at each hospital" if setting == "[evaluation] private" else ""
        raise ValueError(f"{setting} is not available for tables of visits; leave it out{instead}")


def _check_images(study: Study) -> None:
    """Refuse what is not done with images."""
    first, *others = study.images
    if others:
        raise ValueError(f"[schema] column '{others[0].name}' is a second column of images; keep one of them")
    target = study.table[study.evaluation.target]
    if not target.labels:
        raise ValueError(
            f"[schema] column '{first.name}' holds images, which are drawn by class; choose an [evaluation] target "
            f"of labels in place of '{target.name}'"
        )
    if study.has_visits:
        raise ValueError(f"[schema] column '{first.name}': images are not available for tables of visits; leave it out")
    if not study.synthesizer.counts_marginals:
        raise ValueError(
            f"[schema] column '{first.name}': images need a synthesizer that counts marginals; set it in [synthesizer]"
        )


def _check_hospitals(study: Study) -> None:
    names = [hospital.name for hospital in study.hospitals]
    if len(set(names)) < len(names):
        raise ValueError("[[hospitals]]: a hospital is listed twice; remove one")
    listed = {hospital.name: hospital.identity for hospital in study.hospitals if hospital.identity is not None}
    conflict = shared_key(listed, study.federation.coordinator)
    if conflict is not None:
        raise ValueError(conflict)
    if study.hospitals and study.federation.min_hospitals > len(study.hospitals):
        raise ValueError(
            f"[federation] min_hospitals = {study.federation.min_hospitals} exceeds the "
            f"{len(study.hospitals)} hospitals listed; lower it or list more"
        )


def _check_columns(study: Study) -> None:
    """Refuse columns that the evaluation or a rule cannot use."""
    if study.evaluation.target not in study.table.names:
        raise ValueError(
            f"[evaluation] target '{study.evaluation.target}' is not in the schema; choose one of its columns"
        )
    for name in study.evaluation.sensitive:
        if name not in study.table.names:
            raise ValueError(f"[evaluation] sensitive column '{name}' is not in the schema; remove it or declare it")
    target = study.table[study.evaluation.target]
    if target.target_problem is not None:
        raise ValueError(f"[evaluation] target '{target.name}' {target.target_problem}")
    if study.evaluation.time is not None:
        _check_time(study, study.evaluation.time, target)
    table = rules_schema(study.declared)
    for rule in study.rules:
        for name in (rule.left, rule.right):
            if name not in table.names or table[name].grid is None:
                raise ValueError(f"[[rules]] '{rule}': '{name}' is not a numeric column of the schema; correct it")
        left, right = (table[name].scale for name in (rule.left, rule.right))
        if left != right:
            raise ValueError(
                f"[[rules]] '{rule}' compares {left or 'numbers'} with {right or 'numbers'}; give both the same kind "
                "and resolution, or use since"
            )
    if (conflict := contradiction(study.rules, table)) is not None:
        raise ValueError(f"[[rules]] {conflict}")
    if study.courses and not study.has_visits:
        raise ValueError("[[courses]] is for tables of visits; add patient, time and most_visits to [schema]")
    if problem := next((problem for course in study.courses if (problem := course.problem(study.table))), None):
        raise ValueError(f"[[courses]] {problem}")
    _check_rows(study)


def _check_rows(study: Study) -> None:
    """Refuse columns that cannot be written for as many rows as the hospitals declare together."""
    rows = sum(hospital.declared_rows for hospital in study.hospitals)
    for column in study.table.columns:
        if column.max_rows is not None and column.max_rows < rows:
            raise ValueError(
                f"[schema] column '{column.name}' can be written for {column.max_rows} rows, and the hospitals declare "
                f"{rows} together; add a # or ? to its pattern"
            )


def _check_budget(study: Study, hospital: HospitalFacts) -> None:
    problem = delta_problem(study.privacy.delta, hospital.declared_rows, f" of hospital '{hospital.name}'")
    if problem is not None:
        raise ValueError(f"[privacy] {problem}")
    if hospital.epsilon is not None and hospital.epsilon > study.privacy.epsilon:
        raise ValueError(
            f"[[hospitals]] '{hospital.name}': epsilon = {hospital.epsilon:g} exceeds [privacy] epsilon = "
            f"{study.privacy.epsilon:g}, which every hospital meets; lower it or remove the line"
        )


def _check_time(study: Study, time: str, target: Column) -> None:
    grid = study.table[time].grid if time in study.table.names else None
    if grid is None:
        raise ValueError(f"[evaluation] time '{time}' is not a numeric column of the schema; correct it")
    if grid.calendar is not None:
        raise ValueError(
            f"[evaluation] time '{time}' is a date, not how long a patient was followed; declare since, least and most "
            "for it, or name another column"
        )
    if len(target.labels) != 2:
        raise ValueError(
            f"[evaluation] time needs a target of two categories, the last of which is the event; '{target.name}' "
            "is not one; choose another target or drop time"
        )


def _check_distributed(study: Study) -> None:
    """Refuse settings that shared noise does not support, and thresholds at which masking would not protect."""
    federation, hospitals = study.federation, len(study.hospitals)
    if federation.aggregation != "mean":
        raise ValueError(
            f"[federation] aggregation = '{federation.aggregation}' needs each hospital's own update, "
            "which distributed noise does not protect; use 'mean' or [privacy] noise = 'local'"
        )
    own = next((hospital.name for hospital in study.hospitals if hospital.epsilon is not None), None)
    if own is not None:
        raise ValueError(
            f"[[hospitals]] '{own}' has an epsilon of its own, and distributed noise is one draw for all; remove "
            "the line, lower [privacy] epsilon, or use noise = 'local'"
        )
    if not hospitals:
        return
    if 2 * study.threshold <= hospitals + federation.colluders:
        raise ValueError(
            f"[privacy] noise = 'distributed' needs 2 x (hospitals - dropouts) > hospitals + colluders, and "
            f"[federation] has {hospitals} hospitals, dropouts = {federation.dropouts}, colluders = "
            f"{federation.colluders}: the server could open two sums; lower them, list more hospitals, or use "
            "noise = 'local'"
        )
    if federation.min_hospitals > study.threshold:
        raise ValueError(
            f"[federation] min_hospitals = {federation.min_hospitals} exceeds the {study.threshold} hospitals that "
            f"are left after {federation.dropouts} dropouts; lower one of them"
        )
