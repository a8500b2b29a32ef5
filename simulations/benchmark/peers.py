"""Synthesizers of other projects and papers: each runs as a process of its own, on the pooled rows of all hospitals.

AIM and MST are written after their papers (`simulations.benchmark.pgm`); the others are the programs of their authors,
in a virtual environment found by path, which `make peers` creates. Peers that work on codes get this project's own
encoder: a numeric column is cut at 16 quantiles, and values inside a bin follow the column's histogram. The histograms
are noisy and part of a peer's budget, or exact and free.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.columns.binning import Binning
from common.encoding import Encoder, count_cells
from common.errors import DataError, StudyError, cause_of
from common.planning.sizing import MAX_CELLS, MIN_CELLS
from common.seeds import seed_for
from common.study.schema import Schema
from common.study.study import Study
from common.tables.conforming import conform, format_table
from common.tables.raw import as_text
from simulations.benchmark.pgm.spending import gaussian_price

BINS = 16
"""Number of bins of a numeric column: as many as the measures compare."""

HISTOGRAMS = 0.1
"""Part of the budget that noisy histograms cost."""

PROGRAM = Path(__file__).with_name("peer_program.py")
OWN_PROGRAMS = "simulations.benchmark.pgm"
ENVIRONMENT = "FEDSYNTH_PEERS"

PAR_PACKAGE = "sdv"
"""Distribution of the peer that makes visits."""

CONDITIONS = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
"""Environment variables of a peer: one thread, as every other arm. Isolated interpreters ignore the path."""


class PeerFailed(Exception):
    """A peer gave no table. The text says why, and quotes nothing of the table."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A synthesizer to compare with.

    Attributes:
        label: its name for readers.
        program: its name in `peer_program` or in `pgm`.
        package: distribution that contains it; None for the programs of `pgm`.
        is_private: it takes epsilon and delta, or a budget.
        given: codes of bins that it pays for, codes of bins that it gets for nothing, or numbers and labels.
    """

    label: str
    program: str
    package: str | None
    is_private: bool
    given: Literal["noisy bins", "exact bins", "values"]


PEERS: dict[str, Peer] = {
    "aim": Peer("AIM, centralized", "aim", None, is_private=True, given="noisy bins"),
    "aim-free-bins": Peer("AIM, centralized, exact bins for free", "aim", None, is_private=True, given="exact bins"),
    "mst": Peer("MST, centralized", "mst", None, is_private=True, given="noisy bins"),
    "mst-free-bins": Peer("MST, centralized, exact bins for free", "mst", None, is_private=True, given="exact bins"),
    "dp-ctgan": Peer(
        "DP-CTGAN (smartnoise-synth), centralized, exact bins for free",
        "dp-ctgan",
        "smartnoise-synth",
        is_private=True,
        given="exact bins",
    ),
    "arf": Peer("ARF (arfpy), centralized, NOT private", "arf", "arfpy", is_private=False, given="values"),
    "ctgan": Peer("CTGAN, centralized, NOT private", "ctgan", "ctgan", is_private=False, given="values"),
}


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """Where other projects' programs are, and how long they may take.

    Attributes:
        folder: virtual environment with their packages; None where there is none.
        limit_s: longest time that a program may take for one table, in seconds; None for any.
    """

    folder: Path | None = None
    limit_s: float | None = None


NO_PEERS = PeerEnvironment()


def run_peer(name: str, train: pd.DataFrame, study: Study, seed: int, environment: PeerEnvironment) -> pd.DataFrame:
    """Run a peer and return its raw synthetic table, as long as the training rows.

    Args:
        name: key in `PEERS`.
        train: raw training rows.
        study: schema, epsilon and delta.
        seed: seed of the peer.
        environment: where the peer's package is, and how long it may take.

    Raises:
        PeerFailed: there is no such environment or package, the peer raised, or took longer than it may.
    """
    peer, schema = PEERS[name], study.table
    command, limit_s = _command(peer, environment.folder), environment.limit_s
    rows = conform(as_text(train[list(schema.read_names)]), schema)
    request = {"program": peer.program, "rows": len(train), "seed": seed_for(seed, "peer", name) % 2**31}
    budget = 0.0
    if peer.is_private:
        assert study.privacy.epsilon is not None, "an arm with a budget has an epsilon"
        request |= {"epsilon": study.privacy.epsilon, "delta": study.privacy.delta}
        budget = gaussian_price(study.privacy.epsilon, study.privacy.delta) ** 2
    if peer.given == "values":
        given, discrete = _without_gaps(rows, schema)
        return format_table(_with_gaps(ask(command, request | {"discrete": discrete}, given, limit_s), schema), schema)
    rng = np.random.default_rng(seed_for(seed, "peer", name, "bins"))
    if peer.given == "noisy bins" and schema.with_grid:
        encoder = noisy_encoder(rows, schema, HISTOGRAMS * budget, rng)
        budget *= 1 - HISTOGRAMS
    else:
        encoder = exact_encoder(rows, schema)
    given = pd.DataFrame(encoder.encode(rows), columns=[f"c{index}" for index in range(len(encoder.sizes))])
    answer = ask(command, request | {"sizes": list(encoder.sizes), "budget": budget}, given, limit_s)
    rng = np.random.default_rng(seed_for(seed, "peer", name, "decode"))
    return format_table(_decoded(answer, encoder, rng), schema)


def exact_encoder(rows: pd.DataFrame, schema: Schema) -> Encoder:
    """Return an encoder of exact histograms of the rows, which is not private."""
    return Encoder(schema, count_cells(rows, schema, MAX_CELLS), Binning(cells=MAX_CELLS, bins=BINS))


def noisy_encoder(rows: pd.DataFrame, schema: Schema, budget: float, rng: np.random.Generator) -> Encoder:
    """Return an encoder of noisy histograms of the numeric columns.

    Cells are as many as keep the average one above half the noise of a histogram of one level, as the planner does.

    Args:
        rows: conformed rows.
        schema: their columns.
        budget: M^2 of the Gaussian privacy that all histograms together cost.
        rng: draws the noise.
    """
    visible = len(rows) * math.sqrt(budget / len(schema.with_grid))
    cells = max(MIN_CELLS, min(int(2 * visible), MAX_CELLS))
    deviation = math.sqrt(sum(column.histogram(cells).max_changed_cells for column in schema.with_grid) / budget)
    parts = []
    for column in schema.each():
        histogram = column.histogram(cells)
        if column.grid is None:  # labels need no bins: a peer counts them itself
            parts.append(np.zeros(histogram.length, dtype=np.int64))
            continue
        noise = rng.normal(0.0, deviation, histogram.length)
        parts.append(np.rint(histogram.count(rows[column.name]) + noise).astype(np.int64))
    return Encoder(schema, np.concatenate(parts), Binning(cells, BINS, deviation))


def _command(peer: Peer, environment: Path | None) -> list[str | Path]:
    if peer.package is None:
        return [sys.executable, "-m", OWN_PROGRAMS]
    return [python_with(peer.package, environment), "-I", PROGRAM]


def python_with(package: str, environment: Path | None) -> Path:
    """Return the interpreter that has a peer's package, or raise `PeerFailed`."""
    python = find_python(environment)
    if python is None:
        raise PeerFailed(
            f"no environment for peers; create one with `make peers` and name it with --peers or {ENVIRONMENT}"
        )
    if package not in installed(python):
        raise PeerFailed(f"'{package}' is not installed in '{environment}'")
    return python


