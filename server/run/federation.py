"""A run at the coordinator: enrol, histograms, rounds, with quorum and deadline so that no hospital can stall it.

Every step is checkpointed. A run that was cut off anywhere goes on from its last step: the requests that were under way
are sent again, byte for byte, and hospitals answer those they know from their stores.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.arrays import Array, Weights
from common.encoding import histogram_length
from common.errors import REASON_TEXTS, FederationError, PolicyRefusal, Reason, WireError
from common.marginals.queries import Domain
from common.marginals.released import ReleasedMarginals
from common.planning.capacity import most_counted
from common.planning.plan import HISTOGRAMS, PAIRS, ROUNDS, TRIPLES, Plan
from common.protocol import wire
from common.protocol.messages import (
    EnrolReply,
    EnrolRequest,
    GradientRequest,
    HistogramsReply,
    HistogramsRequest,
    MarginalsReply,
    MarginalsRequest,
    Reply,
    Request,
    RoundReply,
    RoundRequest,
    digest,
)
from common.secagg.terms import Terms
from common.seeds import seed_for
from common.study.study import Study
from common.synthesizers.gan.synthesizer import discriminator_of, make_synthesizer, mean_of, weights_of
from common.synthesizers.schedule import fit_steps
from server.aggregation import aggregate
from server.receipts import Receipts
from server.run.checkpoints import ROUND, Checkpoints
from server.secagg.masked_sums import PART, MaskedSums
from server.signatures import fault_of_signature

log = logging.getLogger(__name__)

POLL_S, SLOWEST_POLL_S = 0.01, 0.2
"""The coordinator looks for replies at growing intervals: at once in one process, sparingly over a network."""

R = TypeVar("R", bound=Reply)

Sign = Callable[[Request], bytes]
"""The coordinator's signature on a request; empty in a simulation."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One hospital's part in one exchange: bytes sent to it, bytes it sent, seconds until its reply was there."""

    phase: str
    hospital: str
    bytes_down: int
    bytes_up: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run leaves: the released histograms, the final weights, and who took part in what."""

    released: ReleasedMarginals
    weights: Weights
    members: tuple[str, ...]
    traffic: tuple[Traffic, ...]


