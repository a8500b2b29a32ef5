"""What the coordinator and every hospital know of a run: study, plan and released sums. All of it is public."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock

import numpy as np

from common.arrays import Integers
from common.columns.binning import Binning
from common.encoding import Encoder
from common.errors import WireError
from common.marginals.queries import Domain
from common.marginals.released import NOTHING_ASKED, Asked, ReleasedMarginals
from common.planning.plan import Plan, PlannedVector
from common.study.study import Study

HISTOGRAMS = "histograms"
"""The phase whose sums define how numeric columns are encoded."""

EncodingKey = tuple[str, int, int]
"""Tells encodings of one study apart: SHA-256 (hex) of the released histograms, `Plan.cells` and `Plan.bins`."""

ENCODINGS_KEPT = 2
"""Number of encodings that a process caches. In a simulation, the coordinator and all hospitals use the same one."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """An encoder and the codes of its columns. All `PublicRun` values of a process with the same sums share one."""

    encoder: Encoder
    domain: Domain


_kept: dict[tuple[str, EncodingKey, float], Encoding] = {}
_keeping = Lock()


@dataclass(frozen=True, eq=False)
class PublicRun:
    """One run as far as it has come.

    Args:
        released: sums of the phases so far, or those of them that a request carries.
    """

    study: Study
    plan: Plan
    released: ReleasedMarginals = field(default_factory=ReleasedMarginals)

    def after(self, phase: str, counts: Integers, asked: Asked = NOTHING_ASKED) -> PublicRun:
        """Return the run with the sums of one more phase, or of one more round of it.

        Args:
            phase: name of the phase.
            counts: its noisy counts, summed over hospitals, int64; in parts of patients, which become whole patients.
            asked: tables that the coordinator chose; none where they follow from the plan.
        """
        if self.plan.parts > 1:
            counts = np.rint(counts / self.plan.parts).astype(np.int64)
        planned = self.plan.vector(phase)
        if planned is not None and planned.rounds > 1:
            return replace(self, released=self.released.with_round(phase, counts, asked))
        return replace(self, released=self.released.with_phase(phase, counts, asked))

    def planned(self, phase: str) -> PlannedVector:
        """Return what the plan says about a vector.

        Raises:
            WireError: the plan has no such vector.
        """
        planned = self.plan.vector(phase)
        if planned is None:
            raise WireError(f"the plan has no vector '{phase}'")
        return planned

    @property
    def encoder(self) -> Encoder:
        """The encoder that the released histograms define; the coordinator and every hospital make the same one."""
        return self._encoding.encoder

    @cached_property
    def encoding_key(self) -> EncodingKey:
        """What the encoder depends on besides the study."""
        histograms = np.ascontiguousarray(self.released.counts(HISTOGRAMS))
        return hashlib.sha256(histograms.tobytes()).hexdigest(), self.plan.cells, self.plan.bins

    @property
    def domain(self) -> Domain:
        """The codes of every column under `encoder`."""
        return self._encoding.domain

    @cached_property
    def _encoding(self) -> Encoding:
        """Encoder and domain, from the cache of the process if study, histograms and binning are the same."""
        plan = self.plan
        deviation = plan.total_deviation(HISTOGRAMS) if plan.vector(HISTOGRAMS) else 0.0
        key = self.study.fingerprint, self.encoding_key, deviation
        with _keeping:
            if key not in _kept:
                binning = Binning(plan.cells, plan.bins, deviation)
                encoder = Encoder(self.study.table, self.released.counts(HISTOGRAMS), binning)
                if len(_kept) >= ENCODINGS_KEPT:
                    del _kept[next(iter(_kept))]
                _kept[key] = Encoding(encoder, Domain.of(encoder))
            return _kept[key]
