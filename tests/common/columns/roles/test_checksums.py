"""Check digits against published examples."""

from __future__ import annotations

import pytest

from common.columns.roles.checksums import CHECKED_NUMBERS, CheckedNumber

PUBLISHED = {
    "bank account numbers": "DE89 3704 0044 0532 0130 00",
    "vehicle identification numbers": "1M8GDM9AXKP042788",
    "credit card numbers": "4111 1111 1111 1111",
    "German health insurance numbers": "A123456780",
    "German tax numbers": "86095742719",
    "French social security numbers": "2 55 08 14 168 025 38",
    "Spanish identity numbers": "12345678-Z",
    "Italian tax codes": "RSSMRA85T10A562S",
    "NHS numbers": "943 476 5919",
    "Dutch national identity numbers": "111222333",
    "Norwegian national identity numbers": "01010750160",
    "Swedish national identity numbers": "811228-9874",
    "Belgian national identity numbers": "85.07.30-033.28",
    "Finnish national identity numbers": "131052-308T",
    "Swiss social security numbers": "756.9217.0769.85",
    "Polish national identity numbers": "44051401359",
    "Brazilian national identity numbers": "111.444.777-35",
    "license numbers of US providers": "1234567893",
    "device numbers (IMEI)": "490154203237518",
}
"""Numbers that authorities and standards give as examples; no person has them."""


@pytest.mark.parametrize("number", CHECKED_NUMBERS, ids=lambda number: number.what)
def test_a_published_number_passes_and_another_digit_fails(number: CheckedNumber) -> None:
    text = PUBLISHED[number.what]
    assert number(text)
    others = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if text[-1].isalpha() else "0123456789"
    assert sum(number(text[:-1] + other) for other in others) == 1
