"""Synthesizers of other projects, in a virtual environment of their own: found by path, run as a process.

They get the pooled training rows of all hospitals, and a grid that their epsilon does not pay for: it is cut at the
exact quantiles of the whole table, and values inside a bin follow its exact histogram. The arms of this project pay for
both. `make peers` creates the environment.
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

from common.columns.binning import Binning
from common.encoding import Encoder, count_cells
from common.errors import DataError, StudyError, cause_of
from common.planning.choice import MAX_CELLS
from common.seeds import seed_for
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text

BINS = 16
"""Number of bins of a numeric column on the peers' grid: as many as the measures compare."""

PROGRAM = Path(__file__).with_name("peer_program.py")
ENVIRONMENT = "FEDSYNTH_PEERS"


class PeerFailed(Exception):
    """A peer gave no table. The text says why, and quotes nothing of the table."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of another project.

    Attributes:
        label: its name for readers.
        package: distribution that contains it.
        is_private: it takes epsilon and delta.
        on_grid: it gets codes on the public grid; otherwise numbers and labels.
    """

    label: str
    package: str
    is_private: bool
    on_grid: bool


PEERS: dict[str, Peer] = {
    "aim": Peer(
        "AIM (smartnoise-synth, faulty sampler), centralized, public grid",
        "smartnoise-synth",
        is_private=True,
        on_grid=True,
    ),
    "dp-ctgan": Peer(
        "DP-CTGAN (smartnoise-synth), centralized, public grid", "smartnoise-synth", is_private=True, on_grid=True
    ),
    "ctgan": Peer("CTGAN, centralized, NOT private", "ctgan", is_private=False, on_grid=False),
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
    """Run a peer and return its raw synthetic table, as long as the training rows.

    Args:
        name: key in `PEERS`.
        train: raw training rows.
        whole: the table that the schema was drafted from; the grid is as public as the schema's bounds.
        study: schema, epsilon and delta.
        seed: seed of the peer.
        environment: virtual environment with the peer's package.
        limit_s: longest time that the peer may take, in seconds.

    Raises:
        PeerFailed: there is no such environment or package, the peer raised, or took longer than `limit_s`.
    """
    peer, schema = PEERS[name], study.table
    python = _python_with(peer.package, environment)
    rows = conform(as_text(train[list(schema.names)]), schema)
    encoder = None
    if peer.on_grid:
        every = conform(as_text(whole[list(schema.names)]), schema)
        encoder = Encoder(schema, count_cells(every, schema, MAX_CELLS), Binning(cells=MAX_CELLS, bins=BINS))
        given = pd.DataFrame(encoder.encode(rows), columns=[f"c{index}" for index in range(len(encoder.sizes))])
        request: dict[str, Any] = {"sizes": list(encoder.sizes)}
    else:
        given, discrete = _without_gaps(rows, schema)
        request = {"discrete": discrete}
    request |= {"peer": name, "rows": len(train), "seed": seed_for(seed, "peer", name) % 2**31}
    if peer.is_private:
        request |= {"epsilon": study.privacy.epsilon, "delta": study.privacy.delta}
    with tempfile.TemporaryDirectory() as folder:
        answer = _ask(python, Path(folder), request, given, limit_s=limit_s)
    if encoder is None:
        return format_table(_with_gaps(answer, schema), schema)
    rng = np.random.default_rng(seed_for(seed, "peer", name, "decode"))
    return format_table(_decoded(answer, encoder, rng), schema)


def _python_with(package: str, environment: Path | None) -> Path:
    python = find_python(environment)
    if python is None:
        raise PeerFailed(
            f"no environment for peers; create one with `make peers` and name it with --peers or {ENVIRONMENT}"
        )
    if package not in installed(python):
        raise PeerFailed(f"'{package}' is not installed in '{environment}'")
    return python


def _decoded(made: pd.DataFrame, encoder: Encoder, rng: np.random.Generator) -> pd.DataFrame:
    """Return the values of a peer's codes."""
    codes = made.to_numpy(dtype=np.int64)
    if codes.shape[1] != len(encoder.sizes) or (codes < 0).any() or (codes >= np.array(encoder.sizes)).any():
        raise PeerFailed("it returned codes outside its grid")
    return encoder.decode(codes.astype(np.int16), rng)


def find_python(environment: Path | None) -> Path | None:
    """Return the interpreter of the given virtual environment, or of the one that FEDSYNTH_PEERS names."""
    folder = environment or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    python = folder / "bin" / "python" if folder else None
    return python if python is not None and python.exists() else None


@lru_cache(maxsize=4)
def installed(python: Path) -> dict[str, str]:
    """Return versions of the peers' packages that this interpreter finds, by package."""
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
    one_thread = {
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    }
    try:
        done = subprocess.run(  # noqa: S603 the user names the interpreter
            [python, "-I", PROGRAM, folder],
            capture_output=True,
            text=True,
            timeout=limit_s,
            env={**os.environ, **one_thread, "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0"},
        )
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"it took longer than the limit of {limit_s:g} s") from None
    if done.returncode or not (folder / "made.csv").exists():
        failure = folder / "failure.json"
        kind = json.loads(failure.read_text(encoding="utf-8"))["exception"] if failure.exists() else None
        raise PeerFailed(f"it raised {kind}" if kind else f"it ended with exit code {done.returncode}")
    try:
        answer = pd.read_csv(folder / "made.csv", keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as problem:
        raise PeerFailed(f"its table cannot be read ({cause_of(problem)})") from None
    if len(answer) != request["rows"]:
        raise PeerFailed(f"it returned {len(answer)} rows instead of {request['rows']}")
    return answer


GAP = " is missing"


def _without_gaps(rows: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """Replace missing numbers by medians and indicator columns, for a peer that does not support missing numbers.

    Returns:
        the table and its discrete columns.
    """
    if taken := [name for name in schema.names if name.endswith(GAP)]:
        raise DataError(f"the name of column '{taken[0]}' ends in '{GAP}', which the benchmark uses; rename it")
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
    return pd.DataFrame(columns), discrete


def _with_gaps(made: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Undo `_without_gaps` and conform every value."""
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
