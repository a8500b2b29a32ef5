"""The table of numbers with check digits: identifiers of people that cells show without a name.

Each test is of one cell. By chance one number in ten or fewer passes it; a column counts where nearly all cells do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.columns.roles.categories import SafeHarbor

SEPARATORS = re.compile(r"[ .\-/]")


@dataclass(frozen=True, slots=True)
class CheckedNumber:
    """One kind of number.

    Attributes:
        what: what it is, in the plural.
        category: its item of Safe Harbor.
        form: the number without blanks, points, hyphens and slashes, in capitals.
        is_valid: whether the check digit fits.
    """

    what: str
    category: SafeHarbor
    form: re.Pattern[str]
    is_valid: Callable[[str], bool]

    def __call__(self, text: str) -> bool:
        """Return whether a cell is such a number."""
        plain = SEPARATORS.sub("", text).upper()
        return self.form.fullmatch(plain) is not None and self.is_valid(plain)


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def luhn(text: str) -> bool:
    """Return whether the last digit is the Luhn check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(text)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _german_tax(text: str) -> bool:
    """ISO/IEC 7064, MOD 11,10; one of the first ten digits occurs twice or three times."""
    product = 10
    for digit in text[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(text[10]) and len(set(text[:10])) in (8, 9)


def _german_insured(text: str) -> bool:
    """Letter as two digits, weights 1 and 2 in turn, sums of digits."""
    return luhn_of_products(f"{ord(text[0]) - 64:02}{text[1:9]}") == int(text[9])


def luhn_of_products(digits: str) -> int:
    """Return the sum of the digits of the products with 1 and 2 in turn from the left, modulo 10."""
    products = (int(digit) * (1 + index % 2) for index, digit in enumerate(digits))
    return sum(product // 10 + product % 10 for product in products) % 10


def _french(text: str) -> bool:
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(text[13:])


def _spanish(text: str) -> bool:
    body = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == text[-1]


ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
               (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14,
                16, 10, 22, 25, 24, 23), strict=True))  # fmt: skip
"""Values of characters in odd places of an Italian tax code."""


def _italian(text: str) -> bool:
    total = sum(ODD[mark] if index % 2 == 0 else (int(mark) if mark.isdigit() else ord(mark) - 65)
                for index, mark in enumerate(text[:15]))  # fmt: skip
    return chr(65 + total % 26) == text[15]


def _nhs(text: str) -> bool:
    return (11 - _weighted(text, range(10, 1, -1)) % 11) % 11 == int(text[9])


def _dutch(text: str) -> bool:
    return (_weighted(text, range(9, 1, -1)) - int(text[8])) % 11 == 0 and int(text) > 0


def _norwegian(text: str) -> bool:
    first = -_weighted(text, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
    second = -_weighted(text, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (first, second) == (int(text[9]), int(text[10]))


def _swedish(text: str) -> bool:
    return luhn(text[-10:]) and 1 <= int(text[-8:-6]) <= 12 and 1 <= int(text[-6:-4]) % 60 <= 31


def _belgian(text: str) -> bool:
    return int(text[9:]) in (97 - int(text[:9]) % 97, 97 - int("2" + text[:9]) % 97)


def _finnish(text: str) -> bool:
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:6] + text[-4:-1]) % 31] == text[-1]


def _swiss(text: str) -> bool:
    return (10 - _weighted(text, (1, 3) * 6) % 10) % 10 == int(text[12])


def _polish(text: str) -> bool:
    is_day = 1 <= int(text[2:4]) % 20 <= 12 and 1 <= int(text[4:6]) <= 31
    return is_day and (10 - _weighted(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(text[10])


def _brazilian(text: str) -> bool:
    first = _weighted(text, range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(text, range(11, 1, -1)) * 10 % 11 % 10
    return (first, second) == (int(text[9]), int(text[10])) and len(set(text)) > 1


def _iban(text: str) -> bool:
    """ISO 13616: letters as two digits, the first four characters at the end, modulo 97."""
    return int("".join(str(int(mark, 36)) for mark in text[4:] + text[:4])) % 97 == 1


VIN_VALUES = dict(zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ",
                      (*range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10)), strict=True))  # fmt: skip
"""Values of characters of a vehicle identification number (49 CFR 565)."""


def _vehicle(text: str) -> bool:
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    total = sum(VIN_VALUES[mark] * weight for mark, weight in zip(text, weights, strict=True))
    return "0123456789X"[total % 11] == text[8]


def _npi(text: str) -> bool:
    return luhn("80840" + text)


G, NATIONAL = SafeHarbor.SOCIAL_SECURITY, "national identity numbers"

CHECKED_NUMBERS: tuple[CheckedNumber, ...] = (
    CheckedNumber("bank account numbers", SafeHarbor.ACCOUNT, re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}"), _iban),
    CheckedNumber("vehicle identification numbers", SafeHarbor.VEHICLE, re.compile(r"[0-9A-HJ-NPR-Z]{17}"), _vehicle),
    CheckedNumber("credit card numbers", SafeHarbor.ACCOUNT, re.compile(r"[3-6]\d{12,18}"), luhn),
    CheckedNumber(
        "German health insurance numbers", SafeHarbor.HEALTH_PLAN, re.compile(r"[A-Z]\d{9}"), _german_insured
    ),
    CheckedNumber("German tax numbers", G, re.compile(r"[1-9]\d{10}"), _german_tax),
    CheckedNumber("French social security numbers", G, re.compile(r"[12]\d{4}(?:\d\d|2[AB])\d{8}"), _french),
    CheckedNumber("Spanish identity numbers", G, re.compile(r"[0-9XYZ]\d{7}[A-Z]"), _spanish),
    CheckedNumber("Italian tax codes", G, re.compile(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"), _italian),
    CheckedNumber("NHS numbers", SafeHarbor.HEALTH_PLAN, re.compile(r"[1-9]\d{9}"), _nhs),
    CheckedNumber(f"Dutch {NATIONAL}", G, re.compile(r"\d{9}"), _dutch),
    CheckedNumber(f"Norwegian {NATIONAL}", G, re.compile(r"\d{11}"), _norwegian),
    CheckedNumber(f"Swedish {NATIONAL}", G, re.compile(r"(?:19|20)?\d{10}"), _swedish),
    CheckedNumber(f"Belgian {NATIONAL}", G, re.compile(r"\d{11}"), _belgian),
    CheckedNumber(f"Finnish {NATIONAL}", G, re.compile(r"\d{6}[A+]?\d{3}[0-9A-Y]"), _finnish),
    CheckedNumber("Swiss social security numbers", G, re.compile(r"756\d{10}"), _swiss),
    CheckedNumber(f"Polish {NATIONAL}", G, re.compile(r"\d{11}"), _polish),
    CheckedNumber(f"Brazilian {NATIONAL}", G, re.compile(r"\d{11}"), _brazilian),
    CheckedNumber("license numbers of US providers", SafeHarbor.LICENSE, re.compile(r"[12]\d{9}"), _npi),
    CheckedNumber("device numbers (IMEI)", SafeHarbor.DEVICE, re.compile(r"\d{15}"), luhn),
)
"""Asked in this order."""
