"""The sections of a study file. Each class is one section; its docstring names it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from common.protocol.signing import PUBLIC_KEY
from common.settings import Frozen, Readable, is_unset
from common.study.limits import DeclaredRows, epsilon_problem, planning_problem

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"
Unit = Literal["patient", "record"]
NoiseMode = Literal["local", "distributed", "none"]
AggregationKind = Literal["mean", "median", "trimmed-mean", "krum"]


class About(Frozen):
    """`[study]`: its name, and the seed of all randomness that does not protect patients.

    A `rehearsal` tries out a deployment on records that need no protection: the noise of its sites may be predictable.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    seed: int = Field(default=0, ge=0)
    origin: Literal["written", "drafted"] = "written"
    rehearsal: bool = False
    description: Readable | None = None


class HospitalFacts(Frozen):
    """`[[hospitals]]`: public facts only. `declared_rows` has two significant digits: it is no count.

    `identity` is the key that signs the hospital's replies: where one is listed, a coordinator accepts no reply without
    its signature. A hospital may set an `epsilon` of its own below the study's; then its noise alone is larger.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    declared_rows: DeclaredRows = Field(ge=1)
    identity: str | None = Field(default=None, pattern=PUBLIC_KEY)
    epsilon: float | None = Field(default=None, gt=0, exclude_if=is_unset)


class Training(Frozen):
    """`[training]`: how often hospitals exchange weights, and how many steps each takes in between.

    The planner chooses `rounds` where the study does not; with 0 only noisy marginals are released. A VAE has rounds of
    counts, which take no `steps` or `batch`.
    """

    rounds: int | None = Field(default=None, ge=0, le=10_000)
    steps: int = Field(default=20, ge=1, le=100_000)
    batch: int = Field(default=2000, ge=1)


def _usable_weight(weight: float) -> float:
    if 0 < weight < 1e-6:
        raise ValueError("a weight is 0 or at least 0.000001; drop the phase or give it more")
    return weight


Weight = Annotated[float, Field(ge=0, le=1e6), AfterValidator(_usable_weight)] | None


class Budget(Frozen):
    """`[budget]`: weights of the phases, by which the privacy budget is divided in units of 1 / sigma^2.

    A phase gets its weight over the sum of the weights of all phases of the run; only their ratios matter. The planner
    chooses those that are not given. `histograms` weighs the histograms of all columns; `coarse` all pairs in groups;
    `pairs` all pairs again, each as precisely as it is worth; `votes` the votes for rows of the model; `coarse-triples`
    and `triples` the tables of three and four columns; `transitions` and `cross-transitions` the tables of a column at
    a visit and of the same or another one at the next; `image_means` and `image_moments` the two sums of images;
    `classes` all encoder rounds of a VAE together; `adversary` the training rounds of a GAN; `evaluation` what
    `[evaluation] private` asks for.
    """

    histograms: Weight = None
    coarse: Weight = None
    pairs: Weight = None
    votes: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    coarse_triples: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    triples: Weight = None
    transitions: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    cross_transitions: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    image_means: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    image_moments: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    classes: Weight = Field(default=None, exclude_if=lambda weight: weight is None)
    adversary: Weight = None
    evaluation: Weight = Field(default=None, exclude_if=lambda weight: weight is None)

    def weight_of(self, key: str, default: float) -> float:
        """Return the budget weight of a phase by its key, or the default where the study sets none."""
        weight: float | None = getattr(self, key, None)
        return default if weight is None else weight

    @property
    def is_fixed(self) -> bool:
        """Return whether the study itself sets the budget weight of anything that the table is made from."""
        return any(value is not None for value in self.model_dump(exclude={"evaluation"}).values())


class Privacy(Frozen):
    """`[privacy]`: everything that changes the guarantee, and nothing else.

    `unit` is what one row stands for: "patient" only where every hospital says so, in its site.toml, by a column that
    identifies the patient or by `one_row_per_patient`. An epsilon above 20 needs `allow_large_epsilon`.
    """

    unit: Unit = "record"
    epsilon: float = Field(gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    noise: NoiseMode = "local"
    clip: float = Field(default=1.0, ge=1e-12, le=1e6)
    allow_large_epsilon: bool = Field(default=False, exclude_if=is_unset)

    @model_validator(mode="after")
    def _check(self) -> Self:
        problem = epsilon_problem("[privacy] epsilon", self.epsilon, is_allowed=self.allow_large_epsilon)
        problem = problem or planning_problem("[privacy] epsilon", self.epsilon)
        if problem is not None and self.noise != "none":
            raise ValueError(problem)
        return self


class FederationRules(Frozen):
    """`[federation]`: how many hospitals take part, how long to wait, how updates are combined, who signs requests.

    `coordinator` is the key that signs every request; a site's agent takes part without one in rehearsals only.
    With distributed noise, `dropouts` is how many hospitals may drop out, `colluders` how many may reveal to the server
    what they know (at least 1: every hospital knows its own part of the noise), and `retries` how many further attempts
    at failed phases are planned.
    """

    aggregation: AggregationKind = "mean"
    min_hospitals: int = Field(default=2, ge=1)
    dropouts: int = Field(default=0, ge=0)
    colluders: int = Field(default=1, ge=1)
    retries: int = Field(default=0, ge=0, le=100, exclude_if=is_unset)
    round_deadline_s: float = Field(default=600.0, gt=0)
    coordinator: str | None = Field(default=None, pattern=PUBLIC_KEY)


class EvaluationSettings(Frozen):
    """`[evaluation]`: the column to predict, the groups to compare, the fraction of patients held out.

    Where `time` names a column of numbers, the target is also a survival outcome: its last category is the event, and
    `time` is how long a patient was followed until then. With `private`, a part of the budget measures the synthetic
    table against the held-out patients at the hospitals (`common.planning.evaluation`).
    """

    target: str
    time: str | None = Field(default=None, exclude_if=is_unset)
    sensitive: tuple[str, ...] = Field(default=(), strict=False)
    holdout_fraction: float = Field(default=0.2, ge=0, lt=1)
    private: bool = Field(default=False, exclude_if=is_unset)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.private and not self.holdout_fraction:
            raise ValueError(
                "[evaluation] private = true needs patients who are held out; set holdout_fraction above 0, or leave "
                "private out"
            )
        return self
