"""Measure how time, memory and bytes grow with rows, columns and hospitals, and with millions of rows at a hospital.

    python -m simulations.experiments.scale --data FOLDER --out scale.csv [--along rows,columns,width,hospitals,shard]

Every point runs in a process of its own with one thread, so that its peak memory is its own. A federated point takes
the study's defaults, but few `fit_steps` and `rounds`: what grows is measured, not the constant. Along `width`, a
synthetic table has columns of thirty categories that depend on the first. A shard point repeats BRFSS in a Parquet file
and does what one hospital does with its data in a run: read, histograms, coarse tables of all pairs, twenty Poisson
batches.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simulations.usage import cpu_seconds, peak_mib

if TYPE_CHECKING:
    from common.study.study import Study

Measured = dict[str, Any]
"""What was measured at a point, by the names of `COLUMNS`."""

SETTINGS: dict[str, dict[str, object]] = {
    "synthesizer": {"kind": "marginal-gan", "fit_steps": 100},
    "training": {"rounds": 2, "steps": 20},
}

SYNTHETIC = "synthetic"

POINTS: dict[str, tuple[tuple[str, int], ...]] = {
    "rows": (("brfss", 4_000), ("brfss", 32_000), ("brfss", 253_680)),
    "columns": (("eicu", 8), ("eicu", 16), ("eicu", 32), ("support2", 8), ("support2", 16), ("support2", 32)),
    "width": ((SYNTHETIC, 25), (SYNTHETIC, 50), (SYNTHETIC, 100)),
    "hospitals": (("flchain", 4), ("flchain", 20), ("flchain", 100)),
    "shard": (("brfss", 100_000), ("brfss", 1_000_000), ("brfss", 10_000_000)),
}
"""Table and size of every point; sizes along `columns` are at most the table's own."""

MEASURES = ("cpu_seconds", "hospital_seconds", "peak_mib", "bytes_per_hospital")
COLUMNS = ("along", "table", "size", "rows", "columns", "hospitals", *MEASURES)
PATIENT = "patient"
CATEGORIES, WIDE_ROWS = 30, 20_000
"""Categories of each column and rows of the table along `width`."""

TILE = 2**18
"""Rows that are written to the Parquet file at once."""


def federated(along: str, table: str, size: int, folder: Path) -> Measured:
    """Measure one point of a whole federation, without evaluation.

    Args:
        along: what grows, a key of `POINTS`.
        table: name of the clinical table; of no account for `width`, which makes its own.
        size: number of rows, columns or hospitals, as `along` says.
        folder: folder of the tables.
    """
    import torch

    from common.study.limits import rounded
    from common.study.sections import HospitalFacts
    from common.tables.raw import as_text
    from simulations.benchmark.synthesis import partition
    from simulations.federation.federate import federate, simulated_run
    from simulations.federation.prepare import Prepared
    from simulations.federation.sites import open_hospitals, open_shards

    torch.set_num_threads(1)
    hospitals = size if along == "hospitals" else 1
    frame, study = _table_of_size(along, table, size, folder)
    parts = partition(frame, hospitals, 0)
    facts = tuple(HospitalFacts(name=name, declared_rows=rounded(len(part))) for name, part in parts.items())
    agreed = study.with_hospitals(facts, cap_minimum=True).amended(evaluation={"holdout_fraction": 0.0}, **SETTINGS)
    tables = {name: as_text(part[list(agreed.table.names)]) for name, part in parts.items()}
    started = cpu_seconds()
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        out = Path(scratch)
        opened = open_hospitals(agreed, open_shards(Prepared(agreed, tables, None, ())), out / "sites", stack)
        federate(simulated_run(agreed, out, out / "sites"), opened, workers=1)
        record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    cells = [cell for phase in record["traffic"].values() for cell in phase.values()]
    asking = sum(record["phases"][phase] for phase in record["traffic"])  # one after the other, with one worker
    sizes = {"rows": len(frame), "columns": len(agreed.table.names), "hospitals": hospitals}
    return {
        **sizes,
        "cpu_seconds": cpu_seconds() - started,
        "hospital_seconds": asking / hospitals,
        "bytes_per_hospital": sum(cell["bytes_up"] + cell["bytes_down"] for cell in cells) / hospitals,
    }


