"""A warm process that forks hospitals and kills them: `python -m tests.testbeds.crashing_agent SCENARIO [--training]`.

It imports what a hospital needs once, without torch unless hospitals shall train. Then it reads one JSON object a line:
the state folder, the receipts that the coordinator holds, how many requests, and when to kill. For each it forks a
hospital that opens the ledger and answers the scenario's first requests one after the other, each reply into a pipe as
soon as it is there. What came out of the pipe, the whole frames and a torn last one, is printed as one line of JSON.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import opendp.prelude  # noqa: F401  # warm: the noise needs it

from client.consent.policy import Policy
from client.hospital import Hospital
from client.shard import Shard
from common.ledger.ledger import Ledger
from common.ledger.witness import Witness
from common.planning.planner import make_plan
from common.privacy.mechanisms import SecureNoise
from common.protocol.byte_form import from_bytes, to_bytes
from common.protocol.messages import EnrollRequest, Request
from common.study.study import Study, parse_study
from common.tables.formats import read_table
from tests.testbeds.consent import agreed_to

HEADER = struct.Struct("<iI")
END = -1

STEPPED = tuple(
    f"{name}.py" for name in ("chain", "draws", "files", "gate", "history", "hospital", "ledger", "store", "witness")
)
"""Where a life is cut into steps: one for every line that runs in these files."""


@dataclass(frozen=True)
class Scenario:
    study: Study
    requests: tuple[Request, ...]
    shard: Shard

    @classmethod
    def read(cls, folder: Path) -> Scenario:
        study = parse_study((folder / "study.toml").read_text())
        requests = tuple(cast("Request", from_bytes(path.read_bytes())) for path in sorted(folder.glob("*.request")))
        return cls(study, requests, Shard(read_table(folder / "table.csv"), study, key=b"key"))


class Steps:
    """Counts lines as they run, and kills this process before the line of that number."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last

    def __call__(self, frame: FrameType, event: str, value: object) -> Any:
        if not frame.f_code.co_filename.endswith(STEPPED):
            return None
        if event == "line":
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def live(scenario: Scenario, order: dict[str, Any], out: int) -> None:
    """One life of a hospital's process, from opening the ledger to the last reply."""
    study, steps = scenario.study, Steps(order["step"])
    path, witness = Path(order["state"]) / "ledger.sqlite", Path(order["state"]) / "witness.json"
    if not witness.exists():  # as `site init` leaves it
        Ledger(path, cohort="north", delta=1e-4).close()
        Witness(witness).create(Ledger.view(path).head)
    sys.settrace(steps)
    ledger = Ledger(path, cohort="north", delta=1e-4, witness=witness)
    hospital = Hospital(policy_for(study), lambda study: scenario.shard, ledger, SecureNoise())
    for place, request in enumerate(scenario.requests[: order["requests"]]):
        if isinstance(request, EnrollRequest):
            request = replace(request, receipts=order["receipts"])
        release(out, place, to_bytes(hospital.handle(request)))
    sys.settrace(None)
    release(out, END, str(steps.count).encode())


def policy_for(study: Study) -> Policy:
    return Policy("north", max_epsilon=3.0, delta=1e-4, consent=agreed_to(study))


def release(out: int, place: int, data: bytes) -> None:
    frame = memoryview(HEADER.pack(place, len(data)) + data)
    while frame:
        frame = frame[os.write(out, frame) :]


def obey(scenario: Scenario, order: dict[str, Any]) -> dict[str, Any]:
    """Fork a hospital, kill it when the order says so, and tell what it released and how it ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        live(scenario, order, write)
        os._exit(0)
    os.close(write)
    start, received, is_killed = time.monotonic(), b"", False
    while True:
        wait = None
        if order["after_s"] is not None and not is_killed:
            wait = max(0.0, start + order["after_s"] - time.monotonic())
        if not select.select([read], [], [], wait)[0]:
            os.kill(child, signal.SIGKILL)
            is_killed = True
            continue
        chunk = os.read(read, 1 << 20)
        if not chunk:
            break
        received += chunk
    os.close(read)
    _, status = os.waitpid(child, 0)
    ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    frames, steps, torn = [], None, None
    while len(received) >= HEADER.size:
        place, length = HEADER.unpack_from(received)
        data, received = received[HEADER.size : HEADER.size + length], received[HEADER.size + length :]
        if place == END:
            steps = int(data) if len(data) == length else None
        elif len(data) == length:
            frames.append([place, base64.b64encode(data).decode()])
        else:
            torn = [place, base64.b64encode(data).decode()]
    seconds = time.monotonic() - start
    return {"frames": frames, "torn": torn, "ended": ended, "steps": steps, "seconds": seconds}


def main() -> None:
    scenario = Scenario.read(Path(sys.argv[1]))
    plan = make_plan(scenario.study)
    policy_for(scenario.study).check("warm", scenario.study, plan, ())  # what it costs is remembered
    if "--training" in sys.argv:
        import torch

        import common.marginals.loss
        import common.synthesizers.gan.synthesizer  # noqa: F401

        torch.set_num_threads(1)
    print(json.dumps({"has_torch": "torch" in sys.modules}), flush=True)  # noqa: T201  # the protocol
    for line in sys.stdin:
        print(json.dumps(obey(scenario, json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
