"""The plan of a run as a value: what each hospital will release and what that costs. Made by `planner`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from common.errors import StudyError
from common.privacy.events import (
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
    Unprotected,
)
from common.privacy.quantization import QuantizationGrid, furthest_sum
from common.privacy.step import DpSgdStep

ROUNDS = "rounds"
"""The phase of training; the other phases of a run are vectors of counts."""


VOTES = "votes"
"""The phase in which patients vote for candidate rows; the phases of triples then count sets of four too."""


CLASSES = "classes"
"""The phase in which patients are counted by latent class, in several rounds."""


EVALUATION = "evaluation"
"""The phase that counts held-out patients, when the synthetic rows exist."""


IMAGE_MEANS, IMAGE_MOMENTS = "image-means", "image-moments"
"""The phases of images, which hold no tables of columns."""


def with_retries(vectors: Sequence[Event], retries: int) -> tuple[Event, ...]:
    """Return the vectors of a run, and what this number of failed attempts at masked ones may cost on top.

    A masked phase that failed stays charged, since a server might have opened it all the same, and its retry is a
    release like the first. Whichever fail, the cost is at most that of the most expensive one failing each time.
    """
    masked = [event for event in vectors if isinstance(event, DistributedGaussianVector)]
    again = [max(masked, key=lambda event: event.squared_sensitivity / event.share_sigma**2)] if masked else []
    return (*vectors, *again * retries)


TOTAL_PART = 50
"""In a vector with weights, the number of all patients gets one part in this many of the squared sensitivity. Centered
tables sum to zero, so that nothing else may say how many patients they are of."""


@dataclass(frozen=True, slots=True)
class PlannedVector:
    """One vector of counts that every hospital releases, once if nothing else is said.

    Attributes:
        name: the phase that it belongs to, of `common.planning.phases`.
        tables: upper bound on its tables. Of histograms: on the cells that one patient is in.
        groups: number of groups that the codes of each column are merged into; 0 keeps every code.
        squared_sensitivity: upper bound on the square of the L2 norm of what one patient adds, in patients; without
            weights, that is `tables`.
        largest_weight: upper bound on the weight of a table; 1 where tables have none, and are not centered.
        rounds: how often the vector is released, each time to another request; all bounds are of one release.
    """

    name: str
    tables: int
    groups: int
    squared_sensitivity: int
    largest_weight: int = 1
    rounds: int = 1

    @classmethod
    def unweighted(cls, name: str, tables: int, groups: int = 0) -> PlannedVector:
        """Return a vector whose tables all count patients.

        Args:
            name: the phase that it belongs to.
            tables: upper bound on its tables.
            groups: number of groups that codes are merged into; 0 keeps every code.
        """
        return cls(name, tables, groups, tables)

    def round_numbers(self) -> tuple[int, ...]:
        """Return the numbers of the rounds, from 1; (0,) for a vector that is released once, without rounds."""
        return tuple(range(1, self.rounds + 1)) if self.rounds > 1 else (0,)

    @property
    def has_weights(self) -> bool:
        return self.largest_weight > 1

    @property
    def for_tables(self) -> int:
        """The part of the squared sensitivity that tables share: all of it, less that of the number of all patients."""
        return self.squared_sensitivity - (self.total_weight**2 if self.has_weights else 0)

    @property
    def total_weight(self) -> int:
        """The weight of the number of all patients, which vectors with weights also hold: a fiftieth at most."""
        return min(math.isqrt(self.squared_sensitivity // TOTAL_PART), self.largest_weight)


@dataclass(frozen=True, slots=True)
class HospitalPlan:
    """What one hospital will release: the only source of its privacy parameters.

    `sigmas` are in parts of a patient (`Plan.parts`) per cell, one for each vector of the plan; `noise_multiplier` is
    in units of `clip`. All are 0 for noise mode "none"; `noise_multiplier` is 0 too where there are no rounds.
    """

    hospital: str
    sigmas: tuple[float, ...]
    noise_multiplier: float
    clip: float
    sample_rate: float
    batch: int
    steps: int

    @property
    def step(self) -> DpSgdStep:
        """One of the `steps` of a round."""
        return DpSgdStep(self.clip, self.noise_multiplier, self.batch)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a study: its vectors, its rounds, its histogram cells and bins, and every hospital's noise.

    Attributes:
        cells: upper bound on the histogram cells of a numeric column.
        bins: upper bound on the codes of a numeric column, missing not counted.
        vectors: vectors of counts, in the order of the run.
        rounds: rounds of DP-SGD, with `steps` steps each.
        hospitals: the part of each hospital, in the study's order.
        honest_hospitals: how many hospitals are sure to have added their noise to every sum that is opened; 0 where
            each hospital's own noise protects it alone. Above 0, `sigmas` are of one hospital's share of the noise, and
            vectors leave a hospital under masks only.
        retries: how many failed masked phases may be repeated.
        quantization: grid of the gradients in synchronous rounds, which are masked too: `noise_multiplier` is then
            that of one share, in units of the sensitivity on this grid. None where hospitals train by themselves, under
            their own noise.
        parts: how many a patient counts as in every vector (`Schema.parts`); 1 where a patient is one row.
    """

    fingerprint: str
    delta: float
    cells: int
    bins: int
    vectors: tuple[PlannedVector, ...]
    rounds: int
    hospitals: tuple[HospitalPlan, ...]
    honest_hospitals: int = 0
    retries: int = 0
    quantization: QuantizationGrid | None = None
    parts: int = 1

    def to_json(self) -> str:
        """Return the plan as JSON; fields at their defaults that only shared noise or visits set are left out."""
        written = asdict(self)
        unset = [name for name in ("honest_hospitals", "retries", "quantization") if not written[name]]
        unset += ["parts"] * (self.parts == 1)
        for vector in written["vectors"]:
            if vector["rounds"] == 1:
                del vector["rounds"]
        return json.dumps({name: value for name, value in written.items() if name not in unset}, sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the JSON, which an approval names."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def phases(self) -> tuple[str, ...]:
        """The names of the run's phases, in order."""
        names = [phase.name for phase in self.vectors]
        last = [name for name in names if name == EVALUATION]
        return (*names[: len(names) - len(last)], *[ROUNDS] * bool(self.rounds), *last)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return the plan that `to_json` wrote. Raises `StudyError` for anything else."""
        try:
            fields = json.loads(text)
            fields["vectors"] = tuple(PlannedVector(**phase) for phase in fields["vectors"])
            fields["hospitals"] = tuple(
                HospitalPlan(**(plan | {"sigmas": tuple(plan["sigmas"])})) for plan in fields["hospitals"]
            )
            if "quantization" in fields:
                fields["quantization"] = QuantizationGrid(**fields["quantization"])
            return cls(**fields)
        except (TypeError, KeyError, ValueError, RecursionError) as problem:
            raise StudyError(f"this is not a plan ({type(problem).__name__}); compute it from the study") from None

    def of(self, hospital: str) -> HospitalPlan | None:
        """Return the part of a hospital, or None for one outside the plan."""
        return next((plan for plan in self.hospitals if plan.hospital == hospital), None)

    def vector(self, name: str) -> PlannedVector | None:
        """Return the vector of a phase, or None if the plan does not have it."""
        return next((phase for phase in self.vectors if phase.name == name), None)

    def sigma(self, hospital: HospitalPlan, name: str) -> float:
        """Return the noise of a vector at this hospital: sigma in parts of a patient per cell."""
        return hospital.sigmas[[phase.name for phase in self.vectors].index(name)]

    def total_deviation(self, name: str) -> float:
        """Return the standard deviation of the noise in the sum over all hospitals, in patients per cell."""
        return float(sum(self.sigma(hospital, name) ** 2 for hospital in self.hospitals) ** 0.5) / self.parts

    def largest_change(self, planned: PlannedVector) -> int:
        """Return the most by which one patient changes a count of a vector, in parts."""
        return planned.largest_weight * self.parts

    @property
    def furthest_gradient(self) -> int:
        """Return a bound on the coordinates of an opened gradient sum, exceeded with negligible probability."""
        assert self.quantization, "rounds that are not synchronous"
        quantization, batches = self.quantization, [hospital.batch for hospital in self.hospitals]
        return math.ceil(furthest_sum(quantization.units, quantization.parameters, quantization.share_sigma, batches))

    def vector_event(self, hospital: HospitalPlan, name: str) -> Event:
        """Return the event that releasing a vector once, or taking part in its masked sum, costs.

        It is that of the largest vector that the plan allows, whichever tables are asked for.

        Args:
            hospital: the part of the plan that has its noise.
            name: of the phase.
        """
        sigma, planned = self.sigma(hospital, name), self.vector(name)
        assert planned is not None, "a phase of the plan"
        bounds = planned.squared_sensitivity * self.parts**2, self.largest_change(planned)
        if not sigma:
            return Unprotected()
        if self.honest_hospitals:
            return DistributedGaussianVector(sigma, self.honest_hospitals, *bounds)
        return DiscreteGaussianVector(sigma, *bounds)

    def round_event(self, hospital: HospitalPlan) -> Event:
        """Return the event that one round costs."""
        if hospital.noise_multiplier == 0:
            return Unprotected()
        if self.quantization:
            return SynchronousRun(
                hospital.noise_multiplier, self.honest_hospitals, hospital.sample_rate, hospital.steps
            )
        return DpSgdRun(hospital.noise_multiplier, hospital.sample_rate, hospital.steps)

    def events(self, hospital: HospitalPlan) -> tuple[Event, ...]:
        """Return every event of a complete run at this hospital, with all retries used up.

        Whichever phases fail, the cost is at most that of the most expensive vector and a synchronous round each time.
        """
        once = [self.vector_event(hospital, phase.name) for phase in self.vectors for _ in phase.round_numbers()]
        vectors = with_retries(once, self.retries)
        rounds = self.rounds + (self.retries if self.quantization else 0)
        return (*vectors, *[self.round_event(hospital)] * rounds)
