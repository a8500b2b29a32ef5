"""How an arm makes its synthetic table: a federated run, local-only runs, a bootstrap, or another project's program."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.study.limits import rounded
from common.study.sections import HospitalFacts
from common.study.study import Study
from common.tables.image_files import read_images
from common.tables.raw import as_text
from common.tables.visit_tables import joined_visits
from common.tables.visits import patients_in
from simulations.benchmark.peers import NO_PEERS, PeerEnvironment, run_peer
from simulations.benchmark.tables import SITE_COLUMN
from simulations.federation.hospitals import slugify
from simulations.federation.partition import HashSplit, hospitals_by_hash

Sections = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True, eq=False)
class SynthesisTask:
    """What an arm works on.

    Attributes:
        train: raw training rows of one split, with the hospital where the table names it.
        study: the study at the case's epsilon, without hospitals.
        seed: seed of the arm.
        peers: where other projects' programs are, and how long they may take.
    """

    train: pd.DataFrame
    study: Study
    seed: int
    peers: PeerEnvironment = NO_PEERS


@dataclass(frozen=True, slots=True, eq=False)
class SynthesisResult:
    """What an arm returns.

    Attributes:
        synthetic: synthetic table with as many rows as the training rows.
        hospitals: number of hospitals that took part; None where nothing is federated.
        bytes: number of bytes that all hospitals together sent and received.
        spent: largest epsilon of a hospital, computed from the ledgers.
    """

    synthetic: pd.DataFrame
    hospitals: int | None = None
    bytes: int | None = None
    spent: float | None = None


GAN: Sections = {"synthesizer": {"kind": "marginal-gan"}}
VAE: Sections = {"synthesizer": {"kind": "marginal-vae"}, "training": {"rounds": 24}}
"""The VAE with the rounds that the planner gives it where they find something, on every table."""

VAE_FIT: Sections = {"synthesizer": {"kind": "marginal-vae"}, "training": {"rounds": 0}}
PLAIN: Sections = {
    "synthesizer": {"kind": "marginal-gan", "marginal_weight": 0.0, "hidden": 256},
    "training": {"rounds": 15, "batch": 256},
}
INDEPENDENT: Sections = {"synthesizer": {"pairs": 0, "triples": 0, "independent": True}, "training": {"rounds": 0}}
ADVERSARY: Sections = {
    "synthesizer": {"kind": "marginal-gan", "marginal_weight": 20.0, "hidden": 64},
    "training": {"rounds": 15, "steps": 20, "batch": 2000},
}
"""The adversary with which `simulations.experiments.adversary_trial` found an effect. The arm `placebo` takes the same
steps with a hundredth of the budget, at which a discriminator is noise."""

LONGER: Sections = {"synthesizer": {"kind": "marginal-gan", "fit_steps": 2100}, "training": {"rounds": 0}}
"""No adversary; the fit gets its optimizer steps (15 rounds of 20, and 300 of the refinement)."""


def partition(train: pd.DataFrame, hospitals: int | None, seed: int) -> dict[str, pd.DataFrame]:
    """Split training rows into hospitals.

    Args:
        train: raw rows, with the hospital where the table names it.
        hospitals: number of random hospitals of equal size; None takes the table's own hospitals.
        seed: seed of the random split.

    Returns:
        rows by hospital.
    """
    if hospitals is None:
        return {slugify(str(site)): part for site, part in train.groupby(SITE_COLUMN)}
    assigned = np.random.default_rng(seed).permutation(len(train)) % hospitals
    return {f"hospital-{index + 1}": train[assigned == index] for index in range(hospitals)}


def federated(
    task: SynthesisTask, *, hospitals: int | None, settings: Sections, skew: float | None = None, price: float = 1.0
) -> SynthesisResult:
    """Make a table by a federated run.

    Args:
        task: what to train on.
        hospitals: number of random hospitals; None takes the table's own hospitals.
        settings: sections of the study to change.
        skew: Dirichlet concentration with which hospitals share the target's classes; None shares them evenly.
        price: factor on the variance of the noise, at a correspondingly smaller epsilon.
    """
    if hospitals is None or skew is None:
        parts = partition(task.train, hospitals, task.seed)
    else:
        parts = _skewed(task, hospitals, skew)
    privacy = {"epsilon": epsilon_at(task.study, price)} | settings.get("privacy", {})
    return federate_parts(task, parts, settings | {"privacy": privacy})


def _skewed(task: SynthesisTask, hospitals: int, skew: float) -> dict[str, pd.DataFrame]:
    """Split training rows into random hospitals that differ in how often they see each class of the target."""
    study = task.study
    split = HashSplit(study.table, study.evaluation.target, task.seed, skew)
    parts = hospitals_by_hash(as_text(task.train), hospitals, split)
    return {name: part for name, part in parts.items() if len(part)}


def marginals_alone(task: SynthesisTask) -> SynthesisResult:
    """Make a table with the counts and the noise of the adversary's arm, whose own budget stays unspent."""
    from dataclasses import replace

    from common.planning.phases import PAIRS, TRIPLES
    from common.planning.planner import make_plan
    from common.privacy import accountant

    facts = (HospitalFacts(name="hospital-1", declared_rows=rounded(len(task.train))),)
    alone = task.study.amended(**ADVERSARY | {"privacy": {"noise": "local"}})
    plan = make_plan(alone.with_hospitals(facts, cap_minimum=True))
    counts = replace(plan, rounds=0).events(plan.hospitals[0])
    counted = {name: phase.tables if (phase := plan.vector(name)) else 0 for name in (PAIRS, TRIPLES)}
    settings: Sections = {
        "synthesizer": {"bins": plan.bins, **counted} | LONGER["synthesizer"],
        "training": LONGER["training"],
        "privacy": {"epsilon": accountant.epsilon(counts, plan.delta)},
    }
    return federated(task, hospitals=1, settings=settings)


