"""The study: one TOML file that everybody reads, agreed by people, parsed once, and identified by its fingerprint."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    model_validator,
)

from common.errors import StudyError
from common.protocol.signing import PUBLIC_KEY, shared_key
from common.study.rules import Rule
from common.study.schema import Categorical, Frozen, Numeric, Readable, Schema, is_unset

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"
NoiseMode = Literal["local", "distributed", "none"]
AggregationKind = Literal["mean", "median", "trimmed-mean", "krum"]


class About(Frozen):
    """`[study]`: what it is called and the seed of everything that protects nobody.

    A `rehearsal` tries out a deployment on records that need no protection: its sites' noise may be predictable.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    seed: int = Field(default=0, ge=0)
    origin: Literal["written", "drafted"] = "written"
    rehearsal: bool = False
    description: Readable | None = None


class HospitalFacts(Frozen):
    """`[[hospitals]]`: public facts only. `declared_rows` is a rounded figure, not a count.

    `identity` is the key that signs its replies: a coordinator takes nothing in its name without, where one is listed.
    A hospital may set an `epsilon` of its own below the study's; its noise alone grows.
    """

    name: str = Field(pattern=SLUG, max_length=64)
    declared_rows: int = Field(ge=1)
    identity: str | None = Field(default=None, pattern=PUBLIC_KEY)
    epsilon: float | None = Field(default=None, gt=0, exclude_if=is_unset)


FIT_STEPS = 1500
"""Of the fit to the measurements, where the study does not say."""


class SynthesizerSettings(Frozen):
    """`[synthesizer]`: the networks and what measurements them. Nothing here changes the guarantee.

    `marginal_weight = 0` is the plain DP-GAN, `coarse_pairs = false` counts single columns only. The planner chooses
    `bins`, `pairs` and `triples` where they are not given. The default `fit_steps` are doubled where there is little
    noise and no rounds follow; any others are taken as given.
    """

    kind: Literal["marginal-gan"] = "marginal-gan"
    marginal_weight: float = Field(default=20.0, ge=0)
    generator: Literal["prototypes", "mlp"] = "prototypes"
    prototypes: int = Field(default=1000, ge=1, le=100_000)
    hidden: int = Field(default=64, ge=1, le=4096)
    fit_steps: int = Field(default=FIT_STEPS, ge=1, le=100_000)
    coarse_pairs: bool = True
    bins: int | None = Field(default=None, ge=2, le=256)
    pairs: int | None = Field(default=None, ge=0)
    triples: int | None = Field(default=None, ge=0)


class Training(Frozen):
    """`[training]`: how often hospitals exchange weights and how far each goes in between.

    The planner chooses `rounds` where they are not given; 0 is measurements alone.
    """

    rounds: int | None = Field(default=None, ge=0, le=10_000)
    steps: int = Field(default=20, ge=1, le=100_000)
    batch: int = Field(default=2000, ge=1)


def _usable_share(share: float) -> float:
    if 0 < share < 1e-6:
        raise ValueError("a share is 0 or at least 0.000001; drop the phase or give it more")
    return share


Share = Annotated[float, Field(ge=0, le=1e6), AfterValidator(_usable_share)] | None


class Budget(Frozen):
    """`[budget]`: relative shares of the privacy budget, in units of 1 / sigma^2; the planner's where not given.

    `singles` is of the vector of single columns beside the coarse one, which 0 leaves out and any other share asks for.
    """

    histograms: Share = None
    coarse: Share = None
    singles: Share = Field(default=None, exclude_if=lambda share: share is None)
    pairs: Share = None
    triples: Share = None
    adversary: Share = None

    def share(self, part: str, default: float) -> float:
        given: float | None = getattr(self, part)
        return default if given is None else given

    @property
    def is_fixed(self) -> bool:
        return any(value is not None for value in self.model_dump().values())


