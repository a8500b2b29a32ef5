"""From a study to its plan: public facts only, before any record is read.

The budget is divided in units of 1 / sigma^2, in which Gaussian releases add up. What is known beforehand about how
well a count can be seen is the *resolution* r = patients / (noise of one count that spent the whole budget).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from itertools import combinations

from common.encoding import histogram_max_changed_cells, histogram_sizes
from common.errors import StudyError
from common.planning.capacity import check_capacity
from common.planning.plan import (
    COARSE,
    HISTOGRAMS,
    PAIRS,
    SINGLES,
    TRIPLES,
    HospitalPlan,
    Plan,
    VectorPhase,
    with_retries,
)
from common.privacy import accountant
from common.privacy.events import (
    LEAST_SHARE,
    DiscreteGaussianVector,
    DistributedGaussianVector,
    DpSgdRun,
    Event,
    SynchronousRun,
)
from common.privacy.quantization import QuantizationGrid, choose_grid, parameters_of
from common.study.sections import HospitalFacts
from common.study.study import Study

ADVERSARY = "adversary"

MAX_SAMPLE_RATE = 0.25
"""A batch holds at most a quarter of a hospital's patients; above that, subsampling amplifies too little to pay."""

MIN_CELLS, MAX_CELLS = 16, 512
MIN_BINS, MAX_BINS = 8, 24
COARSE_GROUPS, TRIPLE_GROUPS = 4, 6

DEFAULT_ROUNDS = 15
"""Rounds where there is an adversary and the study does not say how many."""

ADVERSARY_FROM = 30_000.0
"""An adversary is paid for from this resolution on: there it finds what no table of three columns shows, and costs real
tables nothing that can be measured; at half of it, it finds little, and pairs get worse. See docs/adversary.md."""

SHARES = {HISTOGRAMS: 0.15, SINGLES: 0.85, COARSE: 0.40, PAIRS: 0.45, TRIPLES: 0.30, ADVERSARY: 0.15}
"""Relative shares of the budget; what a run does not have goes to the others in proportion."""

SINGLES_FROM, SINGLES_BESIDE = 25, 0.15
"""From so many categorical columns on, single columns are counted once more in a vector of their own, for this share.
Among coarse pairs each carries the noise of d (d + 1) / 2 tables for d columns; by itself, of d. The bins of a numeric
column hold about equally many patients by its histogram, so one more count of them says little that is new."""

VISIBLE = 1.5
"""Pairs are counted in full while the average cell holds so many times its noise."""

TRIPLES_FROM = 2000.0
"""Triples are counted from this resolution on; below, pairs need the budget more."""

MOST_TRIPLES = 20

MAX_VECTOR_CELLS = 500_000
"""No vector of counts may be longer: a site draws exact noise for every cell (about 20 microseconds each)."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a run does, and the share of each part in the budget: they sum to one."""

    cells: int
    bins: int
    vectors: tuple[VectorPhase, ...]
    rounds: int
    shares: dict[str, float]
    why: str


