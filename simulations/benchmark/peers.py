"""Synthesizers of other projects, in a virtual environment of their own: found by path, run as a process.

They are given the training rows of all hospitals pooled, and a grid that no epsilon pays for: cut at the exact
quantiles of the whole table, its bins filled as its exact histogram says. The arms of this project pay for both out of
their budget. `make peers` makes the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.encoding import Binning, Encoder, count_cells
from common.errors import DataError, StudyError
from common.planning.choice import MAX_CELLS
from common.seeds import seed_for
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text

BINS = 16
"""Bins of a numeric column on the peers' grid: as many as the yardstick compares."""

PROGRAM = Path(__file__).with_name("peer.py")
ENVIRONMENT = "FEDSYNTH_PEERS"


class PeerFailed(Exception):
    """A peer gave no table. The text says why, and quotes nothing of the table."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of another project.

    Args:
        package: the distribution that has it.
        on_grid: it is given codes on the public grid; else numbers and labels.
    """

    label: str
    package: str
    is_private: bool
    on_grid: bool


PEERS: dict[str, Peer] = {
    "aim": Peer(
        "AIM (smartnoise-synth, faulty sampler), centralised, public grid",
        "smartnoise-synth",
        is_private=True,
        on_grid=True,
    ),
    "dp-ctgan": Peer(
        "DP-CTGAN (smartnoise-synth), centralised, public grid", "smartnoise-synth", is_private=True, on_grid=True
    ),
    "ctgan": Peer("CTGAN, centralised, NOT private", "ctgan", is_private=False, on_grid=False),
}


def run_peer(
    name: str,
    train: pd.DataFrame,
    whole: pd.DataFrame,
    study: Study,
    seed: int,
    environment: Path | None,
    *,
    limit_s: float | None = None,
) -> pd.DataFrame:
    """The peer's synthetic table, as long as the training rows, raw.

    Args:
        whole: the table that the schema was read off; the grid is as public as the schema's bounds.
        environment: the virtual environment with the peer's package.

    Raises:
        PeerFailed: there is no such environment or package, the peer raised, or took longer than `limit_s`.
    """
    peer, schema = PEERS[name], study.table
    python = find_python(environment)
    if python is None:
        raise PeerFailed(
            f"no environment for peers; make one with `make peers` and name it with --peers or {ENVIRONMENT}"
        )
    if peer.package not in installed(python):
        raise PeerFailed(f"'{peer.package}' is not installed in '{environment}'")
    rows = conform(as_text(train[list(schema.names)]), schema)
    encoder = None
    if peer.on_grid:
        every = conform(as_text(whole[list(schema.names)]), schema)
        encoder = Encoder(schema, count_cells(every, schema, MAX_CELLS), Binning(cells=MAX_CELLS, bins=BINS))
        given = pd.DataFrame(encoder.encode(rows), columns=[f"c{place}" for place in range(len(encoder.sizes))])
        request: dict[str, Any] = {"sizes": list(encoder.sizes)}
    else:
        given, discrete = _without_gaps(rows, schema)
        request = {"discrete": discrete}
    request |= {"peer": name, "rows": len(train), "seed": seed_for(seed, "peer", name) % 2**31}
    if peer.is_private:
        request |= {"epsilon": study.privacy.epsilon, "delta": study.privacy.delta}
    with tempfile.TemporaryDirectory() as folder:
        made = _ask(python, Path(folder), request, given, limit_s=limit_s)
    if encoder is None:
        return format_table(_with_gaps(made, schema), schema)
    codes = made.to_numpy(dtype=np.int64)
    if codes.shape[1] != len(encoder.sizes) or (codes < 0).any() or (codes >= np.array(encoder.sizes)).any():
        raise PeerFailed("it drew codes outside its grid")
    rng = np.random.default_rng(seed_for(seed, "peer", name, "decode"))
    return format_table(encoder.decode(codes.astype(np.int16), rng), schema)


def find_python(environment: Path | None) -> Path | None:
    """The interpreter of a virtual environment: the one given, else that of the variable FEDSYNTH_PEERS."""
    folder = environment or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    python = folder / "bin" / "python" if folder else None
    return python if python is not None and python.exists() else None


@lru_cache(maxsize=4)
def installed(python: Path) -> dict[str, str]:
    """Versions of the peers' packages that this interpreter finds."""
    packages = sorted({peer.package for peer in PEERS.values()})
    lines = [
        "import importlib.metadata as m, json, sys",
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}",
        "print(json.dumps({p: found[p] for p in sys.argv[1:] if p in found}))",
    ]
    done = subprocess.run(  # noqa: S603 the user names the interpreter
        [python, "-I", "-c", "\n".join(lines), *packages], capture_output=True, text=True
    )
    if done.returncode:
        raise StudyError(f"'{python}' does not run; name a virtual environment with --peers")
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _ask(
    python: Path, folder: Path, request: dict[str, Any], given: pd.DataFrame, *, limit_s: float | None
) -> pd.DataFrame:
    given.to_csv(folder / "given.csv", index=False)
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    # One thread, as every other arm; XLA has switches of its own.
    one = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    try:
        done = subprocess.run(  # noqa: S603 the user names the interpreter
            [python, "-I", PROGRAM, folder],
            capture_output=True,
            text=True,
            timeout=limit_s,
            env={**os.environ, **one, "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"it took longer than the limit of {limit_s:g} s") from None
    if done.returncode or not (folder / "made.csv").exists():
        # The last line names the exception; its text might quote a cell.
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PeerFailed(f"it raised {last.split(':')[0][:80]}")
    try:
        made = pd.read_csv(folder / "made.csv", keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as problem:
        raise PeerFailed(f"its table cannot be read ({type(problem).__name__})") from None
    if len(made) != request["rows"]:
        raise PeerFailed(f"it drew {len(made)} rows where {request['rows']} were asked for")
    return made


GAP = " is missing"


def _without_gaps(rows: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """A table for a peer that knows no missing numbers: medians in their place, and a column that says where they were.

    Returns:
        the table and its discrete columns.
    """
    columns: dict[str, pd.Series] = {}
    discrete: list[str] = []
    for column in schema.each():
        values = rows[column.name]
        if column.grid is not None:
            gaps = values.isna()
            columns[column.name] = values.fillna(values.median() if not gaps.all() else column.grid.lower)
            if column.missing:
                columns[column.name + GAP] = gaps.map({True: "yes", False: "no"})
                discrete.append(column.name + GAP)
        else:
            columns[column.name] = values.map(lambda label: "missing" if label is None else f"={label}")
            discrete.append(column.name)
    if len(columns) < len(schema.names):
        raise DataError(f"a column's name ends in '{GAP}', which the benchmark uses; rename it")
    return pd.DataFrame(columns), discrete


def _with_gaps(made: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """What `_without_gaps` did, undone, and every value conformed."""
    columns: dict[str, pd.Series] = {}
    for column in schema.each():
        values = made[column.name]
        if column.grid is not None:
            if column.missing:
                values = values.mask(made[column.name + GAP] == "yes")
            columns[column.name] = values
        else:
            columns[column.name] = values.map(lambda label: None if label == "missing" else label[1:])
    return conform(as_text(pd.DataFrame(columns)), schema)
