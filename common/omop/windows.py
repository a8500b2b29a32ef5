"""Windows of two features that do not fit each other: events that count twice, and features that leak the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.omop.definitions import Feature


def straddles(feature: Feature, target: Feature) -> bool:
    """Return whether a feature begins before the target's window and reaches into it, so that it would leak the target.

    Args:
        feature: another feature.
        target: the feature that is predicted, whose window starts at the index date or later.
    """
    if feature.window is None or target.window is None or target.window[0] < 0:
        return False
    return feature.window[0] < target.window[0] <= feature.window[1]


def refuse_overlap(feature: Feature, other: Feature) -> None:
    """Raise `ValueError` if two features summarize the same events in the same way in windows that overlap."""
    alike = (feature.domain, feature.summary) == (other.domain, other.summary)
    if feature.window is None or other.window is None or not alike:
        return
    are_apart = max(feature.window[0], other.window[0]) > min(feature.window[1], other.window[1])
    shared = set(feature.concepts) & set(other.concepts)
    if not are_apart and (shared or not (feature.concepts and other.concepts)):
        concept = f"concept {min(shared)}" if shared else f"every {feature.domain}"
        first, second = sorted((feature, other), key=lambda feature: (feature.window, feature.name))
        raise ValueError(
            f"features '{first.name}' and '{second.name}' both summarize {concept}, and their windows "
            f"{list(first.window or ())} and {list(second.window or ())} overlap: an event would count twice; let one "
            "window end before the other starts"
        )
