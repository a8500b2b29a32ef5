"""One hospital's side of one masked phase, as a machine whose steps go forward only.

    advertise -> share -> receive, mask -> sign -> open

Three rules protect the hospital's vector. For every hospital it opens either the share of the mask seed or the share of
the mask key, never both. It opens for one set of survivors only, which enough others have signed too. That set is large
enough for the noise in the sum. Any other request ends the session. Its secrets are deleted once it has opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from common.arrays import Integers, Words
from common.errors import MaskingError
from common.protocol.signing import Identity, is_signature
from common.secagg import shamir
from common.secagg.keys import (
    Advertisement,
    Context,
    Envelope,
    Secrets,
    decrypt,
    encrypt,
    own_mask_key,
    pair_mask_key,
    roster_digest,
)
from common.secagg.terms import Terms
from common.secagg.words import stream, to_words


class SessionStep(IntEnum):
    """The last step that a hospital has taken."""

    ADVERTISED = 1
    SHARED = 2
    RECEIVED = 3
    MASKED = 4
    SIGNED = 5
    OPENED = 6
    ENDED = 7


@dataclass(frozen=True, slots=True)
class Held:
    """The two shares that one hospital gave to another: of its mask seed, and of its mask key."""

    seed: int
    key: int

    def to_bytes(self) -> bytes:
        """Return both shares as bytes, that of the seed first."""
        return shamir.to_bytes(self.seed) + shamir.to_bytes(self.key)

    @classmethod
    def from_bytes(cls, data: bytes, sender: str) -> Held:
        """Return the shares that `to_bytes` wrote.

        Raises:
            MaskingError: `sender` encrypted something else.
        """
        try:
            half = shamir.SHARE_BYTES
            return cls(shamir.from_bytes(data[:half]), shamir.from_bytes(data[half:]))
        except ValueError:
            raise MaskingError(f"'{sender}' encrypted something other than a pair of shares") from None


P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def ending(session: Session) -> Iterator[None]:
    """End the session if what is within fails."""
    try:
        yield
    except BaseException:
        session.end()
        raise


def _or_end(step: Callable[Concatenate[Session, P], R]) -> Callable[Concatenate[Session, P], R]:
    """Make a step end the session if it fails."""

    @wraps(step)
    def wrapped(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with ending(session):
            return step(session, *args, **kwargs)

    return wrapped


class Session:
    """One hospital in one masked phase.

    Args:
        context: the masked vector that this session is for.
        terms: who takes part, and on which conditions.
        name: name of the hospital.
        identity: the hospital's key, whose public part is in the terms.
        ledger: head of the hospital's ledger, 40 bytes, which the others remember.

    Attributes:
        peers: the other hospitals on the roster, sorted, once it is known.
        sharers: the hospitals that are masked against each other, sorted, once they are known.
        advertisement: this hospital's public keys and the head of its ledger, signed.
        step: the last step taken.
    """

    def __init__(self, context: Context, terms: Terms, name: str, identity: Identity, ledger: bytes) -> None:
        self.context, self.terms, self.name = context, terms, name
        self._identity = identity
        self._secrets: Secrets | None = Secrets.draw()
        self._roster: dict[str, Advertisement] = {}
        self._digest = ""
        self._held: dict[str, Held] = {}
        self.peers: tuple[str, ...] = ()
        self.sharers: tuple[str, ...] = ()
        self._survivors: tuple[str, ...] = ()
        self.advertisement = self._secrets.advertise(context, name, identity, ledger)
        self.step = SessionStep.ADVERTISED

    @property
    def ledgers(self) -> dict[str, bytes]:
        """The head of each hospital's ledger on the roster, 40 bytes, as it signed it for this vector."""
        return {name: advertised.ledger for name, advertised in self._roster.items()}

    @_or_end
    def share(self, roster: Collection[Advertisement]) -> dict[str, bytes]:
        """Return encrypted shares of this hospital's secrets, for every other one on the roster.

        Raises:
            MaskingError: there are keys that their hospitals did not sign for this context, or too few hospitals.
        """
        secrets = self._enter(SessionStep.SHARED)
        self._roster = {advertised.hospital: advertised for advertised in roster}
        self._require(len(self._roster) == len(roster), "a hospital is on the roster twice")
        self._require(self._roster.get(self.name) == self.advertisement, "the roster does not hold this hospital's key")
        for name, advertised in self._roster.items():
            identity = self.terms.identities.get(name)
            self._require(identity is not None, "the roster names a hospital outside the study")
            self._require(
                advertised.is_signed(self.context, identity or ""), f"'{name}' did not sign its keys for this exchange"
            )
            self._require(advertised.agrees, f"'{name}' advertised a key that agrees on nothing secret")
        keys = [key for advertised in self._roster.values() for key in (advertised.box, advertised.mask)]
        self._require(len(set(keys)) == len(keys), "a key was advertised twice")
        self._require_enough(self._roster, "advertised keys")
        self._digest = roster_digest(self.context, self._roster.values())
        points = {name: self.terms.point(name) for name in self._roster}
        seeds = shamir.split(secrets.seed, self.terms.threshold, list(points.values()))
        masks = shamir.split(secrets.mask, self.terms.threshold, list(points.values()))
        shares = {name: Held(seeds[point], masks[point]) for name, point in points.items()}
        self._held, self.peers = {self.name: shares.pop(self.name)}, tuple(sorted(shares))
        self.step = SessionStep.SHARED
        return {
            name: encrypt(held.to_bytes(), secrets.box, self._roster[name].box, self._envelope(self.name, name))
            for name, held in shares.items()
        }

    def _envelope(self, sender: str, receiver: str) -> Envelope:
        return Envelope(sender, receiver, self.context, self._digest)

    @_or_end
    def receive(self, encrypted: Mapping[str, bytes]) -> None:
        """Store the others' shares for this hospital; all of them will be masked against each other.

        Raises:
            MaskingError: shares were not made for this hospital, context and roster, or come from too few hospitals.
        """
        secrets = self._enter(SessionStep.RECEIVED)
        self._require(self.name not in encrypted, "there are shares from this hospital to itself")
        for name, content in encrypted.items():
            self._require(name in self._roster, "there are shares from a hospital that advertised no key")
            opened = decrypt(content, secrets.box, self._roster[name].box, self._envelope(name, self.name))
            self._held[name] = Held.from_bytes(opened, name)
        self._require_enough(self._held, "shared their secrets")
        self.sharers = tuple(sorted(self._held))
        self.step = SessionStep.RECEIVED

    @_or_end
    def mask(self, vector: Integers) -> Words:
        """Return the vector modulo 2^32 under this hospital's own mask and one for each of the others.

        Of two hospitals, the first in the order of names adds the stream that they share, the second subtracts it.
        """
        secrets = self._enter(SessionStep.MASKED)
        masked = to_words(vector)
        masked += stream(own_mask_key(secrets.seed, self.context, self._digest), len(masked))
        for name in self._held:
            if name != self.name:
                key = pair_mask_key(
                    secrets.mask, self._roster[name].mask, (self.name, name), self.context, self._digest
                )
                if self.name < name:
                    masked += stream(key, len(masked))
                else:
                    masked -= stream(key, len(masked))
        self.step = SessionStep.MASKED
        return masked

    @_or_end
    def sign(self, survivors: Collection[str]) -> bytes:
        """Sign the set of hospitals whose sum is to be opened. This hospital will open for no other set.

        Raises:
            MaskingError: the set lacks this hospital, names one whose shares it does not hold, or is too small.
        """
        self._enter(SessionStep.SIGNED)
        self._require(len(set(survivors)) == len(survivors), "the survivors name a hospital twice")
        self._require(self.name in survivors, "the survivors do not include this hospital")
        self._require(set(survivors) <= self._held.keys(), "the survivors include a hospital that shared no secrets")
        self._require_enough(survivors, "survived")
        self._survivors = tuple(sorted(survivors))
        self.step = SessionStep.SIGNED
        return self._identity.sign(self._survivors_text())

    @_or_end
    def open(self, signatures: Mapping[str, bytes]) -> dict[str, int]:
        """Return a share of every hospital: of its seed if it survived, else of its mask key.

        Args:
            signatures: signatures by hospital, on the set that this hospital signed.

        Raises:
            MaskingError: fewer than the threshold signed, or a signature is invalid.
        """
        self._enter(SessionStep.OPENED)
        text = self._survivors_text()
        for name, signature in signatures.items():
            self._require(name in self._survivors, "a signature is from a hospital that is not among the survivors")
            is_good = is_signature(text, signature, self.terms.identities[name])
            self._require(is_good, f"'{name}' did not sign these survivors")
        self._require(self.name in signatures, "this hospital's own signature is missing")
        self._require(len(signatures) >= self.terms.threshold, "too few hospitals signed the survivors")
        opened = {name: held.seed if name in self._survivors else held.key for name, held in sorted(self._held.items())}
        self._forget(SessionStep.OPENED)
        return opened

    def end(self) -> None:
        """Delete every secret."""
        self._forget(SessionStep.ENDED)

    def _survivors_text(self) -> bytes:
        return survivors_text(self.context, self._digest, self.sharers, self._survivors)

    def _enter(self, step: SessionStep) -> Secrets:
        """Return the secrets if `step` is the next one."""
        self._require(self.step == step - 1, f"the step to {step.name.lower()} was requested out of order")
        assert self._secrets is not None, "secrets are there until the last step"
        return self._secrets

    def _require_enough(self, hospitals: Collection[str], what: str) -> None:
        self._require(
            len(hospitals) >= self.terms.survivors,
            f"{len(hospitals)} hospitals {what} and {self.terms.survivors} are required",
        )

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise MaskingError(f"{otherwise}; this hospital leaves the masked phase '{self.context.phase}'")

    def _forget(self, step: SessionStep) -> None:
        self._secrets, self._held, self.step = None, {}, step


def survivors_text(context: Context, roster: str, sharers: Sequence[str], survivors: Sequence[str]) -> bytes:
    """Return what hospitals sign before they open a sum.

    Args:
        context: context of the masked vectors.
        roster: digest of all advertised keys.
        sharers: the hospitals that are masked against each other, sorted.
        survivors: sorted names of the hospitals whose masked vectors arrived; the sum is over these.
    """
    return context.text("survivors", roster=roster, sharers=",".join(sharers), survivors=",".join(survivors))
