"""The table of shapes: what the cells of a column say about its role, whatever its name is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from common.columns.roles.categories import Coarsening, Role, SafeHarbor
from common.columns.roles.cells import CellFacts, is_address_of_a_host
from common.columns.roles.checksums import CHECKED_NUMBERS, CheckedNumber
from common.columns.roles.person_names import is_person

EMAIL = re.compile(r"[^@\s]@[^@\s]+\.[^@\s.]")
URL = re.compile(r"(?:https?|ftp)://\S+|www\.\S+\.\S+", re.I)
MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}", re.I)
SOCIAL_SECURITY = re.compile(r"(?:\d{3}|[*Xx]{3})-(?:\d{2}|[*Xx]{2})-\d{4}")
UUID = re.compile(r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.I)
PHONE = re.compile(r"(?:\+|00|0|\()[\d ()./-]{5,}\d(?: ?(?:x|ext\.?) ?\d+)?|\d{3}[ .-]\d{3}[ .-]\d{4}(?: ?(?:x|"
r"ext\.?) ?\d+)?"
                   r"|\d{3}[ .-]\d{2,3}[ .-]\d{2,3}[ .-]\d{2,3}")  # fmt: skip
PRODUCT = re.compile(r"\d{4,5}-\d{3,4}-\d{1,2}")
"""US codes of drugs (NDC), which look like telephone numbers."""

COORDINATES = re.compile(r"(?:POINT ?)?[\[(]?\s*-?\d{1,3}\.\d{3,}[\s,;]+-?\d{1,3}\.\d{3,}\s*[\])]?", re.I)
STREET = re.compile(
    r"\d+\w?(?: \w+)* (?:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|way|court|ct|place|pl|"
    r"square)\b.*"
    r"|.*(?:str(?:asse|aße|\.)|weg|allee|gasse|platz|straat|laan|gata|gate|vagen|veien) \d+ ?[a-z]?\b.*"
    r"|\d+\w?(?: bis| ter)?,? (?:rue|avenue|boulevard|place|chemin|impasse|allee|quai) .+"
    r"|(?:calle|c/|avenida|av\.|avda\.?|plaza|paseo|carrer|via|rua|corso) .+\d+.*",
    re.I,
)
POSTAL = re.compile(r"\d{5}-\d{4}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{4} [A-Z]{2}|\d{2}-\d{3}")
"""Postal codes that nothing else looks like: US with nine digits, British, Canadian, Dutch, Polish."""

MONTH = re.compile(r"(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])|(?:0?[1-9]|1[0-2])[-/.](?:19|20)\d\d")

MOSTLY, SOME = 0.8, 0.5
"""Least part of the texts with a shape: where other things look alike, and where nothing does."""

FEWEST = 3
"""Fewest distinct texts of a column that is recognized by check digits or by names of people."""


@dataclass(frozen=True, slots=True)
class CellShape:
    """One kind of cells.

    Attributes:
        reason: what the cells are, as the rest of a sentence.
        role: the role of such a column.
        category: its item of Safe Harbor.
        fits: whether the cells are of this kind.
        is_certain: whether nothing else looks like it.
        coarsening: what makes such a column coarse enough; None where it has to be dropped.
    """

    reason: str
    role: Role
    category: SafeHarbor
    fits: Callable[[CellFacts], bool]
    is_certain: bool = True
    coarsening: Coarsening | None = None


def _direct(what: str, category: SafeHarbor, test: Callable[[str], object], least: float = SOME) -> CellShape:
    return CellShape(f"holds {what}", Role.DIRECT, category, lambda facts: facts.mostly(test, least))


def _checked(number: CheckedNumber) -> CellShape:
    def fits(facts: CellFacts) -> bool:
        return facts.distinct > FEWEST and facts.mostly(number, 0.95)

    return CellShape(f"holds {number.what}", Role.DIRECT, number.category, fits)


def _is_phone(facts: CellFacts) -> bool:
    varies = facts.distinct > FEWEST and facts.distinct >= 0.3 * facts.evidence.present
    return varies and facts.mostly(_is_number_to_call, MOSTLY) and not facts.is_date and not facts.is_measured


def _is_number_to_call(text: str) -> bool:
    digits = sum(map(str.isdigit, text))
    return PHONE.fullmatch(text) is not None and 8 <= digits <= 17 and PRODUCT.fullmatch(text) is None


def _is_people(facts: CellFacts) -> bool:
    return facts.distinct > FEWEST and facts.is_text and facts.mostly(is_person, SOME)


def _is_unique_text(facts: CellFacts) -> bool:
    is_plain = facts.is_measured or facts.is_date or facts.is_time or facts.is_list or len(facts.numbers) > 0
    return facts.is_unique and not is_plain and not facts.is_whole


SHAPES: tuple[CellShape, ...] = (
    _direct("e-mail addresses", SafeHarbor.EMAIL, EMAIL.search),
    _direct("web addresses", SafeHarbor.URL, URL.match),
    _direct("IP addresses", SafeHarbor.IP, is_address_of_a_host),
    _direct("hardware addresses of devices", SafeHarbor.DEVICE, MAC.fullmatch),
    _direct("US social security numbers", SafeHarbor.SOCIAL_SECURITY, SOCIAL_SECURITY.fullmatch),
    _direct("coordinates to hundred meters or closer", SafeHarbor.PLACES, COORDINATES.fullmatch),
    _direct("universally unique identifiers", SafeHarbor.UNIQUE, UUID.fullmatch),
    *map(_checked, CHECKED_NUMBERS),
    CellShape("holds telephone numbers", Role.DIRECT, SafeHarbor.TELEPHONE, _is_phone, is_certain=False),
    _direct("street addresses", SafeHarbor.PLACES, STREET.fullmatch),
    CellShape("holds names of people", Role.DIRECT, SafeHarbor.NAMES, _is_people),
    CellShape("holds dates", Role.QUASI, SafeHarbor.DATES, lambda facts: facts.is_date, coarsening=Coarsening.YEAR),
    CellShape("holds months", Role.QUASI, SafeHarbor.DATES, lambda facts: facts.mostly(MONTH.fullmatch, MOSTLY),
          coarsening=Coarsening.YEAR),
    CellShape("holds postal codes", Role.QUASI, SafeHarbor.PLACES, lambda facts: facts.mostly(POSTAL.fullmatch, MOSTLY),
          coarsening=Coarsening.POSTAL),
    CellShape("holds long free text", Role.DIRECT, SafeHarbor.UNIQUE, lambda facts: facts.is_long_text,
          is_certain=False),
    CellShape("holds a different text in nearly every row",
          Role.DIRECT, SafeHarbor.UNIQUE, _is_unique_text, is_certain=False),
    CellShape("holds a different whole number in nearly every row, as identifiers do", Role.DIRECT, SafeHarbor.UNIQUE,
          lambda facts: facts.numbers_rows, is_certain=False),
)  # fmt: skip
"""Asked in this order."""
