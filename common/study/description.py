"""What a study is about, in words: its rows, its visits, its images, its database, and the rules that rows meet."""

from __future__ import annotations

from collections.abc import Sequence

from common.columns.image import Image
from common.omop.words import sentences_about
from common.study.study import Study

MOST_NAMES = 12
"""Most names that a sentence lists."""

KEPT = {None: "the first", "first": "the first", "last": "the last", "thinned": "evenly spaced"}
"""Which visits are kept where a patient has too many, by `keep_visits`."""


def describe_study(study: Study) -> list[str]:
    """Return sentences about what a study's rows are, and what is special about them.

    Nothing here depends on a record: all of it stands in the study file.
    """
    declared = study.declared
    target = f"Models are to predict '{study.evaluation.target}'."
    if study.evaluation.time is not None:
        target = f"{target} It is also a survival outcome, followed for as long as '{study.evaluation.time}' says."
    lines = [*_rows(study), target, *(_image(column) for column in study.images)]
    if study.extraction is not None:
        lines += sentences_about(study.extraction)
    if study.rules:
        held = "In every synthetic visit" if study.has_visits else "In every synthetic row"
        lines.append(f"{held}: {_listed([str(rule) for rule in study.rules])}.")
    if study.courses:
        lines.append(f"From visit to visit: {_listed([str(course) for course in study.courses])}.")
    unread = [column.name for column in declared.columns if not column.modeled]
    if unread:
        lines.append(f"No hospital reads {_listed(unread)}: the study says what synthetic rows hold there.")
    return lines


def _rows(study: Study) -> list[str]:
    """Return what a row is; of a study of visits, which visits are counted and what each column is about."""
    declared = study.declared
    if not study.has_visits:
        unit = "patient" if study.privacy.unit == "patient" else "record, and a patient may have several"
        return [f"A row is a {unit}."]
    assert declared.patient is not None, "a study of visits"
    kept = KEPT[declared.keep_visits]
    others = [column for column in declared.columns if column.name != declared.time]
    of_patient = [column.name for column in others if column.per == "patient"]
    of_visit = [column.name for column in others if column.per != "patient"]
    timed = "is synthesized too" if declared.time_column is not None else "only orders them"
    if declared.interval is not None:
        timed = f"of the first visit is synthesized, and the others follow every {declared.interval:g}"
    lines = [
        f"A row is a visit. '{declared.patient}' says whose it is, and '{declared.time}' when; the time {timed}.",
        f"At most {declared.most_visits} visits of a patient are counted, {kept} ones where there are more. All visits "
        "of a patient together weigh as much as one patient, and are protected together.",
    ]
    if of_patient:
        lines.append(f"The same at all visits of a patient: {_listed(of_patient)}.")
    return [*lines, f"Of each visit: {_listed(of_visit)}."]


def _image(column: Image) -> str:
    rows, columns = column.size
    several = "one image" if column.most_images == 1 else f"up to {column.most_images} images"
    scores = "score, its brightness, is" if column.scores == 1 else f"{column.scores} scores are"
    return (
        f"'{column.name}' is {several} of each patient, gray, {rows} x {columns} pixels. No image leaves a hospital: "
        f"it sends noisy sums of {column.frequencies} coarse features of all its images. The first {scores} counted "
        "together with the other columns, so that a synthetic image fits its row."
    )


def _listed(names: Sequence[str]) -> str:
    """Return names with commas in between, the first `MOST_NAMES` of them."""
    more = f", and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
