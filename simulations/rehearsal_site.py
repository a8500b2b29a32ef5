"""The two processes of a site in a rehearsal: `python -m simulations.rehearsal_site agent|join ...`.

They are the agent and the SuperNode of a deployment, over a folder instead of a site's own settings. The agent approves
the study in its folder, and nothing else. Where the study is a rehearsal its noise is seeded, so that the result can be
compared with the local grid's.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from common.errors import FedSynthError


def agent(hospital: str, folder: Path) -> None:
    """Serve `folder/data.csv` on `folder/run/agent.sock` until told to stop."""
    import torch

    from client.agent import Agent, serve
    from client.hospital import Hospital
    from client.journal import log_as_json
    from client.policy import Policy
    from client.shard import Shard
    from common.privacy.ledger import Ledger
    from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
    from common.study import read_study
    from common.tables import read_table
    from simulations.simulate import site_key

    log_as_json()
    torch.set_num_threads(1)  # as the local grid does: sums depend on how they are split
    approved = read_study(folder / "study.toml")
    is_rehearsal = approved.about.rehearsal
    noise: NoiseSource = SeededNoise(approved.seed) if is_rehearsal else SecureNoise()
    if is_rehearsal:
        logging.getLogger("client").warning("REHEARSAL: the noise is predictable and protects nobody")
    policy = Policy(hospital, approved=frozenset({approved.fingerprint}), is_simulation=is_rehearsal)
    state, data = folder / "state", folder / "data.csv"
    key = site_key(approved.seed, hospital)
    owner = Hospital(
        policy, lambda study: Shard(read_table(data), study, key=key), Ledger(state / "ledger.sqlite"), noise
    )
    serve(Agent(owner, data=data, state=state, is_rehearsal=is_rehearsal), folder / "run" / "agent.sock")


def join(folder: Path, superlink: str, authority: Path, port: int) -> None:
    """Keep a SuperNode connected that passes requests to the agent of the same folder."""
    from client.join import Link, SuperNode

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    socket, key, home = folder / "run" / "agent.sock", folder / "node.key", folder / "flower"
    SuperNode(Link(superlink, authority, key, socket, home, port)).run()


def main(arguments: list[str]) -> None:
    """Parse and call."""
    try:
        match arguments:
            case ["agent", hospital, folder]:
                agent(hospital, Path(folder))
            case ["join", _, folder, superlink, authority, port]:
                join(Path(folder), superlink, Path(authority), int(port))
            case _:
                sys.exit("usage: agent NAME FOLDER | join NAME FOLDER HOST:PORT CA PORT")
    except FedSynthError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