class Privacy(Frozen):
    """`[privacy]`: everything that changes the guarantee, and nothing else."""

    unit: Literal["patient"] = "patient"
    epsilon: float = Field(gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    noise: NoiseMode = "local"
    clip: float = Field(default=1.0, ge=1e-12, le=1e6)


class FederationRules(Frozen):
    """`[federation]`: how many must be present, how long to wait, how updates become one, who may ask.

    `coordinator` is the key that signs every request; a site's agent takes part without one in rehearsals only.
    With distributed noise `dropouts` hospitals may vanish, `colluders` may tell the server what they know (at least 1:
    every hospital knows its own share of the noise), and `retries` further attempts at failed phases are planned.
    """

    aggregation: AggregationKind = "mean"
    min_hospitals: int = Field(default=2, ge=1)
    dropouts: int = Field(default=0, ge=0)
    colluders: int = Field(default=1, ge=1)
    retries: int = Field(default=0, ge=0, le=100, exclude_if=is_unset)
    round_deadline_s: float = Field(default=600.0, gt=0)
    coordinator: str | None = Field(default=None, pattern=PUBLIC_KEY)


class EvaluationSettings(Frozen):
    """`[evaluation]`: the column to predict, the groups to compare, the patients kept aside.

    Where `time` names a numeric column, the target is also a survival outcome: its last category is the event, and
    `time` is how long a patient was followed until then.
    """

    target: str
    time: str | None = Field(default=None, exclude_if=is_unset)
    sensitive: tuple[str, ...] = Field(default=(), strict=False)
    holdout_fraction: float = Field(default=0.2, ge=0, lt=1)


class Study(Frozen):
    """A whole study. `table` is the `[schema]` section."""

    about: About = Field(alias="study")
    table: Schema = Field(alias="schema")
    hospitals: tuple[HospitalFacts, ...] = Field(default=(), strict=False)
    synthesizer: SynthesizerSettings = SynthesizerSettings()
    training: Training = Training()
    budget: Budget = Budget()
    privacy: Privacy
    federation: FederationRules = FederationRules()
    evaluation: EvaluationSettings
    rules: tuple[Rule, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [hospital.name for hospital in self.hospitals]
        if len(set(names)) < len(names):
            raise ValueError("[[hospitals]]: a hospital is listed twice; remove one")
        listed = {hospital.name: hospital.identity for hospital in self.hospitals if hospital.identity is not None}
        conflict = shared_key(listed, self.federation.coordinator)
        if conflict is not None:
            raise ValueError(conflict)
        if self.hospitals and self.federation.min_hospitals > len(self.hospitals):
            raise ValueError(
                f"[federation] min_hospitals = {self.federation.min_hospitals} exceeds the "
                f"{len(self.hospitals)} hospitals listed; lower it or list more"
            )
        if self.evaluation.target not in self.table.names:
            raise ValueError(
                f"[evaluation] target '{self.evaluation.target}' is not in the schema; choose one of its columns"
            )
        for name in self.evaluation.sensitive:
            if name not in self.table.names:
                raise ValueError(
                    f"[evaluation] sensitive column '{name}' is not in the schema; remove it or declare it"
                )
        target = self.table[self.evaluation.target]
        if isinstance(target, Categorical) and len(target.categories) < 2:
            raise ValueError(f"[evaluation] target '{target.name}' has one category only; there is nothing to predict")
        if self.evaluation.time is not None:
            self._check_time(self.evaluation.time, target)
        for rule in self.rules:
            for name in (rule.left, rule.right):
                if name not in self.table.names or not isinstance(self.table[name], Numeric):
                    raise ValueError(f"[[rules]] '{rule}': '{name}' is not a numeric column of the schema; correct it")
        for hospital in self.hospitals:
            if self.privacy.delta >= 1 / hospital.declared_rows:
                raise ValueError(
                    f"[privacy] delta = {self.privacy.delta:g} is not below 1 / declared_rows of hospital "
                    f"'{hospital.name}' ({1 / hospital.declared_rows:.2g}); choose a smaller delta"
                )
            if hospital.epsilon is not None and hospital.epsilon > self.privacy.epsilon:
                raise ValueError(
                    f"[[hospitals]] '{hospital.name}': epsilon = {hospital.epsilon:g} exceeds [privacy] epsilon = "
                    f"{self.privacy.epsilon:g}, which every hospital meets; lower it or remove the line"
                )
        if self.privacy.noise == "distributed":
            self._check_distributed()
        return self

    def _check_time(self, time: str, target: Numeric | Categorical) -> None:
        if time not in self.table.names or not isinstance(self.table[time], Numeric):
            raise ValueError(f"[evaluation] time '{time}' is not a numeric column of the schema; correct it")
        if not isinstance(target, Categorical) or len(target.categories) != 2:
            raise ValueError(
                f"[evaluation] time needs a target of two categories, the last of which is the event; '{target.name}' "
                "is not one; choose another target or drop time"
            )

    def _check_distributed(self) -> None:
        """Refuse what sums with shared noise cannot give, and thresholds at which masking would not protect."""
        federation, several = self.federation, len(self.hospitals)
        if federation.aggregation != "mean":
            raise ValueError(
                f"[federation] aggregation = '{federation.aggregation}' needs each hospital's own update, "
                "which distributed noise does not protect; use 'mean' or [privacy] noise = 'local'"
            )
        own = next((hospital.name for hospital in self.hospitals if hospital.epsilon is not None), None)
        if own is not None:
            raise ValueError(
                f"[[hospitals]] '{own}' has an epsilon of its own, and distributed noise is one draw for all; remove "
                "the line, lower [privacy] epsilon, or use noise = 'local'"
            )
        if not several:
            return
        if 2 * self.threshold <= several + federation.colluders:
            raise ValueError(
                f"[privacy] noise = 'distributed' needs 2 x (hospitals - dropouts) > hospitals + colluders, and "
                f"[federation] has {several} hospitals, dropouts = {federation.dropouts}, colluders = "
                f"{federation.colluders}: the server could open two sums; lower them, list more hospitals, or use "
                "noise = 'local'"
            )
        if federation.min_hospitals > self.threshold:
            raise ValueError(
                f"[federation] min_hospitals = {federation.min_hospitals} exceeds the {self.threshold} hospitals that "
                f"are left after {federation.dropouts} dropouts; lower one of them"
            )

    @property
    def threshold(self) -> int:
        """How many hospitals must answer, and hand over their keys, before a masked sum can be opened.

        Hospitals - dropouts, the most that leaves room for dropouts. Two disjoint claims of who survived cannot both
        reach it, since 2 x threshold > hospitals + colluders (Bonawitz et al. 2017, with colluders that answer twice).
        """
        return len(self.hospitals) - self.federation.dropouts

    @property
    def honest_survivors(self) -> int:
        """Threshold - colluders: so many honest hospitals are in every sum that is opened; at least 1.

        From 2 (K - dropouts) > K + colluders follows K - dropouts - colluders > dropouts >= 0.
        """
        return self.threshold - self.federation.colluders

    @property
    def quorum(self) -> int:
        """How many hospitals must enrol: `min_hospitals`, or the threshold of masked sums."""
        is_shared = self.privacy.noise == "distributed"
        return max(self.federation.min_hospitals, self.threshold) if is_shared else self.federation.min_hospitals

    @property
    def name(self) -> str:
        return self.about.name

    @property
    def seed(self) -> int:
        return self.about.seed

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical JSON: keys sorted, defaults written out, layout and comments ignored."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        return json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))

    def to_toml(self) -> str:
        """A file that `parse_study` reads back to an equal study."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return tomli_w.dumps({section: keys for section, keys in document.items() if keys})

    def hospital(self, name: str) -> HospitalFacts | None:
        return next((hospital for hospital in self.hospitals if hospital.name == name), None)

    def training_rows(self, hospital: HospitalFacts) -> int:
        """Declared rows that are not held out: the public figure behind rates, weights and the release's size."""
        return max(1, round(hospital.declared_rows * (1 - self.evaluation.holdout_fraction)))

    @property
    def pooled_rows(self) -> int:
        """The same of all hospitals together."""
        return sum(self.training_rows(hospital) for hospital in self.hospitals)

    def epsilon_of(self, hospital: HospitalFacts) -> float:
        """What the hospital's part of a run may cost: its own epsilon where it has one, else the study's."""
        return self.privacy.epsilon if hospital.epsilon is None else hospital.epsilon

    def amended(self, **sections: dict[str, Any]) -> Study:
        """The study with some keys of some sections replaced and everything checked again; `None` values are skipped.

        Raises:
            StudyError: the result is not a valid study.
        """
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        for section, keys in sections.items():
            document[section] |= {key: value for key, value in keys.items() if value is not None}
        return _build(document, "the command line")

    def with_hospitals(self, hospitals: tuple[HospitalFacts, ...], *, cap_minimum: bool = False) -> Study:
        """The study for these hospitals; `cap_minimum` lowers `min_hospitals` to their number (simulations only)."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        document["hospitals"] = [hospital.model_dump(exclude_none=True) for hospital in hospitals]
        if cap_minimum:
            minimum = min(self.federation.min_hospitals, len(hospitals))
            document["federation"]["min_hospitals"] = minimum
        return _build(document, "the hospitals")


def read_study(path: Path) -> Study:
    """Parse a study file.

    Raises:
        StudyError: the file cannot be read or is not a valid study; the text names section, key and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise StudyError(
            f"cannot read study '{path}' ({type(problem).__name__}); check the path and its permissions"
        ) from None
    return parse_study(text, source=str(path))


def parse_study(text: str, *, source: str = "study") -> Study:
    """Parse the text of a study. Raises `StudyError` as `read_study` does."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise StudyError(f"{source} is not valid TOML: {problem}") from None
    return _build(document, source)


def _build(document: dict[str, Any], source: str) -> Study:
    try:
        return Study.model_validate(document)
    except ValidationError as problem:
        raise StudyError(f"{source}: {explain(problem, _known_keys)}") from None


def explain(problem: ValidationError, known_keys: Callable[[tuple[Any, ...]], Sequence[str]]) -> str:
    """Every error of a settings file as: where, what is wrong, what to do.

    Args:
        known_keys: the place of an unknown key to the keys that are known there.
    """
    return "; ".join(_explain(error, known_keys) for error in _roots(problem))


def _roots(problem: ValidationError) -> list[Any]:
    """The errors, without those that only say that a list lost its faulty items."""
    errors = problem.errors()

    def holds_another(place: tuple[Any, ...]) -> bool:
        return any(len(error["loc"]) > len(place) and error["loc"][: len(place)] == place for error in errors)

    return [error for error in errors if error["type"] != "too_short" or not holds_another(error["loc"])]


_SECTIONS: dict[str, type[Frozen]] = {
    "study": About,
    "hospitals": HospitalFacts,
    "synthesizer": SynthesizerSettings,
    "training": Training,
    "budget": Budget,
    "privacy": Privacy,
    "federation": FederationRules,
    "evaluation": EvaluationSettings,
    "rules": Rule,
}


def _known_keys(place: tuple[Any, ...]) -> list[str]:
    """The keys that the section holding `place` accepts, as written in the file."""
    if len(place) == 1:
        return [field.alias or name for name, field in Study.model_fields.items()]
    if place[0] == "schema":
        kinds = [kind for kind in (Numeric, Categorical) if kind.model_fields["kind"].default in place]
        return sorted({name for kind in kinds for name in kind.model_fields}) or ["columns"]
    section = _SECTIONS.get(str(place[0]))
    return list(section.model_fields) if section else []


def _explain(error: Any, known_keys: Callable[[tuple[Any, ...]], Sequence[str]]) -> str:
    """One pydantic error as: where, what is wrong, what to do."""
    place = tuple(error["loc"])
    where = ".".join(str(part) for part in place if part not in ("numeric", "categorical"))
    key = str(place[-1]) if place else ""
    match error["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(key, known_keys(place), n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else "remove it"
            section = where.rpartition(".")[0]
            return f"unknown key '{key}'" + (f" in [{section}]" if section else "") + f"; {hint}"
        case "missing":
            return f"[{where}] is not given; add it"
        case "value_error":
            return str(error["msg"]).removeprefix("Value error, ")
        case _:
            return f"[{where}] {error['msg'][:1].lower()}{error['msg'][1:]}"