class Exchange:
    """Sends one request to several hospitals and collects what arrives in time.

    Args:
        identities: public keys of the hospitals whose replies must be signed; empty in a simulation.
    """

    def __init__(
        self,
        grid: Grid,
        deadline_s: float,
        *,
        sign: Sign = lambda request: b"",
        identities: Mapping[str, str] | None = None,
    ) -> None:
        self._grid, self.deadline_s, self._sign, self._identities = grid, deadline_s, sign, identities or {}
        self.traffic: list[Traffic] = []

    def nodes(self) -> list[int]:
        return sorted(self._grid.get_node_ids())

    def ask(self, request: Request, nodes: Mapping[int, str]) -> dict[int, Reply]:
        """`ask_each` with one request for all."""
        return self.ask_each(dict.fromkeys(nodes, request), nodes)

    def ask_each(self, requests: Mapping[int, Request], nodes: Mapping[int, str]) -> dict[int, Reply]:
        """Replies by node, in the order of the hospitals' names; silent, late, unreadable and forged ones are left out.

        Args:
            requests: of one kind, by node id.
            nodes: node id to hospital name, or to a placeholder before names are known.
        """
        different = {id(request): request for request in requests.values()}
        encoded = {key: wire.encode(request, self._sign(request)) for key, request in different.items()}
        asked = {key: digest(request) for key, request in different.items()} if self._identities else {}
        contents = {node: encoded[id(request)] for node, request in requests.items()}
        request = next(iter(requests.values()))
        log.info("asking %d hospitals: %s", len(requests), _describe(request))
        start = time.monotonic()
        sent: dict[str, int] = {}
        for node, message_id in zip(contents, self._push(request.kind, contents), strict=True):
            if message_id is None:
                log.warning("%s: cannot be reached with %s; excluded", nodes[node], request.kind)
            else:
                sent[message_id] = node
        arrived: dict[int, Reply] = {}
        pause = POLL_S
        while sent and time.monotonic() - start < self.deadline_s:
            for message in self._grid.pull_messages(list(sent)):
                node = sent.pop(message.metadata.reply_to_message_id)
                reply = self._read(message, nodes[node], asked.get(id(requests[node]), ""))
                if reply is None:
                    continue
                arrived[node] = reply
                elapsed = time.monotonic() - start
                down, up = wire.size(contents[node]), wire.size(message.content)
                log.info("%s: replied to %s after %.2f s", nodes[node], request.kind, elapsed)
                self.traffic.append(Traffic(request.kind, reply.hospital, down, up, elapsed))
            if sent:
                time.sleep(pause)
                pause = min(pause * 1.5, SLOWEST_POLL_S)
        for node in sent.values():
            log.warning("%s: no reply to %s within %g s; excluded", nodes[node], request.kind, self.deadline_s)
        return dict(sorted(arrived.items(), key=lambda item: item[1].hospital))

    def _push(self, kind: str, contents: Mapping[int, RecordDict]) -> list[str | None]:
        """Message ids in the order of the nodes; None where Flower knows the node no more."""
        ttl = self.deadline_s + 60.0
        # A list: Flower's grid goes over the messages twice.
        messages = [
            Message(content, dst_node_id=node, message_type=kind, ttl=ttl) for node, content in contents.items()
        ]
        return list(self._grid.push_messages(messages))

    def _read(self, message: Message, name: str, asked: str) -> Reply | None:
        """The reply, if it is one and the hospital that it names signed it; else None, with a line in the log.

        Args:
            asked: digest of the request; of no account where no reply is signed.
        """
        if message.has_error():  # the text is Flower's or the site's and may hold anything: only the code is logged
            if message.error.code == ErrorCode.NODE_UNAVAILABLE:
                log.warning("%s: its SuperNode is not connected; excluded", name)
                return None
            log.warning("%s: its app failed (Flower error code %d); excluded", name, message.error.code)
            return None
        try:
            reply = wire.decode_reply(message.content)
        except WireError as problem:
            log.warning("%s: %s; excluded", name, problem)
            return None
        public = self._identities.get(reply.hospital)
        if public is None:  # a simulation, no identity listed, or a name outside the study, which nobody believes
            return reply
        data, signature = wire.bytes_of(message.content), wire.signature_of(message.content)
        fault = fault_of_signature(reply, data, signature, asked=asked, public=public)
        if fault is not None:
            who = name if reply.hospital == name else f"{name} in the name of {reply.hospital}"
            log.warning("%s: %s; excluded", who, fault)
            return None
        return reply


