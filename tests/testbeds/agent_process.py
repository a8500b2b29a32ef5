"""A site agent as a process of its own, over a CSV file: `python -m tests.testbeds.agent_process --help`.

And what tests need to start one, kill it and ask it: real processes, real sockets.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from client.agent.agent import Agent, serve
from client.agent.envelope import HealthReply
from client.agent.journal import log_as_json
from client.agent.transport import AgentSocket
from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.errors import FedSynthError
from common.ledger.ledger import Ledger
from common.privacy.mechanisms import NoiseSource, SecureNoise, SeededNoise
from common.protocol.signing import IDENTITY, Identity
from common.seeds import site_key
from common.tables.formats import read_table
from common.tables.frozen import digest_of

ROOT = Path(__file__).parents[2]


DELTA = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hospital", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--grace", type=float, default=30.0)
    parser.add_argument("--seed", type=int, help="a rehearsal with seeded noise; secure noise otherwise")
    options = parser.parse_args()
    log_as_json()
    noise: NoiseSource = SecureNoise() if options.seed is None else SeededNoise(options.seed)
    is_rehearsal = options.seed is not None
    key = options.state / IDENTITY
    try:
        ledger = Ledger(options.state / "ledger.sqlite", cohort=options.hospital, delta=DELTA)
        hospital = Hospital(
            Policy(options.hospital, is_simulation=True),  # approves every study: what is tried here comes before
            lambda study: Shard(read_table(options.data), study, key=site_key(study.seed, options.hospital)),
            ledger,
            noise,
            identity=Identity.load(key) if key.exists() else Identity.create(key),
            table=lambda: digest_of(options.data),
        )
        agent = Agent(hospital, state=options.state, is_rehearsal=is_rehearsal)
        serve(agent, options.socket, grace_s=options.grace)
    except FedSynthError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(problem.exit_code)


@dataclass
class AgentProcess:
    """Starts and ends an agent; its log is a file."""

    folder: Path
    hospital: str = "north"
    prefix: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log_name: str = "agent.log"
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "agent.sock"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def data(self) -> Path:
        return self.folder / "data.csv"

    @property
    def log(self) -> str:
        return (self.folder / self.log_name).read_text(encoding="utf-8")

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait for it."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        command = [
            *self.prefix,
            *(sys.executable, "-m", "tests.testbeds.agent_process", "--hospital", self.hospital),
            *("--data", str(self.data), "--state", str(self.state), "--socket", str(self.socket), *self.arguments),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | dict(self.environment)
        with (self.folder / self.log_name).open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        return self.process

    def start(self, *, patience_s: float = 60.0) -> float:
        """Start the process and wait until it answers; the seconds that took."""
        started = time.monotonic()
        process = self.launch()
        while time.monotonic() - started < patience_s:
            if process.poll() is not None:
                raise AssertionError(f"the agent ended with {process.returncode}: {self.log}")
            if self.health() is not None:
                return time.monotonic() - started
            time.sleep(0.02)
        raise AssertionError(f"no agent after {patience_s} s: {self.log}")

    def health(self) -> HealthReply | None:
        try:
            return AgentSocket(self.socket, timeout_s=2).health()
        except (grpc.RpcError, OSError):
            return None

    @property
    def public(self) -> str:
        """The identity that a study would list."""
        return (self.state / f"{IDENTITY}.pub").read_text(encoding="ascii").strip()

    def relay(self, signature: bytes = b"", timeout_s: float = 60.0) -> AgentSocket:
        """What Flower's ClientApp uses."""
        return AgentSocket(self.socket, self.hospital, signature, timeout_s)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None or self.process.poll() is not None:
            return 0 if self.process is None else self.process.returncode
        self.process.send_signal(number)
        return self.process.wait(60)


if __name__ == "__main__":
    main()
