"""The arms of a benchmark: who trains on what, under which promise. An arm is an entry in `ARMS`."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.study.sections import HospitalFacts
from common.study.study import Study
from common.tables.raw import as_text
from simulations.benchmark.peers import PEERS, run_peer
from simulations.benchmark.tables import SITE
from simulations.federation.hospitals import slugify
from simulations.federation.partition import hospitals_by_hash

Sections = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What an arm gets: one split of a table, the study at the cell's epsilon, a seed, and where peers live."""

    train: pd.DataFrame
    whole: pd.DataFrame
    study: Study
    seed: int
    peers: Path | None = None
    limit_s: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What an arm hands back.

    Args:
        hospitals: that took part; None where nothing is federated.
        bytes: sent and received by all hospitals together.
        spent: the largest epsilon of a hospital, recomputed from the ledgers.
    """

    synthetic: pd.DataFrame
    hospitals: int | None = None
    bytes: int | None = None
    spent: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to make a table.

    Args:
        label: for readers.
        promise: what its epsilon means; an arm without one has a single cell per seed, at "epsilon 0".
        needs_sites: only for tables that say which hospital a row is from.
        peer: the program of another project that it runs.
    """

    run: Callable[[Task], Made]
    label: str
    promise: Literal["each hospital", "trusted curator", "none"]
    needs_sites: bool = False
    peer: str | None = None

    @property
    def has_budget(self) -> bool:
        return self.promise != "none"


def partition(train: pd.DataFrame, hospitals: int | None, seed: int) -> dict[str, pd.DataFrame]:
    """The rows of one hospital, of so many random ones, or (None) of the table's own sites."""
    if hospitals is None:
        return {slugify(str(site)): part for site, part in train.groupby(SITE)}
    places = np.random.default_rng(seed).permutation(len(train)) % hospitals
    return {f"hospital-{place + 1}": train[places == place] for place in range(hospitals)}


def through_the_federation(
    task: Task, *, hospitals: int | None, settings: Sections, skew: float | None = None, price: float = 1.0
) -> Made:
    """The synthetic table of a federated run: one hospital, so many random ones, or (None) the table's own sites.

    Args:
        skew: deals the target's classes out unevenly, as `hospitals_by_hash` does.
        price: a smaller epsilon is spent, at which the variance of the noise is so many times that of the study's.
    """
    if hospitals is None or skew is None:
        parts = partition(task.train, hospitals, task.seed)
    else:
        parts = _skewed(task, hospitals, skew)
    privacy = {"epsilon": epsilon_at(task.study, price)} | settings.get("privacy", {})
    return _federate(task, parts, settings | {"privacy": privacy})


def _skewed(task: Task, hospitals: int, skew: float) -> dict[str, pd.DataFrame]:
    """Random hospitals that differ in how often they see each class of the target."""
    study = task.study
    dealt = hospitals_by_hash(
        as_text(task.train), hospitals, schema=study.table, target=study.evaluation.target, seed=task.seed, skew=skew,
        patient_column=None,
    )  # fmt: skip
    return {name: part for name, part in dealt.items() if len(part)}


def marginals_alone(task: Task) -> Made:
    """The adversary's arm without rounds: the same counts under the same noise, its share of the budget unspent."""
    from dataclasses import replace

    from common.planning.plan import PAIRS, TRIPLES
    from common.planning.planner import make_plan
    from common.privacy import accountant

    facts = (HospitalFacts(name="hospital-1", declared_rows=len(task.train)),)
    alone = task.study.amended(**ADVERSARY | {"privacy": {"noise": "local"}})
    plan = make_plan(alone.with_hospitals(facts, cap_minimum=True))
    counts = replace(plan, rounds=0).events(plan.hospitals[0])
    counted = {name: phase.max_changed_cells if (phase := plan.vector(name)) else 0 for name in (PAIRS, TRIPLES)}
    settings: Sections = {
        "synthesizer": {"bins": plan.bins, **counted} | LONGER["synthesizer"],
        "training": LONGER["training"],
        "privacy": {"epsilon": accountant.epsilon(counts, plan.delta)},
    }
    return through_the_federation(task, hospitals=1, settings=settings)


def epsilon_at(study: Study, price: float) -> float:
    """The epsilon of releases with so many times the variance that the study's epsilon asks for."""
    from common.planning.calibration import single_count, spend_all
    from common.privacy import accountant

    privacy = study.privacy
    if price == 1.0:
        return privacy.epsilon
    sigma = spend_all(privacy.epsilon, privacy.delta) * math.sqrt(price)
    return accountant.epsilon(single_count(sigma), privacy.delta)


