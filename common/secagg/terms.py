"""The terms of masked phases: who takes part, how many must stay, and how many open a sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from common.errors import StudyError
from common.protocol.signing import Identity, shared_key
from common.study.study import Study

MOST_ROWS_FACTOR = 2
"""Counts are cut at this multiple of the hospital's declared rows before noise is added, so that sums stay within the
range of masked integers, whatever a table holds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions that every hospital enforces in a masked phase.

    Attributes:
        identities: every hospital's public key, by name.
        survivors: fewest hospitals that a sum may be opened over; the honest ones among them supply the whole noise.
        threshold: number of hospitals that must help to open a sum.
        colluders: largest number of hospitals that may side with the coordinator.

    Raises:
        StudyError: two hospitals have one key, the threshold is at most half of hospitals and colluders together, or
            the survivors are fewer than the threshold or more than the hospitals.
    """

    identities: Mapping[str, str]
    survivors: int
    threshold: int
    colluders: int

    def __post_init__(self) -> None:
        _check_distinct(self.identities, None)
        hospitals = len(self.identities)
        # An honest hospital opens for one set of survivors only: two sets of `threshold`, with the colluders in both,
        # must have an honest hospital in common.
        if 2 * self.threshold <= hospitals + self.colluders:
            raise StudyError(
                f"[federation] {hospitals} hospitals with colluders = {self.colluders} need more than "
                f"{(hospitals + self.colluders) / 2:g} to open a sum, and the threshold is {self.threshold}: lower "
                "dropouts or list more hospitals"
            )
        if not self.threshold <= self.survivors <= hospitals:
            raise StudyError(
                f"[federation] {self.threshold} hospitals open a sum and {self.survivors} of {hospitals} are sure to "
                "stay; lower the threshold or dropouts"
            )

    @classmethod
    def of(cls, study: Study, identities: Mapping[str, str]) -> Self:
        """Return the study's terms. Every hospital that is sure to stay must help to open a sum.

        Args:
            study: study that lists its hospitals.
            identities: every hospital's public key, by name.

        Raises:
            StudyError: two hospitals have one key, or one has the coordinator's.
        """
        _check_distinct(identities, study.federation.coordinator)
        return cls(dict(sorted(identities.items())), study.threshold, study.threshold, study.federation.colluders)

    @property
    def hospitals(self) -> tuple[str, ...]:
        """The names of the hospitals, sorted."""
        return tuple(sorted(self.identities))

    def point(self, hospital: str) -> int:
        """Return the point at which a hospital's shares are evaluated, from 1 on."""
        return 1 + self.hospitals.index(hospital)


def _check_distinct(identities: Mapping[str, str], coordinator: str | None) -> None:
    """Raise `StudyError` unless every hospital has a key of its own: masks between names of one party hide nothing."""
    conflict = shared_key(identities, coordinator)
    if conflict is not None:
        raise StudyError(conflict)


def listed_identities(study: Study) -> dict[str, str]:
    """Return the public keys that a study lists, by hospital.

    Raises:
        StudyError: it lists none for one of its hospitals.
    """
    missing = [facts.name for facts in study.hospitals if facts.identity is None]
    if missing:
        raise StudyError(
            f"[[hospitals]] '{missing[0]}' has no identity, and distributed noise needs one of every hospital; add "
            "what `fedsynth site init` printed there"
        )
    return {facts.name: str(facts.identity) for facts in study.hospitals}


def simulated_identities(study: Study) -> dict[str, str]:
    """Return the public keys of hospitals that are simulated on one machine, whatever keys the study lists."""
    return {facts.name: Identity.simulated(study.seed, facts.name).public for facts in study.hospitals}


def most_rows(study: Study, hospital: str) -> int:
    """Return the largest count that this hospital may answer with; higher ones are cut before noise is added."""
    facts = study.hospital(hospital)
    assert facts is not None, "a hospital outside the study"
    return MOST_ROWS_FACTOR * facts.declared_rows
