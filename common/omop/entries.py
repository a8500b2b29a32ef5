"""What a person writes for `values` and `window` of a study on OMOP databases, checked before its types are."""

from __future__ import annotations

from typing import Any

LARGEST_CONCEPT = 2**31 - 1
"""Concept ids are 32-bit integers; those above two billion are a hospital's own."""


def check_values(values: Any, whose: str) -> dict[str, tuple[int, ...]]:
    """Return the concepts of every label; one number stands for a list of one.

    Args:
        values: what the study says.
        whose: the feature, for messages.

    Raises:
        ValueError: it is no table of labels and concept ids.
    """
    example = "write values = { female = 8532, male = [8507] }"
    if not isinstance(values, dict):
        raise ValueError(f"{whose}: values is no table of labels with their concept ids; {example}")
    listed = {label: tuple(of if isinstance(of, list | tuple) else (of,)) for label, of in values.items()}
    for label, concepts in listed.items():
        if 0 in concepts and all(type(concept) is int for concept in concepts):
            remedy = "leave it out: such values are missing"
            raise ValueError(f"{whose}: label '{label}' has concept 0, which stands for no concept; {remedy}")
        if not all(type(concept) is int and 1 <= concept <= LARGEST_CONCEPT for concept in concepts):
            raise ValueError(
                f"{whose}: label '{label}' has something else than concept ids, which are whole numbers from 1 to "
                f"{LARGEST_CONCEPT} without quotes; {example}"
            )
    return listed


def check_window(window: Any, whose: str) -> Any:
    """Return the first and the last day of a window, or None where there is none.

    Args:
        window: what the study says.
        whose: the feature, or `[visits]`, for messages.

    Raises:
        ValueError: it is not two whole numbers, or ends before it starts.
    """
    if window is None:
        return None
    is_pair = isinstance(window, list | tuple) and len(window) == 2 and all(type(day) is int for day in window)
    if not is_pair:
        raise ValueError(f"{whose}: window is not two whole numbers of days; write such as window = [-365, 0]")
    if window[0] > window[1]:
        raise ValueError(f"{whose}: window = [{window[0]}, {window[1]}] ends before it starts; write the earlier first")
    return window
