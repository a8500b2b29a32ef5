"""One run of the ServerApp against hospitals in this process, over a grid that stands in for Flower's network."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from client.agent.transport import Transport, in_process
from client.flower_app import app as client_app
from common.planning.plan import Plan
from common.run_events.events import Emit
from common.study.study import Study
from server.flower_app import make_app
from server.run.config import RunConfig
from simulations.federation.local_grid import Config, LocalGrid, run_server_app

MakeGrid = Callable[[list[Config], Config], LocalGrid]
"""Makes a grid over these nodes, for a run of this configuration."""


def simulated_run(study: Study, out: Path, sites: Path, *, rows: int = 0, run_id: str | None = None) -> RunConfig:
    """Return the configuration of a simulated run.

    Args:
        study: study of the run.
        out: folder of the run.
        sites: folder in which the coordinator keeps the hospitals' receipts.
        rows: synthetic rows to draw; 0 for as many as were declared.
        run_id: identifier of a run to resume from the checkpoints in `out`. By default a fresh one, so that ledgers
            which outlive the run do not mistake it for another.
    """
    fresh = run_id or secrets.token_hex(8)
    return RunConfig(study, fresh, out, sites / "receipts.json", is_simulation=True, rows=rows)


def federate(
    config: RunConfig,
    hospitals: Mapping[str, Transport],
    *,
    workers: int | None = None,
    observers: Sequence[Emit] = (),
    plan: Plan | None = None,
) -> None:
    """Run the server's and the hospitals' apps against each other; the server writes its part of the run folder.

    Args:
        config: settings of the run.
        hospitals: hospitals by name, or what stands between each and its relay.
        workers: hospitals that compute at once; one per processor by default.
        observers: take the events of the run.
        plan: plan of the study; None to compute it.
    """
    addresses = {f"{config.run_id}/{name}": hospital for name, hospital in hospitals.items()}
    nodes: list[Config] = [{"agent": address} for address in addresses]
    with in_process(addresses):
        drive(config, nodes, partial(LocalGrid, client_app, workers=workers), observers=observers, plan=plan)


def drive(
    config: RunConfig,
    nodes: list[Config],
    make_grid: MakeGrid,
    *,
    observers: Sequence[Emit] = (),
    plan: Plan | None = None,
) -> None:
    """Run the ServerApp against a grid over these nodes.

    Args:
        config: settings of the run.
        nodes: configuration of each node.
        make_grid: makes the grid.
        observers: take the events of the run.
        plan: plan of the study; None to compute it.
    """
    settings = config.to_flower()
    with make_grid(nodes, settings) as grid:
        run_server_app(make_app(*observers, plan=plan), grid, settings)
