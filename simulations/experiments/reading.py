"""How long a long table takes to read, and how much memory: one million rows from CSV, Parquet and PostgreSQL.

    python -m simulations.experiments.reading FOLDER [--database URL] [--rows 1000000]

Writes the invented table into FOLDER in every format, and into the table `reading` of the database. Each format is then
read part by part in a process of its own, as `fedsynth site import` reads it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from common.tables.formats import read_parts
from common.tables.reading import Reading
from simulations.usage import cpu_seconds, peak_mib


def invented_table(rows: int) -> pd.DataFrame:
    """Return a table of ten columns: numbers, labels, a code, dates and an identifier."""
    rng = np.random.default_rng(0)
    codes = [f"{letter}{number:02d}.{digit}" for letter in "EIJ" for number in range(99) for digit in "19"]
    days = pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3650, rows), "D")
    return pd.DataFrame(
        {
            "patient": np.arange(rows),
            "age": rng.integers(18, 100, rows),
            "sex": rng.choice(["female", "male"], rows),
            "bmi": rng.normal(26, 5, rows).round(1),
            "crp": rng.exponential(20, rows).round(2),
            "sodium": rng.normal(140, 3, rows).round(0),
            "icd": rng.choice(codes, rows),
            "ward": rng.choice(["surgery", "medicine", "icu"], rows),
            "admitted": days.strftime("%Y-%m-%d"),
            "died": rng.choice(["no", "yes"], rows, p=[0.9, 0.1]),
        }
    )


def read_once(path: Path, reading: Reading) -> dict[str, float]:
    """Return rows, seconds, CPU seconds and peak memory (MiB) of reading a table in this process."""
    before, started, started_cpu = peak_mib(), time.monotonic(), cpu_seconds()
    rows = sum(part.rows for part in read_parts(path, reading=reading))
    seconds, cpu = time.monotonic() - started, cpu_seconds() - started_cpu
    memory = {"mib": round(peak_mib()), "mib_before": round(before)}
    return {"rows": rows, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), **memory}


def write_tables(folder: Path, rows: int, database: str | None) -> list[Path]:
    """Write the table in every format; return what to read."""
    frame = invented_table(rows)
    frame.to_csv(folder / "table.csv", index=False)
    frame.to_parquet(folder / "table.parquet", index=False)
    paths = [folder / "table.csv", folder / "table.parquet"]
    if database is not None:
        import psycopg

        with psycopg.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS reading")
            cursor.execute(
                "CREATE TABLE reading (patient INTEGER, age INTEGER, sex TEXT, bmi NUMERIC, crp NUMERIC, "
                "sodium NUMERIC, icd TEXT, ward TEXT, admitted DATE, died TEXT)"
            )
            with cursor.copy("COPY reading FROM STDIN WITH (FORMAT csv, HEADER)") as copy:
                copy.write((folder / "table.csv").read_bytes())
        (folder / "table.sql").write_text("SELECT * FROM reading\n", encoding="utf-8")
        paths.append(folder / "table.sql")
    return paths


def main() -> None:
    """Write the tables, and print one line of JSON per format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database", default=None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--read", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        is_query = options.read.suffix == ".sql"
        sys.stdout.write(
            json.dumps(read_once(options.read, Reading(database=options.database) if is_query else Reading())) + "\n"
        )
        return
    for path in write_tables(options.folder, options.rows, options.database):
        command = [sys.executable, "-m", "simulations.experiments.reading", str(options.folder), "--read", str(path)]
        database = [] if options.database is None else ["--database", options.database]
        done = subprocess.run([*command, *database], check=True, capture_output=True, text=True)  # noqa: S603
        sys.stdout.write(f"{path.name} {done.stdout}")


if __name__ == "__main__":
    main()
