"""How good the tables are: real clinical tables, budgets and split seeds through the real federation.

    python -m simulations.quality --data FOLDER --out results.csv [--tables flchain,...] [--arms central,...]

Every arm trains on the same 80 % of the rows, declares exactly so many, draws as many synthetic rows, and is measured
against those rows and the held-out 20 %. Schemas are drafted from the whole table, for every arm alike: here bounds and
categories count as public, and tables are compared as the schema sees them. Finished cells are kept, so that an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from common.evaluation.metrics import METRICS, evaluate
from common.privacy import accountant
from common.privacy.events import DiscreteGaussianVector, Event
from common.study import HospitalFacts, Study
from common.tables import as_text, conform
from simulations.drafting import draft_study
from simulations.hospitals import hospitals_by_hash, slugify

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A clinical table: where it is, what to predict, what gives the target away or names a patient."""

    file: str
    target: str
    drop: tuple[str, ...] = ()
    patient: str | None = None
    site: str | None = None
    rows: int | None = None
    keep_default_na: bool = True

    def read(self, folder: Path) -> pd.DataFrame:
        """One row per patient with a known target; the site column comes last where there is one."""
        frame = pd.read_csv(folder / self.file, keep_default_na=self.keep_default_na, low_memory=False)
        frame = frame.dropna(subset=[self.target])
        if self.patient:
            frame = frame.drop_duplicates(self.patient)
        if self.rows and len(frame) > self.rows:
            frame = frame.sample(self.rows, random_state=0)
        site = frame[self.site] if self.site else None
        frame = frame.drop(columns=[*self.drop, *filter(None, [self.patient, self.site])])
        return (frame if site is None else frame.assign(site=site)).reset_index(drop=True)


EICU_LEAKS = (
    "patientunitstayid", "hospitalid", "acutephysiologyscore", "apachescore", "actualicumortality", "actualiculos",
    "actualhospitallos", "unitdischargeoffset",
)  # fmt: skip
SUPPORT_LEAKS = ("surv2m", "surv6m", "prg2m", "prg6m", "sps", "aps", "dnr", "dnrday", "sfdm2", "totcst")

TABLES: dict[str, Table] = {
    "heart-disease": Table("heart_disease.csv", "heart_disease", site="hospital"),
    "flchain": Table("flchain.csv", "death"),
    "flchain-no-futime": Table("flchain.csv", "death", drop=("futime",)),
    "eicu": Table("eicu_demo_first24h.csv", "actualhospitalmortality", EICU_LEAKS, patient="uniquepid", site="region"),
    "support2": Table("support2.csv.gz", "hospdead", SUPPORT_LEAKS),
    "diabetes130": Table(
        "diabetes130.csv.gz", "readmitted", ("encounter_id",), "patient_nbr", rows=20_000, keep_default_na=False
    ),
}

Split = tuple[pd.DataFrame, pd.DataFrame]
Sections = dict[str, dict[str, object]]


def through_the_federation(
    split: Split,
    study: Study,
    *,
    hospitals: int | None,
    settings: Sections,
    seed: int,
    skew: float | None = None,
    price: float = 1.0,
) -> pd.DataFrame:
    """The synthetic table of a federated run: one hospital, so many random ones, or (None) the table's own sites.

    Args:
        skew: deals the target's classes out unevenly, as `hospitals_by_hash` does.
        price: a smaller epsilon is spent, at which the variance of the noise is so many times that of the study's.
    """
    from simulations.prepare import Prepared
    from simulations.simulate import federate, open_hospitals, open_shards

    train = split[0]
    if hospitals is None:
        parts = {slugify(str(site)): part for site, part in train.groupby("site")}
    elif skew is not None:
        target = study.evaluation.target
        dealt = hospitals_by_hash(
            as_text(train), hospitals, schema=study.table, target=target, seed=seed, skew=skew, patient_column=None
        )
        parts = {name: part for name, part in dealt.items() if len(part)}
    else:
        places = np.random.default_rng(seed).permutation(len(train)) % hospitals
        parts = {f"hospital-{place + 1}": train[places == place] for place in range(hospitals)}
    facts = tuple(HospitalFacts(name=name, declared_rows=len(part)) for name, part in parts.items())
    privacy = {"noise": "local", "epsilon": epsilon_at(study, price)} | settings.get("privacy", {})
    agreed = study.with_hospitals(facts, cap_minimum=True).amended(
        **settings | {"study": {"seed": seed}, "privacy": privacy}
    )
    prepared = Prepared(agreed, {name: as_text(part) for name, part in parts.items()}, None, ())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        out = Path(folder) / "out"
        sites = out / "sites"
        opened = open_hospitals(agreed, open_shards(prepared), sites, stack)
        federate(agreed, opened, out, sites, rows=len(train), workers=1)
        return pd.read_csv(out / "synthetic.csv", keep_default_na=False, na_values=[""])