def _table_of_size(along: str, table: str, size: int, folder: Path) -> tuple[pd.DataFrame, Study]:
    """Return a table and its study with as many rows or columns as asked, as far as these grow."""
    from simulations.benchmark.tables import SITE_COLUMN, ClinicalTable, LoadedTable
    from simulations.drafting import NamedColumns, draft_study

    if along == "width":
        table_of_width = wide(size)
        loaded = LoadedTable(table_of_width, draft_study(table_of_width, "wide", NamedColumns("c1")).study)
    else:
        loaded = ClinicalTable(table, folder).load()
    frame, study = loaded.frame.drop(columns=SITE_COLUMN, errors="ignore"), loaded.study
    if along == "rows":
        frame = frame.sample(size, random_state=0).reset_index(drop=True)
    elif along == "columns":
        names = [loaded.target, *(name for name in study.table.names if name != loaded.target)][:size]
        study = study.amended(schema={"columns": [column.model_dump(mode="json") for column in _columns(study, names)]})
    return frame, study


def _columns(study: Any, names: list[str]) -> list[Any]:
    return [column for column in study.table.each() if column.name in names]


def wide(columns: int) -> pd.DataFrame:
    """Return a table of `columns` columns of thirty categories; half of the time, each repeats the first column's."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, CATEGORIES, (WIDE_ROWS, columns))
    follows = rng.random(codes.shape) < 0.5
    codes = np.where(follows, codes[:, :1], codes)
    labels = np.array([f"k{code:02d}" for code in range(CATEGORIES)])
    return pd.DataFrame({f"c{column + 1}": labels[codes[:, column]] for column in range(columns)})


def shard(table: str, size: int, folder: Path) -> Measured:
    """Measure one hospital's data work on a Parquet file, each row a patient with an identifier.

    Args:
        table: name of the clinical table that is repeated.
        size: number of rows.
        folder: folder of the tables.
    """
    from client.shard import StreamedShard
    from common.marginals.queries import count, pair_queries
    from common.planning.planner import make_plan
    from common.planning.public_run import HISTOGRAMS, PublicRun
    from common.privacy.mechanisms import SecureNoise
    from common.study.limits import rounded
    from common.study.sections import HospitalFacts
    from common.study.study import parse_study
    from common.tables.formats import read_parts

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "shard.parquet"
        # Drafting and writing take memory that a hospital does not need: another process does them.
        subprocess.run([*_myself("tile", table, size), "--data", folder, "--out", path], check=True)  # noqa: S603
        study = parse_study(path.with_suffix(".toml").read_text(encoding="utf-8"))
        study = study.with_hospitals((HospitalFacts(name="north", declared_rows=rounded(size)),), cap_minimum=True)
        plan = make_plan(study)
        started = cpu_seconds()
        parts = read_parts(path, [*study.table.names, PATIENT])
        records = StreamedShard(parts, study, key=b"0" * 32, patient_column=PATIENT)
        public = PublicRun(study, plan).after(HISTOGRAMS, records.histograms(plan.cells))
        encoder, codes = public.encoder, records.encoded(public)
        tables = count(codes, pair_queries(len(encoder.sizes), 4), public.domain)
        noise, drawn = SecureNoise(), 0
        for _ in range(20):
            drawn += len(codes[noise.poisson_sample(len(codes), 256 / len(codes))])
        seconds = cpu_seconds() - started
    assert tables.sum() == len(codes) * math.comb(len(encoder.sizes), 2), "a patient is in one cell of each table"
    return {"rows": size, "columns": len(encoder.sizes), "hospitals": 1, "cpu_seconds": seconds, "drawn": drawn}


def tile(table: str, size: int, folder: Path, path: Path) -> None:
    """Write a table that repeats a clinical one, and a study drafted from it.

    Args:
        table: name of the clinical table.
        size: number of rows; each is a new patient.
        folder: folder of the tables.
        path: Parquet file to write; the study is written beside it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from simulations.benchmark.tables import ClinicalTable

    loaded = ClinicalTable(table, folder).load()
    path.with_suffix(".toml").write_text(loaded.study.amended(privacy={"delta": 1e-9}).to_toml(), encoding="utf-8")
    frame = loaded.frame[list(loaded.study.table.names)]
    writer = None
    for start in range(0, size, TILE):
        numbers = np.arange(start, min(start + TILE, size))
        part = frame.iloc[numbers % len(frame)].assign(**{PATIENT: [f"p{number:09d}" for number in numbers]})
        arrow = pa.Table.from_pandas(part, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, arrow.schema)
        writer.write_table(arrow, row_group_size=2**17)
    assert writer is not None
    writer.close()


