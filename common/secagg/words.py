"""Integer vectors modulo 2^32, and the streams that hide them.

A sum of at most `MOST` in absolute value can be read off its remainder modulo 2^32: remainders from 2^31 on stand for
negative numbers. Reducing is post-processing of the noisy sum, so a sum that wrapped around would be wrong but no less
private.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from common.arrays import Integers, Words

BITS = 32
"""Bits of a word of a masked vector."""

MOST = 2 ** (BITS - 1) - 1
"""Largest absolute value of a sum. A larger one wraps around modulo 2^32 and is read as another number."""

KEY_BYTES = 32
"""Length of X25519 keys, of stream keys and of digests."""


def to_words(vector: Integers) -> Words:
    """Return each integer modulo 2^32."""
    return np.asarray(vector & (2**BITS - 1), dtype=np.uint32)


def to_integers(words: Words) -> Integers:
    """Return the integers from -2^31 to 2^31 - 1 with these remainders."""
    return words.view(np.int32).astype(np.int64)


def stream(key: bytes, length: int) -> Words:
    """Return `length` words of ChaCha20's keystream (RFC 8439) under a key that is used for nothing else."""
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(4 * length)), dtype="<u4").astype(np.uint32, copy=False)
