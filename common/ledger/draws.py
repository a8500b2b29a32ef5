"""The noise of a release, on the disk until its reply is stored, so that a killed process never draws it a second time.

A process that is killed between charge and stored reply has drawn noise and sent nothing. If the next process drew
fresh noise, whoever can make a process die by what it computed (by memory, time or a fault of a library, under weights
of their choice) could wait for a draw that they like and would see one bit about every other: many releases under one
charge. With the same noise the second computation gives the same reply, or dies the same way. Either is a function of
one draw, which is what was charged.

A file holds a key of the keystream and every vector of integers that was drawn. It is synced before the noise is used
and deleted when the reply is stored. Whoever reads it and the reply knows the exact numbers. It belongs to the account
that reads the records, and to no backup.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

import numpy as np

from common.arrays import Floats, Integers
from common.ledger.slot import Slot
from common.privacy.mechanisms import SECRET_BYTES, NoiseSource, SecureNoise
from common.system.files import write_synced

HEADER = struct.Struct("<Qd")
"""Number of integers and parameter of the noise, before each vector."""

DIGEST_BYTES = 32
"""Length of the SHA-256 behind the key and behind each vector: what a loss of power left half-written does not count,
and zeros in its place would be no noise at all."""


class RecordedNoise(NoiseSource):
    """Secure noise that gives the same draws, in the order of the calls, to every process that opens its file.

    Args:
        path: the file; created with a fresh key where it does not exist or holds no whole key.
        source: what draws; only its key is replaced.
    """

    is_secure = True

    def __init__(self, path: Path, source: SecureNoise) -> None:
        self._path = path
        records = _records(path.read_bytes() if path.exists() else b"")
        if not records:
            records = [os.urandom(SECRET_BYTES)]
        write_synced(path, b"".join(map(_with_digest, records)), mode=0o600)
        self._source, self._left = source.keyed(records[0]), records[1:]

    def named(self, *names: str | int) -> RecordedNoise:
        """Return this source: the order of the calls tells its draws apart."""
        return self

    def uniform(self, count: int) -> Floats:
        return self._source.uniform(count)

    def gaussian(self, count: int, std: float) -> Floats:
        return self._source.gaussian(count, std)

    def poisson_sample(self, rows: int, rate: float) -> Integers:
        return self._source.poisson_sample(rows, rate)

    def discrete_gaussian(self, count: int, sigma: float) -> Integers:
        """Return the recorded numbers, or draw and record them.

        Raises:
            ValueError: the numbers recorded in this place were drawn for another vector.
        """
        header = HEADER.pack(count, sigma)
        if self._left:
            record = self._left.pop(0)
            if record[: HEADER.size] != header:
                raise ValueError("the recorded noise was drawn for another vector")
            return np.frombuffer(record[HEADER.size :], dtype="<i8").astype(np.int64)
        drawn = self._source.discrete_gaussian(count, sigma)
        with self._path.open("ab") as file:
            file.write(_with_digest(header + drawn.astype("<i8").tobytes()))
            file.flush()
            os.fsync(file.fileno())
        return drawn


def _with_digest(record: bytes) -> bytes:
    return record + hashlib.sha256(record).digest()


def _records(data: bytes) -> list[bytes]:
    """Return the key and the vectors of a file, up to the first that is not whole."""
    records: list[bytes] = []
    length = SECRET_BYTES
    while len(data) >= length + DIGEST_BYTES:
        record, digest = data[:length], data[length : length + DIGEST_BYTES]
        if hashlib.sha256(record).digest() != digest:
            break
        records.append(record)
        data = data[length + DIGEST_BYTES :]
        if len(data) < HEADER.size:
            break
        length = HEADER.size + 8 * HEADER.unpack_from(data)[0]
    return records


class Draws:
    """The files of the releases that are being computed, `ledger.draw-*` beside the ledger.

    Args:
        ledger: path of the ledger's database.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def noise(self, slot: Slot, source: SecureNoise) -> RecordedNoise:
        """Return the noise of a release, the same as in a process that was killed while it computed it."""
        return RecordedNoise(self._path(slot), source)

    def forget(self, slot: Slot) -> None:
        """Delete the noise of a release whose reply is stored."""
        self._path(slot).unlink(missing_ok=True)

    def forget_all_but(self, slots: Iterable[Slot]) -> None:
        """Delete what a killed process left of releases whose replies are stored."""
        kept = {self._path(slot) for slot in slots}
        for path in self._ledger.parent.glob(f"{self._ledger.stem}.draw-*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _path(self, slot: Slot) -> Path:
        # A run id comes from outside: its hash is a safe file name.
        name = hashlib.sha256(json.dumps(astuple(slot)).encode()).hexdigest()[:32]
        return self._ledger.with_name(f"{self._ledger.stem}.draw-{name}")