def local_only(task: Task, *, hospitals: int | None) -> Made:
    """Each hospital trains alone on its own shard; the tables are put together, each as long as its shard."""
    alone = [_federate(task, {name: part}, {}) for name, part in partition(task.train, hospitals, task.seed).items()]
    spent = [made.spent for made in alone if made.spent is not None]
    pooled = pd.concat([made.synthetic for made in alone], ignore_index=True)
    return Made(pooled, hospitals=len(alone), bytes=0, spent=max(spent, default=None))


def _federate(task: Task, parts: Mapping[str, pd.DataFrame], settings: Sections) -> Made:
    from common.privacy import accountant
    from simulations.federation.prepare import Prepared
    from simulations.federation.run import federate, open_hospitals, open_shards

    facts = tuple(HospitalFacts(name=name, declared_rows=len(part)) for name, part in parts.items())
    privacy = {"noise": "local"} | settings.get("privacy", {})
    sections: Sections = settings | {"study": {"seed": task.seed}, "privacy": privacy}
    agreed = task.study.amended(**sections).with_hospitals(facts, cap_minimum=True)  # who shares noise comes first
    prepared = Prepared(agreed, {name: as_text(part) for name, part in parts.items()}, None, ())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        out = Path(folder) / "out"
        sites = out / "sites"
        opened = open_hospitals(agreed, open_shards(prepared), sites, stack)
        federate(agreed, opened, out, sites, rows=sum(map(len, parts.values())), workers=1)
        synthetic = pd.read_csv(out / "synthetic.csv", keep_default_na=False, na_values=[""])
        phases: dict[str, dict[str, dict[str, Any]]] = json.loads((out / "run.json").read_text())["phases"]
        spent = max(accountant.epsilon(hospital.ledger.events(), agreed.privacy.delta) for hospital in opened.values())
    exchanged = [cell for cells in phases.values() for cell in cells.values()]
    traffic = sum(cell["bytes_up"] + cell["bytes_down"] for cell in exchanged)
    return Made(synthetic, len(parts), int(traffic), None if np.isinf(spent) else float(spent))


def bootstrap(task: Task) -> Made:
    """As many real training rows, drawn with replacement: what sampling error alone costs."""
    return Made(task.train.sample(len(task.train), replace=True, random_state=task.seed).reset_index(drop=True))


def peer(task: Task, *, name: str) -> Made:
    """A program of another project, on the pooled training rows."""
    return Made(run_peer(name, task.train, task.whole, task.study, task.seed, task.peers, limit_s=task.limit_s))


PLAIN: Sections = {"synthesizer": {"marginal_weight": 0.0, "hidden": 256}, "training": {"rounds": 15, "batch": 256}}
INDEPENDENT: Sections = {"synthesizer": {"pairs": 0, "triples": 0, "coarse_pairs": False}, "training": {"rounds": 0}}
ADVERSARY: Sections = {
    "synthesizer": {"marginal_weight": 20.0, "hidden": 64},
    "training": {"rounds": 15, "steps": 20, "batch": 2000},
}
"""The adversary as `simulations.experiments.adversary_trial` found it to work; `placebo` has the same steps and a
hundredth of the budget, with which a discriminator is noise."""

LONGER: Sections = {"synthesizer": {"fit_steps": 2100}, "training": {"rounds": 0}}
"""No adversary, and its optimiser steps (15 rounds of 20, and 300 of refine) given to the fit."""

VARIANTS: dict[str, Sections] = {
    "fewer-histograms": {"budget": {"histograms": 0.08}},
    "more-histograms": {"budget": {"histograms": 0.30}},
    "more-coarse": {"budget": {"coarse": 0.80}},
    "more-pairs": {"budget": {"pairs": 0.90}},
    "more-triples": {"budget": {"triples": 0.60}},
}
"""Other constants of the planner, for asking whether the ones it has hold on a table they were not tuned on."""


def _central(label: str, settings: Sections) -> Arm:
    run = partial(through_the_federation, hospitals=1, settings=settings)
    return Arm(run, label, "each hospital")


def _local(label: str, hospitals: int | None) -> Arm:
    """Hospitals that each add their own noise."""
    run = partial(through_the_federation, hospitals=hospitals, settings={})
    return Arm(run, label, "each hospital", needs_sites=hospitals is None)