def epsilon_at(study: Study, price: float) -> float:
    """Return the epsilon of releases whose noise has `price` times the variance that the study's epsilon needs."""
    from common.planning.calibration import single_count, spend_all
    from common.privacy import accountant

    privacy = study.privacy
    if price == 1.0:
        return privacy.epsilon
    sigma = spend_all(privacy.epsilon, privacy.delta) * math.sqrt(price)
    return accountant.epsilon(single_count(sigma), privacy.delta)


def local_only(task: SynthesisTask, *, hospitals: int | None) -> SynthesisResult:
    """Train each hospital alone on its own shard and concatenate the tables, each as long as its shard."""
    alone = [
        federate_parts(task, {name: part}, {}) for name, part in partition(task.train, hospitals, task.seed).items()
    ]
    spent = [result.spent for result in alone if result.spent is not None]
    pooled = pd.concat([result.synthetic for result in alone], ignore_index=True)
    return SynthesisResult(pooled, hospitals=len(alone), bytes=0, spent=max(spent, default=None))


def federate_parts(task: SynthesisTask, parts: Mapping[str, pd.DataFrame], settings: Sections) -> SynthesisResult:
    """Make a table by a federated run of given hospitals.

    Of a study of visits, it has one row per synthetic visit; cells of images hold their pixels.

    Args:
        task: what to train on.
        parts: raw rows by hospital.
        settings: sections of the study to change.
    """
    from common.privacy import accountant
    from simulations.federation.federate import federate, simulated_run
    from simulations.federation.prepare import Prepared
    from simulations.federation.sites import open_hospitals, open_shards

    counts = {name: patients_in(as_text(part), task.study, None) for name, part in parts.items()}
    facts = tuple(HospitalFacts(name=name, declared_rows=rounded(count)) for name, count in counts.items())
    privacy = {"noise": "local"} | settings.get("privacy", {})
    sections: Sections = settings | {"study": {"seed": task.seed}, "privacy": privacy}
    agreed = task.study.amended(**sections).with_hospitals(facts, cap_minimum=True)
    prepared = Prepared(agreed, {name: as_text(part) for name, part in parts.items()}, None, ())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        out = Path(folder) / "out"
        sites = out / "sites"
        opened = open_hospitals(agreed, open_shards(prepared), sites, stack)
        run = simulated_run(agreed, out, sites, rows=sum(counts.values()))
        federate(run, opened, workers=1)
        if agreed.has_visits:
            synthetic = joined_visits(out, agreed.declared)
        else:
            table = pd.read_csv(out / "synthetic.csv", keep_default_na=False, na_values=[""])
            synthetic = read_images(table, agreed.images, out, "synthetic.csv")
        by_phase: dict[str, dict[str, dict[str, int]]] = json.loads((out / "run.json").read_text())["traffic"]
        spent = max(accountant.epsilon(hospital.ledger.events(), agreed.privacy.delta) for hospital in opened.values())
    exchanged = [bytes_of for hospitals in by_phase.values() for bytes_of in hospitals.values()]
    traffic = sum(bytes_of["bytes_up"] + bytes_of["bytes_down"] for bytes_of in exchanged)
    return SynthesisResult(synthetic, len(parts), traffic, None if np.isinf(spent) else float(spent))


def bootstrap(task: SynthesisTask) -> SynthesisResult:
    """Draw as many real training rows with replacement: this shows what sampling error alone costs."""
    return SynthesisResult(
        task.train.sample(len(task.train), replace=True, random_state=task.seed).reset_index(drop=True)
    )


def peer(task: SynthesisTask, *, name: str) -> SynthesisResult:
    """Run a peer on the pooled training rows."""
    return SynthesisResult(run_peer(name, task.train, task.study, task.seed, task.peers))