def make_plan(study: Study) -> Plan:
    """The plan that the study leads to; the same study gives the same plan at every site.

    Each hospital meets the study's (epsilon, delta) exactly, or its own smaller epsilon: then its noise alone grows.
    With distributed noise any `honest_survivors` hospitals together supply the noise that meets it.

    Raises:
        StudyError: no hospitals are listed, nothing would be released, or epsilon is too small for any noise.
    """
    if not study.hospitals:
        raise StudyError("the study lists no [[hospitals]]; add each one's name and declared_rows")
    privacy, training = study.privacy, study.training
    try:
        one_count = spend_all(privacy.epsilon, privacy.delta)
        choice = _choose(study, one_count)
        shares = tuple(choice.shares[phase.name] for phase in choice.vectors)
        max_changed_cells = tuple(phase.max_changed_cells for phase in choice.vectors)
        is_synchronous = _is_synchronous(study, choice.rounds)
        hospitals = []
        for hospital in study.hospitals:
            batch, rate = _sampling(study, hospital, is_synchronous=is_synchronous)
            sigmas, multiplier = (0.0,) * len(max_changed_cells), 0.0
            if privacy.noise != "none":
                steps = choice.rounds * training.steps
                budget = study.epsilon_of(hospital), privacy.delta
                sigmas, multiplier = _noise(
                    *budget, max_changed_cells, shares, rate, steps, *_sharing(study), is_synchronous=is_synchronous
                )
            hospitals.append(HospitalPlan(hospital.name, sigmas, multiplier, privacy.clip, rate, batch, training.steps))
    except accountant.Unaffordable:
        least = min(study.epsilon_of(hospital) for hospital in study.hospitals)
        section = "[[hospitals]]" if least < privacy.epsilon else "[privacy]"
        raise StudyError(f"{section} epsilon = {least:g} is too small for any amount of noise; raise it") from None
    plan = Plan(
        fingerprint=study.fingerprint,
        delta=privacy.delta,
        cells=choice.cells,
        bins=choice.bins,
        vectors=choice.vectors,
        rounds=choice.rounds,
        hospitals=tuple(hospitals),
        why=choice.why,
        honest_hospitals=_sharing(study)[0],
        retries=_sharing(study)[1],
        quantization=_quantization(study, choice.bins, hospitals) if is_synchronous else None,
    )
    _check_cells(study, plan)
    if plan.honest_hospitals:
        check_capacity(study, plan)
    return plan


def _sharing(study: Study) -> tuple[int, int]:
    """How many honest hospitals share one draw of noise (0: each draws its own), and how often they may try again."""
    if study.privacy.noise != "distributed":
        return 0, 0
    return study.honest_survivors, study.federation.retries


def _is_synchronous(study: Study, rounds: int) -> bool:
    """Whether hospitals train together, step by step under masks, rather than each by itself for a round."""
    return study.privacy.noise == "distributed" and study.training.steps == 1 and rounds > 0


def _sampling(study: Study, hospital: HospitalFacts, *, is_synchronous: bool) -> tuple[int, float]:
    """How many patients a step at this hospital expects, and each one's chance of being drawn.

    `[training] batch` is what each hospital draws by itself; in synchronous, what all draw together, at one rate.
    """
    mine = study.training_rows(hospital)
    rows = study.pooled_rows if is_synchronous else mine
    batch = _batch(study, rows)
    rate = min(batch / rows, MAX_SAMPLE_RATE)
    return (math.ceil(rate * mine) if is_synchronous else batch), rate


def _batch(study: Study, rows: int) -> int:
    """The study's batch, or what the largest sample rate leaves of so many rows."""
    return max(1, min(study.training.batch, math.floor(rows * MAX_SAMPLE_RATE)))


def _quantization(study: Study, bins: int, hospitals: Sequence[HospitalPlan]) -> QuantizationGrid:
    """What gradients are rounded to.

    Raises:
        StudyError: the discriminator is too large.
    """
    parameters = _parameters(study, bins)
    if parameters > MAX_VECTOR_CELLS:
        raise StudyError(
            f"[training] steps = 1: the discriminator may have {parameters} parameters, more than {MAX_VECTOR_CELLS}; "
            "lower [synthesizer] hidden, leave out columns, or choose more steps, which are not masked"
        )
    batch = _batch(study, study.pooled_rows)
    return choose_grid(parameters, [one.batch for one in hospitals], hospitals[0].noise_multiplier, batch)


def _parameters(study: Study, bins: int) -> int:
    """At most so many has the discriminator."""
    return parameters_of(sum(column.max_codes(bins) for column in study.table.each()), study.synthesizer.hidden)


def _check_cells(study: Study, plan: Plan) -> None:
    """Every vector must stay short, whichever tables the coordinator will ask for.

    Raises:
        StudyError: with the phase, its largest table and what to change.
    """
    for phase in plan.vectors:
        tables = _largest_tables(study, plan, phase)
        cells = sum(size for size, _ in tables)
        if cells > MAX_VECTOR_CELLS:
            size, names = max(tables)
            largest = " and ".join(f"'{name}'" for name in names)
            raise StudyError(
                f"the phase '{phase.name}' may count {cells} cells, more than {MAX_VECTOR_CELLS}; its largest table, "
                f"of {largest}, has {size}: merge categories, leave out columns, or lower [synthesizer] bins, pairs or "
                "triples"
            )


