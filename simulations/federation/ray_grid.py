"""Many virtual hospitals on Flower's own simulation backend: Ray actors run the ClientApp, each message in any of them.

The ServerApp, the ClientApp and the bytes that come out are those of the local grid. A hospital consists of
its files: its table, and its ledger, which each actor opens and closes for every message. Needs the extra `simulation`.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from flwr.app import Context, Message

from client.agent.transport import AGENT, in_process
from client.flower_app import app as client_app
from client.hospital import Hospital
from client.shard import StreamedShard
from common.errors import StudyError
from common.planning.plan import Plan
from common.run_events.events import Emit
from common.seeds import site_key
from common.study.study import Study, parse_study
from common.tables.formats import read_parts
from server.run.config import RunConfig
from simulations.federation.federate import drive
from simulations.federation.local_grid import Config, LocalGrid
from simulations.federation.prepare import Prepared
from simulations.federation.sites import open_hospitals

PARTITION = "partition-id"
"""The key by which Flower's backend tells nodes apart."""

OPEN_SHARDS = 16
"""Hospitals whose records one actor keeps in memory."""


@dataclass(frozen=True, slots=True)
class HospitalFiles:
    """The files of virtual hospitals, with which an actor answers for any of them."""

    study: str
    tables: Path
    sites: Path
    patient_column: str | None
    max_epsilon: float


def answer(files: HospitalFiles, message: Message, context: Context) -> Message:
    """Handle a message as a SuperNode's ClientApp does, in an actor's process.

    Args:
        files: where the hospital's table and ledger are.
        message: Flower's message.
        context: Flower's context of the node.

    Returns:
        The message with the hospital's reply.
    """
    import torch

    torch.set_num_threads(1)
    name = str(context.node_config[AGENT])
    study = parse_study(files.study)
    with open_virtual_hospital(files, study, name) as hospital, in_process({name: hospital}):
        return client_app(message=message, context=context)


@contextmanager
def open_virtual_hospital(files: HospitalFiles, study: Study, name: str) -> Iterator[Hospital]:
    """Open a hospital for one message; its ledger is locked meanwhile."""
    with ExitStack() as stack:
        shards = {name: partial(_shard, files, name)}
        yield open_hospitals(study, shards, files.sites, stack, max_epsilon=files.max_epsilon)[name]


@lru_cache(maxsize=OPEN_SHARDS)
def _shard(files: HospitalFiles, name: str) -> StreamedShard:
    study = parse_study(files.study)
    parts = read_parts(files.tables / f"{name}.parquet", study.read_names_with(files.patient_column))
    return StreamedShard(parts, study, key=site_key(study.seed, name), patient_column=files.patient_column)


def _app_for(files: HospitalFiles) -> Callable[..., Message]:
    """Return the app that Flower's actor calls for every message."""
    return partial(answer, files)


class RayGrid(LocalGrid):
    """Delivers as the local grid does, with Flower's Ray backend in place of a call.

    Args:
        backend: Flower's running backend; the caller stops it.
    """

    def __init__(
        self, files: HospitalFiles, backend: Any, nodes: list[Config], run_config: Config, **others: Any
    ) -> None:
        super().__init__(client_app, nodes, run_config, workers=max(1, backend.num_workers), **others)
        self._backend = backend

    def run_app(self, message: Message, context: Context) -> Message:
        reply: Message = self._backend.process_message(message, context)[0]
        return reply


def _start_backend(files: HospitalFiles, actors: int) -> Any:
    """Start Flower's backend with its pool of actors, one processor each."""
    if find_spec("ray") is None:
        raise StudyError("--engine ray needs Ray; install it with `pip install 'fedsynth[simulation]'`")
    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend

    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    backend = RayBackend(
        {
            "init_args": {"num_cpus": actors, "log_to_driver": False, "logging_level": "error"},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        }
    )
    backend.build(cast(Any, partial(_app_for, files)))  # it calls what it gets with message and context
    return backend


def federate_on_ray(
    prepared: Prepared,
    config: RunConfig,
    *,
    max_epsilon: float = math.inf,
    observers: Sequence[Emit] = (),
    plan: Plan | None = None,
) -> None:
    """Federate on Ray; the hospitals' ledgers are afterwards where the receipts are, closed.

    Args:
        prepared: the study and the tables of its hospitals.
        config: settings of the run.
        max_epsilon: cap on what every hospital's ledger may ever hold, at the study's delta.
        observers: take the events of the run.
        plan: plan of the study; None to compute it.

    Raises:
        StudyError: Ray is not installed, or hospitals would have to keep keys between messages.
    """
    study = prepared.study
    if study.privacy.noise == "distributed":
        raise StudyError(
            "--engine ray answers every message in any of its processes, and masked sums (noise = 'distributed') need "
            "hospitals that keep their keys in one; use --noise local or --engine local"
        )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sites = config.receipts.parent.resolve()
        files = HospitalFiles(study.to_toml(), Path(folder), sites, prepared.patient_column, max_epsilon)
        for name, raw in prepared.tables.items():
            raw.to_parquet(files.tables / f"{name}.parquet", index=False)
        backend = _start_backend(files, os.cpu_count() or 1)
        stack.callback(backend.terminate)  # however the run ends
        nodes: list[Config] = [{AGENT: name, PARTITION: number} for number, name in enumerate(prepared.tables)]
        drive(config, nodes, partial(RayGrid, files, backend), observers=observers, plan=plan)
