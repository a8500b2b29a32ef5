from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import MaskingError
from common.protocol.signing import Identity
from common.secagg.keys import (
    Envelope,
    Secrets,
    clamped,
    decrypt,
    digest_of,
    encrypt,
    pair_mask_key,
    public_of,
    roster_digest,
)
from tests.testbeds.masking import CONTEXT, LEDGER, in_other_bytes, signed

KEY = Identity(Ed25519PrivateKey.generate())
ANNA, BERT = Secrets.draw(), Secrets.draw()
BOTH = ("anna", "bert")
HERS, HIS = ANNA.advertise(CONTEXT, "anna", KEY, LEDGER), BERT.advertise(CONTEXT, "bert", KEY, LEDGER)
ELSEWHERE = [
    replace(CONTEXT, **{name: value})  # type: ignore[arg-type]
    for name, value in {
        "fingerprint": "0" * 64, "run_id": "run-2", "phase": "pairs", "round": 1, "attempt": 2, "question": "0" * 64,
    }.items()
]  # fmt: skip


class TestMaskKeys:
    def test_two_hospitals_agree_on_one(self) -> None:
        mine = pair_mask_key(ANNA.mask, HIS.mask, BOTH, CONTEXT, "r")
        assert mine == pair_mask_key(BERT.mask, HERS.mask, BOTH[::-1], CONTEXT, "r")

    def test_a_key_in_other_bytes_agrees_on_another(self) -> None:
        names = ("anna", "carl")
        for copy in in_other_bytes(HIS.mask):
            assert copy != HIS.mask
            assert pair_mask_key(ANNA.mask, copy, BOTH, CONTEXT, "r") == pair_mask_key(
                ANNA.mask, HIS.mask, BOTH, CONTEXT, "r"
            )
            assert pair_mask_key(ANNA.mask, copy, names, CONTEXT, "r") != pair_mask_key(
                ANNA.mask, HIS.mask, BOTH, CONTEXT, "r"
            )


class TestKeys:
    def test_they_are_those_of_rfc_7748(self) -> None:
        # Section 6.1: the private and public keys of Alice and Bob. Clamping, which comes first, changes no public key.
        for private, public in (
            (
                "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
                "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            ),
            (
                "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
                "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            ),
        ):
            key = clamped(int.from_bytes(bytes.fromhex(private), "little"))
            assert public_of(key).hex() == public
            assert 2**254 <= key < 2**255  # an element of the field, so it can be shared

    @pytest.mark.parametrize("weak", [0, 1, 2**255 - 20, 2**255 - 19])
    def test_one_that_agrees_on_nothing_secret_is_refused(self, weak: int) -> None:
        with pytest.raises(MaskingError, match="agrees on nothing secret"):
            pair_mask_key(ANNA.mask, weak.to_bytes(32, "little"), BOTH, CONTEXT, "r")
        for start in (0, 32):
            assert HERS.agrees
            keys = HERS.keys[:start] + weak.to_bytes(32, "little") + HERS.keys[start + 32 :]
            assert not replace(HERS, keys=keys).agrees

    def test_a_seed_is_known_by_its_digest(self) -> None:
        assert HERS.seed_digest == digest_of(ANNA.seed)
        assert HERS.seed_digest != digest_of(ANNA.seed ^ 1)

    def test_two_draws_have_nothing_in_common(self) -> None:
        first, second = Secrets.draw(), Secrets.draw()
        assert len({first.box, first.mask, first.seed, second.box, second.mask, second.seed}) == 6


class TestAdvertisement:
    @pytest.mark.parametrize("context", ELSEWHERE)
    def test_keys_signed_for_one_slot_are_invalid_in_another(self, context: object) -> None:
        assert HERS.is_signed(CONTEXT, KEY.public)
        assert not HERS.is_signed(context, KEY.public)  # type: ignore[arg-type]
        assert not replace(HERS, hospital="bert").is_signed(CONTEXT, KEY.public)
        here = pair_mask_key(ANNA.mask, HIS.mask, BOTH, CONTEXT, "r")
        assert pair_mask_key(ANNA.mask, HIS.mask, BOTH, context, "r") != here  # type: ignore[arg-type]

    def test_a_signature_covers_every_key(self) -> None:
        for start in range(0, 96, 32):
            altered = bytearray(HERS.keys)
            altered[start] ^= 1
            assert not replace(HERS, keys=bytes(altered)).is_signed(CONTEXT, KEY.public)
        assert not replace(HERS, keys=HERS.keys + b"\0").is_signed(CONTEXT, KEY.public)

    @pytest.mark.parametrize("keys", [HERS.keys + b"\0", HERS.keys[:-1]], ids=["longer", "shorter"])
    def test_signed_keys_of_another_length_are_invalid(self, keys: bytes) -> None:
        assert not signed(CONTEXT, "anna", keys, KEY).is_signed(CONTEXT, KEY.public)

    def test_a_signature_covers_the_ledger(self) -> None:
        assert not replace(HERS, ledger=bytes(40)).is_signed(CONTEXT, KEY.public)

    @pytest.mark.parametrize("ledger", [LEDGER + b"\0", LEDGER[:-1]], ids=["longer", "shorter"])
    def test_a_signed_ledger_of_another_length_is_invalid(self, ledger: bytes) -> None:
        assert not signed(CONTEXT, "anna", HERS.keys, KEY, ledger).is_signed(CONTEXT, KEY.public)

    def test_a_roster_digest_covers_every_key_but_no_order(self) -> None:
        assert roster_digest(CONTEXT, [HERS, HIS]) == roster_digest(CONTEXT, [HIS, HERS])
        assert roster_digest(CONTEXT, [HERS, HIS]) != roster_digest(CONTEXT, [HERS, replace(HIS, keys=HERS.keys)])
        assert roster_digest(CONTEXT, [HERS, HIS]) != roster_digest(CONTEXT, [HERS, replace(HIS, ledger=bytes(40))])
        assert roster_digest(CONTEXT, [HERS, HIS]) != roster_digest(CONTEXT, [HERS])


SENT = Envelope("anna", "bert", CONTEXT, "roster")


class TestEncryption:
    def test_what_is_encrypted_is_read_by_its_receiver_alone(self) -> None:
        encrypted = encrypt(b"two shares", ANNA.box, HIS.box, SENT)
        assert decrypt(encrypted, BERT.box, HERS.box, SENT) == b"two shares"
        with pytest.raises(MaskingError, match="not encrypted for this"):
            decrypt(encrypted, Secrets.draw().box, HERS.box, SENT)
        with pytest.raises(MaskingError, match="not encrypted for this"):
            decrypt(encrypted, BERT.box, HERS.box, replace(SENT, roster="another roster"))
        with pytest.raises(MaskingError, match="not encrypted for this"):
            decrypt(encrypted, ANNA.box, HIS.box, replace(SENT, sender="bert", receiver="anna"))  # sent back
        for index in range(len(encrypted)):
            altered = bytearray(encrypted)
            altered[index] ^= 1
            with pytest.raises(MaskingError, match="not encrypted for this"):
                decrypt(bytes(altered), BERT.box, HERS.box, SENT)