def _largest_tables(study: Study, plan: Plan, phase: VectorPhase) -> list[tuple[int, tuple[str, ...]]]:
    """The largest tables that the phase could hold, as cells and column names; as many as it counts."""
    if phase.name == HISTOGRAMS:
        return [(size, (name,)) for name, size in histogram_sizes(study.table, plan.cells).items()]
    codes = [(column.max_codes(plan.bins), column.name) for column in study.table.each()]
    singles = [(size, (name,)) for size, name in codes] if phase.name in (SINGLES, COARSE) else []
    wanted = phase.max_changed_cells - len(singles)
    columns = 3 if phase.name == TRIPLES else 2
    merged = sorted(((min(size, phase.groups or size), name) for size, name in codes), reverse=True)
    # A table with a column further down the list has `wanted` larger ones before it.
    several = combinations(merged[: wanted + columns - 1], columns)
    tables = ((math.prod(size for size, _ in table), tuple(name for _, name in table)) for table in several)
    return [*singles, *nlargest(wanted, tables)]


def _choose(study: Study, one_count: float) -> _Choice:
    """Bins, tables, rounds and shares: the study's where it fixes them, else by resolution."""
    columns, settings = study.table.columns, study.synthesizer
    rows = study.pooled_rows
    resolution = math.inf
    if study.privacy.noise != "none":
        resolution = rows / (one_count * math.sqrt(_variance(study, one_count)))
    bins = settings.bins or _between(MIN_BINS, round(1.2 * min(resolution, 1e9) ** (1 / 3)), MAX_BINS)
    vectors: list[VectorPhase] = []
    said = []
    if settings.marginal_weight and not settings.coarse_pairs:
        vectors.append(VectorPhase(SINGLES, len(columns), 0))
        said.append("single columns only")
    elif settings.marginal_weight:
        every = math.comb(len(columns), 2)
        vectors.append(VectorPhase(COARSE, len(columns) + every, COARSE_GROUPS))
        if _counts_singles(study):
            vectors.append(VectorPhase(SINGLES, len(columns), 0))
            said.append("single columns once more")
        pairs = _pairs(study, resolution, bins, every)
        said.append(f"{pairs} of {every} pairs in full")
        if pairs:
            vectors.append(VectorPhase(PAIRS, pairs, 0))
        triples = _triples(study, resolution)
        said.append(f"{triples} triples with the target" if triples else "no triples")
        if triples:
            vectors.append(VectorPhase(TRIPLES, triples, TRIPLE_GROUPS))
    rounds = _rounds(study, rows / one_count, resolution)
    parts = (
        [HISTOGRAMS] * bool(study.table.with_histogram) + [phase.name for phase in vectors] + [ADVERSARY] * bool(rounds)
    )
    if not parts:
        raise StudyError("[training] rounds = 0 and nothing to count: nothing would be learnt; raise rounds")
    usual = SHARES | {SINGLES: SINGLES_BESIDE if COARSE in parts else study.budget.share(COARSE, SHARES[SINGLES])}
    wanted = {part: study.budget.share(part, usual[part]) for part in parts}
    if study.privacy.noise != "none" and not all(wanted.values()):
        empty = next(part for part, share in wanted.items() if not share)
        raise StudyError(f"[budget] {empty} = 0 leaves no budget for a phase of the run; give it a share or drop it")
    if not settings.marginal_weight and not study.budget.is_fixed:
        wanted = _plain(wanted)
    whole = sum(wanted.values()) or 1.0  # all zero: without noise, where shares mean nothing
    shares = {part: share / whole for part, share in wanted.items()}
    cells = MIN_CELLS
    if HISTOGRAMS in shares:
        part = math.sqrt(shares[HISTOGRAMS] / len(study.table.with_histogram))
        cells = _cells(resolution * part) if math.isfinite(resolution) else MAX_CELLS
        vectors.insert(0, VectorPhase(HISTOGRAMS, histogram_max_changed_cells(study.table, cells), 0))
    said.append(f"{rounds} adversarial rounds" if rounds else "no adversarial rounds")
    if settings.marginal_weight and study.training.rounds is None:
        said[-1] += f" (an adversary pays from a resolution of {ADVERSARY_FROM:.0f} on)"
    spent = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
    why = (
        f"{rows} declared training patients in {len(study.hospitals)} hospitals give a resolution of "
        f"{min(resolution, 1e9):.0f}: at most {cells} histogram cells, {bins} bins, {', '.join(said)}. Budget: {spent}."
    )
    if study.privacy.noise == "distributed":
        why += f" {_price(study)}{_rounds_chosen(study, rounds, bins)}"
    own = [f"{hospital.name} {hospital.epsilon:g}" for hospital in study.hospitals if hospital.epsilon is not None]
    if own and study.privacy.noise != "none":
        why += f" Hospitals with an epsilon of their own, which add more noise: {', '.join(own)}."
    return _Choice(cells, bins, tuple(vectors), rounds, shares, why)