def epsilon_at(study: Study, price: float) -> float:
    """The epsilon of releases with so many times the variance that the study's epsilon asks for."""
    if price == 1.0:
        return study.privacy.epsilon
    delta = study.privacy.delta

    def counts(sigma: float) -> list[Event]:
        return [DiscreteGaussianVector(10 * sigma, 100)]  # any vector would do: sigma scales them all

    unit = accountant.calibrate(counts, study.privacy.epsilon, delta)
    return accountant.epsilon(counts(unit * math.sqrt(price)), delta)


def bootstrap(split: Split, study: Study, *, seed: int) -> pd.DataFrame:
    """As many real training rows, drawn with replacement: what sampling error alone costs."""
    return split[0].sample(len(split[0]), replace=True, random_state=seed).reset_index(drop=True)


PLAIN: Sections = {"synthesizer": {"anchor_weight": 0.0}, "training": {"rounds": 15}}
INDEPENDENT: Sections = {"synthesizer": {"pairs": 0, "triples": 0, "coarse_pairs": False}, "training": {"rounds": 0}}
ADVERSARY: Sections = {
    "synthesizer": {"anchor_weight": 20.0, "hidden": 64},
    "training": {"rounds": 15, "steps": 20, "batch": 2000},
}
"""The adversary as `simulations.trial` found it to work; `placebo` has the same steps and next to no budget for it, and
`longer-fit` gives the generator's steps of rounds and polish to the fit."""

VARIANTS: dict[str, Sections] = {
    "fewer-histograms": {"budget": {"histograms": 0.08}},
    "more-histograms": {"budget": {"histograms": 0.30}},
    "more-coarse": {"budget": {"coarse": 0.80}},
    "more-pairs": {"budget": {"pairs": 0.90}},
    "more-triples": {"budget": {"triples": 0.60}},
}
"""Other constants of the planner, for asking whether the ones it has hold on a table they were not tuned on."""

LOCKSTEP: Sections = ADVERSARY | {"training": {"rounds": 300, "steps": 1, "batch": 2000}}


def shared_noise(dropouts: int, colluders: int) -> Sections:
    """One draw of noise for all hospitals, of whom so many may vanish or collude."""
    return {"privacy": {"noise": "distributed"}, "federation": {"dropouts": dropouts, "colluders": colluders}}


ARMS: dict[str, Callable[..., pd.DataFrame]] = {
    "bootstrap": bootstrap,
    "central": partial(through_the_federation, hospitals=1, settings={}),
    "local-4": partial(through_the_federation, hospitals=4, settings={}),
    "by-site": partial(through_the_federation, hospitals=None, settings={}),
    "adversary": partial(through_the_federation, hospitals=1, settings=ADVERSARY),
    "placebo": partial(through_the_federation, hospitals=1, settings=ADVERSARY | {"budget": {"adversary": 1e-4}}),
    "longer-fit": partial(through_the_federation, hospitals=1, settings={"synthesizer": {"fit_steps": 2100}}),
    "plain-dp-gan": partial(through_the_federation, hospitals=1, settings=PLAIN),
    "independent": partial(through_the_federation, hospitals=1, settings=INDEPENDENT),
}
ARMS |= {
    f"{noise}-{hospitals}": partial(through_the_federation, hospitals=hospitals, settings=settings)
    for hospitals in (3, 8, 25)
    for noise, settings in (("local", {}), ("distributed", shared_noise(0, 1)))
}
ARMS |= {
    "distributed-4": partial(through_the_federation, hospitals=4, settings=shared_noise(0, 1)),
    "distributed-4-dropout": partial(through_the_federation, hospitals=4, settings=shared_noise(1, 1)),
    "distributed-4-skewed": partial(through_the_federation, hospitals=4, settings=shared_noise(0, 1), skew=0.5),
    "central-like-4": partial(through_the_federation, hospitals=1, settings={}, price=4 / 3),
    "central-like-4-dropout": partial(through_the_federation, hospitals=1, settings={}, price=4 / 2),
    "lockstep-4": partial(through_the_federation, hospitals=4, settings=LOCKSTEP | shared_noise(0, 1)),
}
"""Shared noise, beside a curator's of the same total variance: K / (K - dropouts - colluders) times the least."""