@dataclass
class Federation:
    """The hospitals of one run and the order in which they are asked.

    Args:
        exchange: how messages travel.
        study, plan, run_id: what was agreed.
        checkpoints: what the run has reached already, and where every further step is kept.
        receipts: how far every hospital's ledger had come when it was last heard of.
        identities: every hospital's public key where vectors are masked; empty elsewhere.
    """

    exchange: Exchange
    study: Study
    plan: Plan
    run_id: str
    checkpoints: Checkpoints
    receipts: Receipts
    identities: Mapping[str, str] = field(default_factory=dict)
    members: dict[int, str] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Enrol, collect histograms, train.

        Raises:
            PolicyRefusal: so many hospitals refuse by policy that too few are left.
            FederationError: fewer than `min_hospitals` gave a usable answer in some exchange.
        """
        self.exchange.traffic += [Traffic(**one) for one in self.checkpoints.noted("traffic") or ()]
        self.enrol()
        released = self.collect_marginals(self.collect_histograms())
        weights = self.train(released)
        return Outcome(released, weights, tuple(sorted(self.members.values())), tuple(self.exchange.traffic))

    def enrol(self) -> None:
        """Ask every node as it connects; those whose policy accepts become members.

        Waits for the study's hospitals until the deadline. A resumed run takes the members that it had, and no others.
        """
        before = self.checkpoints.noted("members")
        wanted = len(self.study.hospitals if before is None else before)
        study, held = self.study, self.receipts.to_json()
        request = EnrolRequest(self.run_id, study.to_toml(), study.fingerprint, self.plan.to_json(), held)
        end = time.monotonic() + self.exchange.deadline_s
        asked: set[int] = set()
        refusals: dict[str, Reason] = {}
        strangers = 0
        while True:
            fresh = {node: f"node {node}" for node in self.exchange.nodes() if node not in asked}
            asked |= fresh.keys()
            for node, reply in self.exchange.ask(request, fresh).items() if fresh else ():
                strangers += self.plan.of(reply.hospital) is None
                self._admit(node, reply, before, refusals)
            if len(asked) - strangers >= wanted or time.monotonic() > end:
                break
            time.sleep(SLOWEST_POLL_S)
        self.receipts.save()
        self._require_willing(len(asked), refusals)
        self._require("enrolment", len(self.members), self.study.quorum)
        self.checkpoints.note("members", sorted(self.members.values()) if before is None else before)
        log.info("enrolled: %s", ", ".join(sorted(self.members.values())))

    def _admit(self, node: int, reply: Reply, before: list[str] | None, refusals: dict[str, Reason]) -> None:
        """Make the node a member if it may be one; else note in `refusals` what its policy said."""
        name = reply.hospital if self.plan.of(reply.hospital) else f"node {node}"  # an unknown name may be any text
        said = reply.reason if isinstance(reply, EnrolReply) else str(Reason.UNAVAILABLE)
        reason = Reason(said) if said in set(Reason) else Reason.UNAVAILABLE
        if not isinstance(reply, EnrolReply) or reason != Reason.ACCEPTED or name != reply.hospital:
            log.warning("%s: does not take part: %s", name, REASON_TEXTS[reason])
            refusals[name] = reason
        elif name in self.members.values():
            log.warning("%s: a second node claims this name; excluded", name)
        elif before is not None and name not in before:
            log.warning("%s: was not enrolled when the run began; excluded", name)
        elif problem := self.receipts.fault_of_head(name, reply.counter, reply.head):
            log.warning("%s: %s; excluded", name, problem)
        else:
            self.members[node] = name
            self.receipts.keep_head(name, reply.counter, reply.head)

    def collect_histograms(self) -> Array:
        """The sum of the hospitals' noisy histograms, int64; empty where no column is numeric."""
        length = histogram_length(self.study.table, self.plan.cells)
        if self.plan.vector(HISTOGRAMS) is None:
            return np.zeros(length, dtype=np.int64)
        return self._once(HISTOGRAMS, lambda: {"sum": self._sum(HistogramsRequest(self.run_id), length)})["sum"]

    def collect_marginals(self, histograms: Array) -> ReleasedMarginals:
        """The noisy tables of every phase that the plan has, each chosen by what the coarse ones showed."""
        released = ReleasedMarginals(histograms)
        domain = Domain.of(released.encoder(self.study, self.plan))
        for phase in self.plan.vectors:
            if phase.name == HISTOGRAMS:
                continue
            chosen = released.choose(phase, self.study, self.plan, domain)
            columns = np.array([column for query in chosen for column in query.columns], dtype=np.int64)
            asked = columns if phase.name in (PAIRS, TRIPLES) else columns[:0]
            request = MarginalsRequest(self.run_id, phase.name, histograms, asked)
            counted = self._once(phase.name, partial(self._counted, request, domain.cells(chosen)))
            released = released.with_phase(phase.name, asked, counted["sum"])
            log.info("measurements: %d %s tables", len(chosen), phase.name)
        return released

    def _counted(self, request: MarginalsRequest, length: int) -> dict[str, Array]:
        return {"sum": self._sum(request, length)}

    def _once(self, step: str, compute: Callable[[], dict[str, Array]], *, parts: str = PART) -> dict[str, Array]:
        """A step of this run, from its checkpoint where there is one."""
        kept = self.checkpoints.once(step, compute, parts=parts)
        self.checkpoints.note("traffic", [asdict(one) for one in self.exchange.traffic])
        return kept

    @cached_property
    def _masked(self) -> MaskedSums:
        terms = Terms.of(self.study, self.identities)
        once = partial(self._once, parts="")
        return MaskedSums(
            self.run_id, self.study.fingerprint, terms, self.plan.retries, self._usable, once, self.checkpoints
        )

    def _sum(self, request: HistogramsRequest | MarginalsRequest, length: int) -> npt.NDArray[np.int64]:
        """The sum of the hospitals' vectors; under masks where the hospitals share the noise."""
        if self.plan.honest_hospitals:
            phase = request.phase if isinstance(request, MarginalsRequest) else HISTOGRAMS
            most = most_counted(self.study, self.plan, phase)
            return self._masked.sum(request, phase, self.members.values(), length=length, most=most)

        def fault(reply: HistogramsReply | MarginalsReply) -> str | None:
            if reply.counts.shape != (length,) or reply.counts.dtype != np.int64:
                return "counts of another shape or type"
            facts, mine = self.study.hospital(reply.hospital), self.plan.of(reply.hospital)
            if facts is None or mine is None:
                return "counts of a hospital outside the study"
            most = 2 * facts.declared_rows + 20 * max(mine.sigmas)
            return None if -most < reply.counts.min() <= reply.counts.max() < most else "impossible counts"

        if isinstance(request, HistogramsRequest):
            vectors = [reply.counts for reply in self._collect(request, HistogramsReply, fault).values()]
        else:
            vectors = [reply.counts for reply in self._collect(request, MarginalsReply, fault).values()]
        return np.asarray(np.sum(vectors, axis=0), dtype=np.int64)

    def train(self, released: ReleasedMarginals) -> Weights:
        """The weights after the fit to the measurements, all rounds and the refine; each step is checkpointed."""
        encoder = released.encoder(self.study, self.plan)
        measurements = released.measurements(self.plan, Domain.of(encoder))
        synthesizer = make_synthesizer(self.study.synthesizer, encoder)
        weights = synthesizer.initial_weights(seed_for(self.study.seed, "initial-weights"))
        if measurements:
            seed = seed_for(self.study.seed, "fit")
            steps = fit_steps(measurements, self.plan.rounds, self.study.synthesizer.fit_steps)
            weights = self._once("fit", partial(synthesizer.fit, weights, measurements, seed, steps=steps))
            log.info("generator fitted to %d tables in %d steps", len(measurements.queries), steps)
        late: list[Weights] = []
        for number in range(1, self.plan.rounds + 1):
            if self.plan.quantization:
                total = self._once(ROUND.format(number), partial(self._step, number, released, weights))["sum"]
                seed = seed_for(self.study.seed, "step", number)
                weights = synthesizer.step(
                    weights, total, measurements, self.study.privacy.clip, self.plan.quantization, seed
                )
            else:
                weights = self._once(ROUND.format(number), partial(self._round, number, released, weights))
            if number > self.plan.rounds // 2:
                late.append(discriminator_of(weights))
        weights = weights_of(weights)
        if measurements and late:
            weights = synthesizer.refine(weights, mean_of(late), measurements, seed_for(self.study.seed, "refine"))
            log.info("generator refined against the discriminators of %d rounds", len(late))
        return weights

    def _step(self, number: int, released: ReleasedMarginals, state: Weights) -> dict[str, Array]:
        """One synchronous step's sum of gradients. Networks and optimisers follow from the sums, so these are kept."""
        here = discriminator_of(state)
        request = GradientRequest(self.run_id, number, released.histograms, here)
        length = sum(value.size for value in here.values())
        most = self.plan.furthest_gradient
        total = self._masked.sum(request, ROUNDS, self.members.values(), length=length, most=most)
        log.info("step %d of %d", number, self.plan.rounds)
        return {"sum": total}

    def _round(self, number: int, released: ReleasedMarginals, weights: Weights) -> Weights:
        """One round: the aggregate of the hospitals' weights."""

        def fault(reply: RoundReply) -> str | None:
            if reply.weights.keys() != weights.keys():
                return "weights of other names"
            for name, value in reply.weights.items():
                if value.shape != weights[name].shape or value.dtype != weights[name].dtype:
                    return "weights of another shape or type"
                if not np.isfinite(value).all():
                    return "weights that are not finite"
            return None

        request = RoundRequest(
            self.run_id, number, released.histograms, released.pairs, released.triples, released.sums, weights
        )
        replies = self._collect(request, RoundReply, fault)
        updates = {hospital: reply.weights for hospital, reply in replies.items()}
        rows = {facts.name: self.study.training_rows(facts) for facts in self.study.hospitals}
        combined = aggregate(self.study.federation.aggregation, updates, rows)
        log.info("round %d of %d: %d hospitals", number, self.plan.rounds, len(updates))
        return combined

    def _collect(self, request: Request, kind: type[R], fault: Callable[[R], str | None]) -> dict[str, R]:
        """Usable replies of all members to a request that is not masked, of whom enough must be left."""
        usable = self._usable(dict.fromkeys(self.members.values(), request), kind, fault)
        self._require(request.kind, len(usable), self.study.federation.min_hospitals)
        return usable

    def _usable(self, requests: Mapping[str, Request], kind: type[R], fault: Callable[[R], str | None]) -> dict[str, R]:
        """Usable replies by hospital, sorted; the others are excluded from this exchange with a log line each."""
        usable: dict[str, R] = {}
        forked: list[int] = []
        asked = {node: requests[name] for node, name in self.members.items() if name in requests}
        for node, reply in self.exchange.ask_each(asked, self.members).items() if asked else ():
            name, what = self.members[node], asked[node].kind
            if not isinstance(reply, kind) or reply.hospital != name:
                log.warning("%s: gave no answer to %s; excluded", name, what)
            elif problem := fault(reply):
                log.warning("%s: sent %s in %s; excluded", name, problem, what)
            elif problem := self._fault_of_receipt(reply):
                log.warning("%s: sent %s in %s; excluded", name, problem, what)
                forked.append(node)
            else:
                usable[name] = reply
        for node in forked:  # its ledger was set back: it takes no part any more, and its last good receipt stays
            log.warning("%s: takes no part in the rest of the run", self.members.pop(node))
        self.receipts.save()
        return usable

    def _fault_of_receipt(self, reply: Reply) -> str | None:
        """What is wrong with the receipt of a reply; None where it is kept now, or the reply has none."""
        counter, head = getattr(reply, "counter", None), getattr(reply, "head", "")
        if counter is None:
            return None
        problem = self.receipts.fault_of_answer(reply.hospital, counter, head)
        if problem is None:
            self.receipts.keep_answer(reply.hospital, counter, head)
        return problem

    def _require_willing(self, asked: int, refusals: Mapping[str, Reason]) -> None:
        """Say that it was the hospitals' policies, where these alone leave too few."""
        refused = {name: reason for name, reason in refusals.items() if reason != Reason.UNAVAILABLE}
        if refused and asked - len(refused) < self.study.quorum:
            said = "; ".join(f"{name}: {REASON_TEXTS[reason]}" for name, reason in sorted(refused.items()))
            raise PolicyRefusal(next(iter(refused.values())), f"refused by {len(refused)} of {asked} hospitals: {said}")

    def _require(self, phase: str, present: int, needed: int) -> None:
        """Masked sums need `quorum` hospitals; what carries each hospital's own noise needs `min_hospitals`."""
        if present < needed:
            rule = "min_hospitals" if needed == self.study.federation.min_hospitals else "hospitals - dropouts"
            raise FederationError(
                f"{phase}: {present} hospitals left, {rule} is {needed}; see the log for who dropped out and why"
            )


def _describe(request: Request) -> str:
    """Kind, phase, round and attempt of a request, for the log."""
    parts = (getattr(request, name, "") for name in ("kind", "phase", "round", "attempt"))
    return " ".join(str(part) for part in parts if part)