def _myself(*words: object) -> list[str]:
    return [sys.executable, "-m", "simulations.experiments.scale", "--one", *map(str, words)]


def measure(along: str, table: str, size: int, folder: Path) -> Measured:
    """Measure a point in a process of its own, which leaves what it measured as JSON in a file."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "measured.json"
        subprocess.run([*_myself(along, table, size), "--data", folder, "--out", path], check=True)  # noqa: S603
        measured: Measured = json.loads(path.read_text(encoding="utf-8"))
    return measured


def slope(sizes: list[float], values: list[float]) -> float:
    """Return the exponent b of value = a size^b, by least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def summary(results: pd.DataFrame) -> str:
    """Return every point and the exponents of growth along each way, as Markdown."""
    lines = []
    for (along, table), rows in results.groupby(["along", "table"], sort=False):
        known = [name for name in MEASURES if rows[name].notna().all()]
        lines += [f"| {table}: {along} | " + " | ".join(known) + " |", "|---|" + "---|" * len(known)]
        for _, row in rows.iterrows():
            lines.append(f"| {row['size']:,} | " + " | ".join(f"{row[name]:,.1f}" for name in known) + " |")
        if len(rows) > 1:
            sizes = [float(size) for size in rows["size"]]
            powers = (f"{slope(sizes, [float(value) for value in rows[name]]):.2f}" for name in known)
            lines.append("| exponent | " + " | ".join(powers) + " |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure the points that are not in the results yet, and print them with their exponents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("FEDSYNTH_DATA"), help="folder of the tables")
    parser.add_argument("--out", type=Path, default=Path("out/scale.csv"))
    parser.add_argument("--along", default=",".join(POINTS))
    parser.add_argument("--most", type=int, help="largest size to measure")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data names the folder of the tables (or set FEDSYNTH_DATA)")
    if options.one:
        along, table, size = options.one[0], options.one[1], int(options.one[2])
        if along == "tile":
            tile(table, size, options.data, options.out)
            return
        measured = shard(table, size, options.data) if along == "shard" else federated(along, table, size, options.data)
        measured |= {"along": along, "table": table, "size": size, "peak_mib": peak_mib()}
        options.out.write_text(json.dumps(measured), encoding="utf-8")
        return
    done = pd.read_csv(options.out) if options.out.exists() else pd.DataFrame(columns=list(COLUMNS))
    known = {(row["along"], row["table"], row["size"]) for _, row in done.iterrows()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for along in options.along.split(","):
        for table, size in POINTS[along]:
            if (along, table, size) in known or (options.most and size > options.most):
                continue
            started = time.monotonic()
            measured = measure(along, table, size, options.data)
            is_new = not options.out.exists()
            with options.out.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
                if is_new:
                    writer.writeheader()
                writer.writerow(measured)
            sys.stderr.write(f"{along} {table} {size}: {time.monotonic() - started:.0f} s\n")
    sys.stdout.write(summary(pd.read_csv(options.out)))


if __name__ == "__main__":
    main()
