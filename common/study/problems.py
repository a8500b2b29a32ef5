"""What is wrong with the document of a study, place by place, for forms that show it at its field."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from common.settings import Place, explain_each
from common.study.study import Study, known_keys


def problems_of(document: dict[str, Any]) -> list[tuple[Place, str]]:
    """Return what is wrong with the document of a study file: where, and in words with the remedy. Empty if valid."""
    try:
        Study.model_validate(document)
    except ValidationError as problem:
        return explain_each(problem, lambda place: known_keys(document, place))
    return []