def _counts_singles(study: Study) -> bool:
    """Whether single columns get a vector of their own beside the coarse one."""
    if study.budget.singles is not None:
        return study.budget.singles > 0
    return len(study.table.columns) - len(study.table.with_histogram) >= SINGLES_FROM


def _price(study: Study) -> str:
    """What distributed noise costs in this study, against a trusted curator's."""
    several, honest, rules = len(study.hospitals), study.honest_survivors, study.federation
    text = (
        f"Noise is shared: any {honest} honest hospitals supply all of it, so with all {several} the sum carries "
        f"{several}/{honest} = {several / honest:.3g} times the central variance, the price of {rules.dropouts} "
        f"dropouts and {rules.colluders} colluders (each hospital's own noise would cost {several} times)."
    )
    return text + (f" Up to {rules.retries} failed phases may be tried again." if rules.retries else "")


def _rounds_chosen(study: Study, rounds: int, bins: int) -> str:
    """Why rounds are as they are, where noise is shared."""
    steps, parameters = study.training.steps, _parameters(study, bins)
    if not rounds:
        return ""
    if _is_synchronous(study, rounds):
        return (
            f" Rounds are synchronous, one step each: {parameters} gradients of every hospital under masks, and their "
            "noise is shared."
        )
    return (
        f" Rounds average weights after {steps} steps under each hospital's own noise: shared noise would need every "
        f"step under masks, {rounds * steps} times {parameters} gradients (steps = 1 asks for that)."
    )


def _variance(study: Study, one_count: float) -> float:
    """The noise variance of the sum over hospitals, one hospital at the study's epsilon being 1.

    So it is their number, and more where one of them has a smaller epsilon of its own. With distributed noise it is
    their number over that of the honest survivors; a planned retry costs about half of a run's vectors again.
    """
    honest, retries = _sharing(study)
    if honest:
        return len(study.hospitals) / honest * (1 + retries / 2)
    units = [spend_all(study.epsilon_of(hospital), study.privacy.delta) for hospital in study.hospitals]
    return sum((unit / one_count) ** 2 for unit in units)


def _plain(wanted: dict[str, float]) -> dict[str, float]:
    """The plain DP-GAN: bin edges, and everything else to DP-SGD."""
    return {part: 1 - SHARES[HISTOGRAMS] if part == ADVERSARY else SHARES[HISTOGRAMS] for part in wanted}


def _rounds(study: Study, alone: float, resolution: float) -> int:
    """The study's, or as many as an adversary needs where it earns its budget.

    Args:
        alone: the resolution if all patients were at one hospital.
        resolution: of the sums. Where hospitals share the noise of sums, that of their weights is still each one's own,
            but in synchronous.
    """
    if study.training.rounds is not None:
        return study.training.rounds
    if study.privacy.noise == "distributed" and study.training.steps > 1:
        resolution = alone / math.sqrt(len(study.hospitals))
    pays = not study.synthesizer.marginal_weight or resolution >= ADVERSARY_FROM
    return DEFAULT_ROUNDS if pays else 0


