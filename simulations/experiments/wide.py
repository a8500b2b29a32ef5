"""What a wide table costs from draft to report, in CPU seconds of the commands that a user types.

    python -m simulations.experiments.wide FOLDER [--seeds 0 1] [--epsilon 3]

Writes `laboratory` of `evaluation_costs` into FOLDER, 823 patients of four clinics with 171 columns and some text cells
among numbers, and runs `fedsynth study draft` and `fedsynth simulate` on it, with a report, once for each seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from simulations.benchmark.tables import SITE_COLUMN
from simulations.experiments.evaluation_costs import laboratory
from simulations.usage import cpu_seconds

MEASURES = ("tvd1", "tvd2", "c2st", "auc_gb")
"""Measures of the report that are printed."""


def spent(*arguments: str | Path) -> float:
    """Run a `fedsynth` command in a process of its own and return the CPU seconds that it used."""
    before = cpu_seconds(with_children=True)
    command = [sys.executable, "-m", "simulations.cli.main", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    return cpu_seconds(with_children=True) - before


def measure(folder: Path, seed: int, epsilon: float) -> str:
    """Draft, simulate and report once, and return what it cost and how good the table is.

    Args:
        folder: for the table and the run.
        seed: of the table and of the run.
        epsilon: of every clinic.
    """
    table, study, out = folder / f"lab-{seed}.csv", folder / f"lab-{seed}.toml", folder / f"out-{seed}"
    raw = laboratory(seed=seed)
    raw.to_csv(table, index=False)
    site = ("--site-column", SITE_COLUMN)
    drafted = spent("study", "draft", table, "--target", "died", *site, "--out", study, "--force")
    given = ("--seed", str(seed), "--epsilon", str(epsilon))
    simulated = spent("simulate", "--study", study, "--data", table, *site, *given, "--out", out, "--force")
    kept = [name for name in pd.read_csv(out / "synthetic.csv", nrows=0).columns if name in raw]
    measures = json.loads((out / "report.json").read_text(encoding="utf-8"))["measures"]
    scores = ", ".join(f"{key} {measures[key]['estimate']['value']:.3f}" for key in MEASURES if measures[key])
    return (
        f"seed {seed}: draft {drafted:.1f} CPU seconds, simulation with report {simulated:.1f}, "
        f"{len(kept)} of {raw.shape[1] - 1} columns; {scores}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epsilon", type=float, default=3.0)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        sys.stdout.write(measure(options.folder, seed, options.epsilon) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