def _alone(label: str, hospitals: int | None) -> Arm:
    return Arm(partial(local_only, hospitals=hospitals), label, "each hospital", needs_sites=hospitals is None)


SYNCHRONOUS: Sections = ADVERSARY | {"training": {"rounds": 300, "steps": 1, "batch": 2000}}


def _shared(
    label: str, hospitals: int | None, *, dropouts: int = 0, skew: float | None = None, more: Sections | None = None
) -> Arm:
    """Hospitals that share one draw of noise, of whom one may collude."""
    settings: Sections = (more or {}) | {
        "privacy": {"noise": "distributed"}, "federation": {"dropouts": dropouts, "colluders": 1},
    }  # fmt: skip
    run = partial(through_the_federation, hospitals=hospitals, settings=settings, skew=skew)
    return Arm(run, label, "each hospital", needs_sites=hospitals is None)


def _priced(label: str, price: float) -> Arm:
    """A curator with so many times the variance of noise: what shared noise is compared with."""
    run = partial(through_the_federation, hospitals=1, settings={}, price=price)
    return Arm(run, label, "each hospital")


WITHOUT_NOISE: Sections = {"privacy": {"noise": "none"}}

ARMS: dict[str, Arm] = {
    "bootstrap": Arm(bootstrap, "real rows, resampled", "none"),
    "non-private": Arm(
        partial(through_the_federation, hospitals=1, settings=WITHOUT_NOISE), "centralised, no noise", "none"
    ),
    "central": _central("centralised", {}),
    "by-site": _local("federated by hospital, local noise", None),
    "local-4": _local("federated, 4 random hospitals, local noise", 4),
    "alone-by-site": _alone("each hospital alone", None),
    "alone-4": _alone("each of 4 random hospitals alone", 4),
    "marginals-only": _central("marginals only", {"training": {"rounds": 0}}),
    "plain-dp-gan": _central("plain DP-GAN", PLAIN),
    "independent": _central("independent columns", INDEPENDENT),
    "adversary": _central("with the adversary", ADVERSARY),
    "placebo": _central("with a placebo", ADVERSARY | {"budget": {"adversary": 1e-2}}),
    "longer-fit": _central("its budget to measurements, its steps to the fit", LONGER),
    "measurements-alone": Arm(marginals_alone, "its budget unspent, its steps to the fit", "each hospital"),
}
ARMS |= {
    f"local-{several}": _local(f"federated, {several} random hospitals, local noise", several) for several in (3, 8, 25)
}
ARMS |= {
    f"distributed-{several}": _shared(f"federated, {several} random hospitals, shared noise", several)
    for several in (3, 4, 8, 25)
}
ARMS |= {
    "distributed-by-site": _shared("federated by hospital, shared noise", None),
    "distributed-4-dropout": _shared("the same, one may drop out", 4, dropouts=1),
    "distributed-4-skewed": _shared("4 hospitals of different mix, shared noise", 4, skew=0.5),
    "central-like-4": _priced("centralised, 4/3 of the variance", 4 / 3),
    "central-like-4-dropout": _priced("centralised, twice the variance", 4 / 2),
    "synchronous-4": _shared("synchronous training of 4 hospitals", 4, more=SYNCHRONOUS),
}
ARMS |= {name: _central(name.replace("-", " "), variant) for name, variant in VARIANTS.items()}
ARMS |= {
    name: Arm(partial(peer, name=name), spec.label, "trusted curator" if spec.is_private else "none", peer=name)
    for name, spec in PEERS.items()
}

GROUPS: dict[str, tuple[str, str]] = {
    "centralised": ("central", "central"),
    "federated": ("by-site", "local-4"),
    "federated-shared": ("distributed-by-site", "distributed-4"),
    "local-only": ("alone-by-site", "alone-4"),
}
"""Words for arms that depend on the table: with sites, without."""

DEFAULT_ARMS = (
    "bootstrap",
    "non-private",
    "centralised",
    "federated",
    "federated-shared",
    "local-only",
    "marginals-only",
    "plain-dp-gan",
    "independent",
)

SHADOWED_ARMS = ("bootstrap", "non-private", "centralised", "independent")
"""What an attacker with shadow synthesizers is set on, where no arms are named: it costs many trainings a cell."""


def resolve(word: str, *, has_sites: bool) -> str:
    """The arm that a word stands for on a table."""
    with_sites, without = GROUPS.get(word, (word, word))
    return with_sites if has_sites else without