def _pairs(study: Study, resolution: float, bins: int, every: int) -> int:
    """How many pairs to count in full: those that must be, and as many more as stay visible."""
    if study.synthesizer.pairs is not None:
        return min(study.synthesizer.pairs, every)
    columns = len(study.table.columns)
    named = len({study.evaluation.target, *study.evaluation.sensitive})
    always = every - math.comb(columns - named, 2)
    share = SHARES[PAIRS] / (SHARES[HISTOGRAMS] + SHARES[COARSE] + SHARES[PAIRS])
    visible = (min(resolution, 1e9) * math.sqrt(share) / (VISIBLE * bins**2)) ** 2
    return int(min(every, max(always, visible)))


def _triples(study: Study, resolution: float) -> int:
    possible = math.comb(len(study.table.columns) - 1, 2)
    if study.synthesizer.triples is not None:
        return min(study.synthesizer.triples, possible)
    target = study.table[study.evaluation.target]
    pays = resolution >= TRIPLES_FROM and 0 < len(target.labels) <= TRIPLE_GROUPS
    return min(MOST_TRIPLES, possible) if pays else 0


def _cells(visible: float) -> int:
    """Histogram cells per column: as many as keep the average cell above half the noise of a histogram of one level.

    More is lost with too few, where values crowd at round numbers, than with too many: coarse levels carry those.

    Args:
        visible: patients / noise of a cell if every column had one level.
    """
    return _between(MIN_CELLS, int(2 * visible), MAX_CELLS)


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(high, value))


def single_count(sigma: float) -> list[Event]:
    """A single count under noise of `sigma` patients. (A long vector stands for it: any would do, as sigma scales.)"""
    return [DiscreteGaussianVector(sigma * 10, 100)]


@lru_cache(maxsize=256)
def spend_all(epsilon: float, delta: float, *, by_renyi: bool = False) -> float:
    """Noise of a single count that spends everything: the unit of all sigmas."""
    return accountant.calibrate(single_count, epsilon, delta, by_renyi=by_renyi)


@lru_cache(maxsize=256)
def _noise(
    epsilon: float,
    delta: float,
    max_changed_cells: tuple[int, ...],
    shares: tuple[float, ...],
    rate: float,
    steps: int,
    honest: int,
    retries: int,
    *,
    is_synchronous: bool,
) -> tuple[tuple[float, ...], float]:
    """Sigma of each vector and the DP-SGD noise multiplier that together spend (epsilon, delta).

    Args:
        honest: so many hospitals' noise protects a patient, and the sigmas are of one share; 0 for each by itself.
        is_synchronous: the multiplier is of one share too, and a retry may be one of a step.
    """

    def sigmas(unit: float) -> tuple[float, ...]:
        # Rounded up, so that the plan is the same on every machine.
        several, least = math.sqrt(honest or 1), LEAST_SHARE if honest else 0.0
        return tuple(
            max(least, math.ceil(unit * math.sqrt(count / share) / several * 1e3) / 1e3)
            for count, share in zip(max_changed_cells, shares, strict=True)
        )

    def vectors(unit: float) -> list[Event]:
        once = [
            DistributedGaussianVector(sigma, honest, count) if honest else DiscreteGaussianVector(sigma, count)
            for sigma, count in zip(sigmas(unit), max_changed_cells, strict=True)
        ]
        return list(with_retries(once, retries))

    if not steps:
        return sigmas(accountant.calibrate(vectors, epsilon, delta)), 0.0
    unit = spend_all(epsilon, delta, by_renyi=is_synchronous) * math.sqrt(1 + retries * max(shares, default=0.0))
    counted = vectors(unit)
    if is_synchronous:
        every = steps + retries
        together = accountant.calibrate(lambda m: [*counted, SynchronousRun(m, honest, rate, every)], epsilon, delta)
        return sigmas(unit), together
    return sigmas(unit), accountant.calibrate(lambda m: [*counted, DpSgdRun(m, rate, steps)], epsilon, delta)
