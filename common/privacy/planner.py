"""The plan of a run: every noise parameter, rate and limit, computed from public facts before any record is read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache

from common.errors import StudyError
from common.privacy import accountant
from common.privacy.events import DiscreteGaussianVector, DpSgdRun, Event, Unprotected
from common.study import Study

HISTOGRAM_SHARE = 0.15
"""Part of the budget, in units of 1 / sigma^2, that buys bin edges."""

MAX_SAMPLE_RATE = 0.25
"""A batch holds at most a quarter of a hospital's patients; above that, subsampling amplifies too little to pay."""

MIN_CELLS, MAX_CELLS = 16, 512


@dataclass(frozen=True, slots=True)
class HospitalPlan:
    """What one hospital will release: the only source of its privacy parameters.

    `histogram_sigma` is in patients per cell, `noise_multiplier` in units of `clip`; both are 0 for noise mode "none".
    """

    hospital: str
    histogram_sigma: float
    noise_multiplier: float
    clip: float
    sample_rate: float
    batch: int
    rounds: int
    steps: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a study: what each hospital will be charged, and the resolution of the histograms.

    `cells` bounds the histogram cells per numeric column; `numeric` is the number of numeric columns, which is how
    many cells one patient can fall in.
    """

    fingerprint: str
    delta: float
    cells: int
    numeric: int
    hospitals: tuple[HospitalPlan, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote. Raises `StudyError` for anything else."""
        try:
            fields = json.loads(text)
            fields["hospitals"] = tuple(HospitalPlan(**plan) for plan in fields["hospitals"])
            return cls(**fields)
        except (TypeError, KeyError, ValueError) as problem:
            raise StudyError(f"this is not a plan ({type(problem).__name__}); make it from the study") from None

    def of(self, hospital: str) -> HospitalPlan | None:
        return next((plan for plan in self.hospitals if plan.hospital == hospital), None)

    def histogram_event(self, hospital: HospitalPlan) -> Event:
        if hospital.histogram_sigma == 0:
            return Unprotected()
        return DiscreteGaussianVector(sigma=hospital.histogram_sigma, changed=max(1, self.numeric))

    def round_event(self, hospital: HospitalPlan) -> Event:
        if hospital.noise_multiplier == 0:
            return Unprotected()
        return DpSgdRun(hospital.noise_multiplier, hospital.sample_rate, hospital.steps)

    def events(self, hospital: HospitalPlan) -> tuple[Event, ...]:
        """Every event of a complete run at this hospital."""
        histograms = (self.histogram_event(hospital),) if self.numeric else ()
        return histograms + (self.round_event(hospital),) * hospital.rounds


def make_plan(study: Study) -> Plan:
    """The plan that the study leads to; the same study gives the same plan at every site.

    Each hospital meets the study's (epsilon, delta) exactly: histograms take `HISTOGRAM_SHARE`, the rounds the rest.

    Raises:
        StudyError: no hospitals are listed, or nothing would be released at all.
    """
    if not study.hospitals:
        raise StudyError("the study lists no [[hospitals]]; add each one's name and declared_rows")
    numeric, training, privacy = len(study.table.numeric), study.training, study.privacy
    if not numeric and not training.rounds:
        raise StudyError("[training] rounds = 0 and no numeric column: nothing would be learnt; raise rounds")
    plans = []
    for hospital in study.hospitals:
        rows = study.training_rows(hospital)
        batch = max(1, min(training.batch, math.floor(rows * MAX_SAMPLE_RATE)))
        rate = min(batch / rows, MAX_SAMPLE_RATE)
        sigma, multiplier = 0.0, 0.0
        if privacy.noise != "none":
            try:
                steps = training.rounds * training.steps
                sigma, multiplier = _noise(privacy.epsilon, privacy.delta, numeric, rate, steps)
            except ValueError:
                raise StudyError(
                    f"[privacy] epsilon = {privacy.epsilon:g} is too small for any amount of noise; raise it"
                ) from None
        plans.append(
            HospitalPlan(hospital.name, sigma, multiplier, privacy.clip, rate, batch, training.rounds, training.steps)
        )
    return Plan(study.fingerprint, privacy.delta, _cells(study, plans), numeric, tuple(plans))


@lru_cache(maxsize=256)
def _noise(epsilon: float, delta: float, numeric: int, rate: float, steps: int) -> tuple[float, float]:
    """Histogram sigma and DP-SGD noise multiplier that together spend (epsilon, delta)."""
    histograms: tuple[Event, ...] = ()
    sigma = 0.0
    if numeric:
        share = HISTOGRAM_SHARE if steps else 1.0
        root = math.sqrt(numeric)
        whole = accountant.calibrate(lambda s: [DiscreteGaussianVector(s * root, numeric)], epsilon, delta)
        sigma = whole * root / math.sqrt(share)
        histograms = (DiscreteGaussianVector(sigma, numeric),)
    if not steps:
        return sigma, 0.0
    multiplier = accountant.calibrate(lambda m: [*histograms, DpSgdRun(m, rate, steps)], epsilon, delta)
    return sigma, multiplier


def _cells(study: Study, plans: list[HospitalPlan]) -> int:
    """Histogram cells per column: as many as keep the average cell above half the noise of the sum."""
    rows = sum(study.training_rows(hospital) for hospital in study.hospitals)
    noise = math.sqrt(sum(plan.histogram_sigma**2 for plan in plans))
    return int(min(MAX_CELLS, max(MIN_CELLS, 2 * rows / noise if noise else MAX_CELLS)))
