"""The roles of columns, and the 18 identifiers that HIPAA Safe Harbor removes.

Source: 45 CFR 164.514(b)(2)(i), items (A) to (R).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class Role(StrEnum):
    """What a column can tell about who a row is of."""

    DIRECT = "direct identifier"
    QUASI = "quasi-identifier"
    SENSITIVE = "sensitive fact"
    OTHER = "other"


class SafeHarbor(Enum):
    """The identifiers of HIPAA Safe Harbor: the letter of the rule, and its words in short."""

    NAMES = ("A", "names")
    PLACES = ("B", "places smaller than a state")
    DATES = ("C", "dates to the day, and ages above 89")
    TELEPHONE = ("D", "telephone numbers")
    FAX = ("E", "fax numbers")
    EMAIL = ("F", "e-mail addresses")
    SOCIAL_SECURITY = ("G", "social security numbers")
    MEDICAL_RECORD = ("H", "medical record numbers")
    HEALTH_PLAN = ("I", "health plan numbers")
    ACCOUNT = ("J", "account numbers")
    LICENSE = ("K", "certificate and license numbers")
    VEHICLE = ("L", "vehicle identifiers")
    DEVICE = ("M", "device identifiers")
    URL = ("N", "web addresses")
    IP = ("O", "IP addresses")
    BIOMETRIC = ("P", "biometric identifiers")
    PHOTO = ("Q", "photographs of faces")
    UNIQUE = ("R", "any other unique number, characteristic or code")

    @property
    def letter(self) -> str:
        """The letter of the item in the rule."""
        return self.value[0]

    @property
    def words(self) -> str:
        """The item in short."""
        return self.value[1]

    def __str__(self) -> str:
        return f"HIPAA Safe Harbor {self.letter}, {self.words}"


class Coarsening(Enum):
    """What makes a quasi-identifier of Safe Harbor coarse enough (`common.tables.preparing`)."""

    YEAR = auto()
    BIRTH_YEAR = auto()
    AGE = auto()
    POSTAL = auto()
    DROP = auto()
    DATE_PART = auto()


@dataclass(frozen=True, slots=True)
class ColumnRole:
    """The role of one column.

    Attributes:
        role: what the column can tell about a person.
        category: the item of Safe Harbor; None where it has none.
        reason: what the name or the cells look like, without the text of any cell.
        is_certain: whether the name says so or cells have an unmistakable shape. Otherwise only the number of different
            cells or their length says so, and a person may know better.
        coarsening: what makes a quasi-identifier coarse enough; None where nothing is needed.
    """

    role: Role
    category: SafeHarbor | None = None
    reason: str = ""
    is_certain: bool = True
    coarsening: Coarsening | None = None

    @property
    def is_direct(self) -> bool:
        """Whether the column identifies people by itself."""
        return self.role is Role.DIRECT

    @property
    def sentence(self) -> str:
        """The reason, the role and the category as the rest of a sentence about the column."""
        category = "" if self.category is None else f" ({self.category})"
        return f"{self.reason}: a {self.role}{category}" if self.reason else "is not an identifier"