ARMS.update(
    {name: partial(through_the_federation, hospitals=1, settings=variant) for name, variant in VARIANTS.items()}
)


def measure(folder: Path, table: str, arm: str, epsilon: float, seed: int) -> Result:
    """One cell: train an arm on one split of one table at one epsilon and measure the outcome."""
    import torch

    torch.set_num_threads(1)
    spec = TABLES[table]
    frame = spec.read(folder)
    train, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=frame[spec.target])
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    columns = [name for name in frame.columns if name != "site"]
    study, _ = draft_study(as_text(frame[columns]), target=spec.target, name=table)
    names = list(study.table.names)
    spent = {"epsilon": epsilon or None, "delta": 1e-5}  # the bootstrap spends nothing and says 0
    study = study.amended(privacy=spent, evaluation={"holdout_fraction": 0.0})
    started = time.monotonic()
    synthetic = ARMS[arm]((train, test), study, seed=seed)
    seconds = time.monotonic() - started
    # As the schema sees them: rare labels are one category on both sides, and "?" is missing on both.
    tables = [conform(as_text(frame[names]), study.table) for frame in (train, test, synthetic)]
    scores = evaluate(tables[0], tables[1], tables[2], spec.target)
    return {"table": table, "arm": arm, "epsilon": epsilon, "seed": seed} | scores | {"seconds": round(seconds, 1)}


def main() -> None:
    """Run the cells that are not in the results yet, and print the mean of each table, arm and epsilon."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("FEDSYNTH_DATA"), help="folder of the tables")
    parser.add_argument("--out", type=Path, default=Path("out/quality.csv"))
    parser.add_argument("--tables", default="flchain,heart-disease")
    parser.add_argument("--arms", default="bootstrap,central,local-4")
    parser.add_argument("--epsilons", default="1,3,10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--leave-one-out", action="store_true", help="would other constants have been chosen?")
    options = parser.parse_args()
    if options.leave_one_out:
        sys.stdout.write(leave_one_out(pd.read_csv(options.out)) + "\n")
        return
    if options.data is None:
        parser.error("--data names the folder of the tables (or set FEDSYNTH_DATA)")
    done = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame()
    known = set(zip(*(done[key] for key in ("table", "arm", "epsilon", "seed")), strict=True)) if len(done) else set()
    cells = [
        (table, arm, float(epsilon), int(seed))
        for seed in options.seeds.split(",")
        for table in options.tables.split(",")
        for arm in options.arms.split(",")
        for epsilon in (options.epsilons.split(",") if arm != "bootstrap" else ["0"])
        if not (arm == "by-site" and TABLES[table].site is None)
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.processes) as pool:
        running = [pool.submit(measure, options.data, *cell) for cell in cells if cell not in known]
        try:
            for number, future in enumerate(as_completed(running), 1):
                _append(options.out, future.result())
                sys.stderr.write(f"\r{number} of {len(running)} cells")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    sys.stderr.write("\n")
    sys.stdout.write(_summary(pd.read_csv(options.out)) + "\n")


def _append(path: Path, result: Result) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(result))
        if is_new:
            writer.writeheader()
        writer.writerow(result)


def _summary(results: pd.DataFrame) -> str:
    grouped = results.groupby(["table", "arm", "epsilon"])
    means = grouped[[*METRICS, "seconds"]].mean().round(4)
    return means.assign(seeds=grouped.size()).to_string()


def leave_one_out(results: pd.DataFrame) -> str:
    """For each table: which constants the other tables would choose, and what these gain on it over the planner's own.

    A gain is the part of the error that goes, mean over the measures and over the cells that both arms have. The error
    of an AUROC is its distance from 1, of C2ST its distance from a half.
    """
    errors = results.set_index(["table", "epsilon", "seed", "arm"])[list(METRICS)]
    for name in ("auc_lr", "auc_gb"):
        errors[name] = 1 - errors[name]
    errors["c2st"] = (errors["c2st"] - 0.5).abs()
    own = errors.xs("central", level="arm")
    gains: pd.DataFrame = pd.DataFrame(
        {arm: (1 - errors.xs(arm, level="arm") / own).dropna().T.mean() for arm in VARIANTS if arm in set(results.arm)}
    )
    by_table = gains.groupby("table").mean()
    lines = [by_table.round(4).to_string(), ""]
    for table in by_table.index:
        others = by_table.drop(index=[table]).mean()
        best = str(others.idxmax()) if others.max() > 0 else "central"
        gain = by_table.loc[table, best] if best != "central" else 0.0
        lines.append(f"{table}: the others choose {best} (gain {max(others.max(), 0):+.1%}); here it gains {gain:+.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