def _decoded(drawn: pd.DataFrame, encoder: Encoder, rng: np.random.Generator) -> pd.DataFrame:
    """Return the values of a peer's codes."""
    codes = drawn.to_numpy(dtype=np.int64)
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
    packages = sorted({PAR_PACKAGE, *(peer.package for peer in PEERS.values() if peer.package)})
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


def ask(
    command: Sequence[str | Path], request: Mapping[str, Any], given: pd.DataFrame, limit_s: float | None
) -> pd.DataFrame:
    """Run a program on a table and return the table that it makes, or raise `PeerFailed`.

    Args:
        command: what to run, without the folder.
        request: what the program reads beside the table; `rows` where their number is fixed.
        given: the table.
        limit_s: longest time, in seconds; None for any.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given.to_csv(folder / "given.csv", index=False)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 the user names the interpreter
                [*command, folder], capture_output=True, text=True, timeout=limit_s, env={**os.environ, **CONDITIONS}
            )
        except subprocess.TimeoutExpired:
            raise PeerFailed(f"not within {(limit_s or 0) / 60:g} minutes") from None
        if done.returncode or not (folder / "made.csv").exists():
            failure = folder / "failure.json"
            kind = json.loads(failure.read_text(encoding="utf-8"))["exception"] if failure.exists() else None
            raise PeerFailed(f"it raised {kind}" if kind else f"it ended with exit code {done.returncode}")
        try:
            answer = pd.read_csv(folder / "made.csv", keep_default_na=False, na_values=[""])
        except (ValueError, OSError) as problem:
            raise PeerFailed(f"its table cannot be read ({cause_of(problem)})") from None
    if len(answer) != request.get("rows", len(answer)):  # how many visits a program of visits makes, it decides
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


def _with_gaps(drawn: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Undo `_without_gaps` and conform every value."""
    columns: dict[str, pd.Series] = {}
    for column in schema.each():
        values = drawn[column.name]
        if column.grid is not None:
            if column.missing:
                values = values.mask(drawn[column.name + GAP] == "yes")
            columns[column.name] = values
        else:
            columns[column.name] = values.map(lambda label: None if label == "missing" else label[1:])
    return conform(as_text(pd.DataFrame(columns)), schema)
